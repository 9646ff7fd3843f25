//! `README.txt` of a backup: how to restore it with qemu-img and virsh alone.

use std::fmt::Write;

use crate::model::backup::Backup;
use crate::model::layout;

/// The text, for one backup. The commands are run from the backup's directory.
#[must_use]
pub fn readme(backup: &Backup) -> String {
    let mut text = format!(
        "A backup of the virtual machine {name}, taken at {created} by knib.\n\
         It can be restored without knib, with qemu-img and virsh alone.\n\n\
         Each disk is one qcow2 file. A file of an incremental backup names the file it continues\n\
         by a relative path: keep the directories beside this one, or copy all of them together.\n\n\
         1. Write every disk out, from this directory:\n\n",
        name = backup.vm.name,
        created = backup.created,
    );
    for (target, disk) in &backup.disks {
        let _ = writeln!(
            text,
            "    qemu-img convert -f qcow2 -O qcow2 {} /new/place/{target}.qcow2",
            disk.name
        );
    }
    let _ = write!(
        text,
        "\n2. Make a definition of {inactive}: every <source file=...> of these disks names the new file,\n\
         \x20  <driver type=...> says qcow2, and every <backingStore> element of them goes:\n\n\
         \x20   sed -e '/<backingStore\\/>/d' -e '/<backingStore/,/<\\/backingStore>/d' -e '/<\\/backingStore>/d' \\\n\
         \x20       {inactive} >/new/place/{name}.xml\n\n",
        inactive = layout::DOMAIN_INACTIVE,
        name = backup.vm.name,
    );
    for (name, element) in [
        (layout::NVRAM, "nvram"),
        (layout::KERNEL, "kernel"),
        (layout::INITRD, "initrd"),
    ] {
        if backup.files.iter().any(|file| file == name) {
            let _ = write!(
                text,
                "   Copy {name} to the place that <{element}> names.\n\n"
            );
        }
    }
    if backup.files.iter().any(|file| file == layout::TPM) {
        let _ = write!(
            text,
            "   Unpack {} into /var/lib/libvirt/swtpm/UUID, the UUID being that of the definition.\n\n",
            layout::TPM
        );
    }
    for (prefix, command) in [("network-", "net-define"), ("pool-", "pool-define")] {
        for file in backup.files.iter().filter(|file| file.starts_with(prefix)) {
            let _ = write!(text, "   Where that is missing: virsh {command} {file}\n\n");
        }
    }
    text += "3. If the old machine is still defined here, change <name>, <uuid> and each <mac address=...>.\n\
             \x20  Then: virsh define /new/place/NAME.xml\n\n\
             What the files were when they were written (blake3, see b3sum):\n\n";
    for disk in backup.disks.values() {
        let digest = disk.birth.hex();
        let _ = writeln!(text, "    {digest}  {}", disk.name);
    }
    text += "\nbackup.json says everything else. A file that was compressed later has the digest named there.\n";
    text
}
