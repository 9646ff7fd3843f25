//! What else there is on the host, for whoever checks it before trouble.

use crate::host::Local;
use crate::host::Result;
use crate::host::command::Program;
use crate::model::equipment::Equipment;

/// Programs that not everybody needs.
const PROGRAMS: [&str; 2] = ["guestfish", "swtpm"];

impl Local {
    /// What can be seen without a VM or a storage.
    ///
    /// # Errors
    /// libvirt or `qemu-img` does not answer.
    pub async fn equipment(&self) -> Result<Equipment> {
        let programs = PROGRAMS.map(|name| (name, Program::find(name).is_some()));
        Ok(Equipment {
            qemu_img: self.qemu_img.version().await?,
            confined_by: self.libvirt.confined_by().await?,
            programs: programs.into(),
            ..Equipment::default()
        })
    }
}
