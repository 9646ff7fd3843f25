//! What a host has and allows, besides VMs and storages: seen once, to be judged.

use std::collections::BTreeMap;

use crate::model::id::VmId;

/// What a host has and allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Equipment {
    /// The version that `qemu-img` says it is.
    pub qemu_img: Option<String>,
    /// What libvirt confines QEMU with: `apparmor`, `selinux`.
    pub confined_by: Vec<String>,
    /// Programs that not everybody needs, and whether they are there.
    pub programs: BTreeMap<&'static str, bool>,
    /// Storages whose newest backup QEMU may not read, by name, and why.
    pub unreadable: BTreeMap<String, String>,
    /// VMs that run and whose QEMU does not see their storage, and why.
    pub unseen: BTreeMap<VmId, String>,
}
