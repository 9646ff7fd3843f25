//! What the tests stand on: sandboxes, virtual machines, guests, the knib runner and the oracle.
//!
//! It knows nothing of knib's own code: virtual machines are made and looked at with `virsh`, images with `qemu-img`,
//! and knib is a program that is run. So a test judges knib by means that knib had no hand in.
//!
//! ```text
//! let live = Live::new();
//! let vm = live.vm("db-01").disk(Disk::qcow2("vda", 16 * MIB)).start_paused();
//! vm.write("vda", 0, 0x22, 64 * KIB);
//! let truth = vm.truth("vda");                  // what the disk must hold at this instant
//! live.policy("…storage: { nas: { path: $DIR/storage } } …");
//! live.knib(["apply", "--auto-approve"]).exits(0);
//! oracle::assert_same(&backup, &truth);
//! ```

pub(crate) mod appliance;
pub(crate) mod deadline;
pub(crate) mod disk;
pub(crate) mod guest;
pub(crate) mod knib;
pub(crate) mod live;
pub(crate) mod oracle;
pub(crate) mod sandbox;
pub(crate) mod tool;
pub(crate) mod vm;
pub(crate) mod writes;

pub(crate) use disk::Disk;
pub(crate) use disk::KIB;
pub(crate) use disk::MIB;
pub(crate) use live::Live;
pub(crate) use sandbox::Sandbox;
pub(crate) use vm::Vm;
