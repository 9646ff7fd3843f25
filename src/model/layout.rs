//! Every path that knib makes, spelled once.
//!
//! It knows nothing of what is really there.

use camino::Utf8Path;
use camino::Utf8PathBuf;

use crate::model::id::BackupId;
use crate::model::id::Target;
use crate::model::id::VmId;

/// What stands between the name of a disk's file and the id of the backup that left the delta.
const DELTA: &str = ".knib-";
/// What stands between the name of a disk's file and the number of a snapshot's layer.
const SNAPSHOT: &str = ".knib-snapshot-";
/// What a delta's file ends with when its content is in the file below.
const MERGED: &str = ".merged";
/// What stands between the name of a file that a restore replaced and the id of the restore.
const BEFORE: &str = ".before-";
/// The same of the file that took its place.
const RESTORED: &str = ".restored-";
/// What a restored disk's file ends with until it is whole.
const UNFINISHED: &str = ".knib-unfinished";
/// Begins the names of throwaway VMs and their files.
const THROWAWAY: &str = "knib-validate-";

/// A storage's marker: its absence means "not mounted", never "all backups are gone".
#[must_use]
pub fn marker(storage: &Utf8Path) -> Utf8PathBuf {
    storage.join(".knib-storage")
}

/// All backups of a VM on a storage.
#[must_use]
pub fn vm_dir(storage: &Utf8Path, vm: &VmId) -> Utf8PathBuf {
    storage.join(vm.as_str())
}

/// Says whose state writes into `vm_dir`.
#[must_use]
pub fn owner(storage: &Utf8Path, vm: &VmId) -> Utf8PathBuf {
    vm_dir(storage, vm).join("owner.json")
}

/// A backup.
#[must_use]
pub fn backup_dir(storage: &Utf8Path, vm: &VmId, backup: &BackupId) -> Utf8PathBuf {
    vm_dir(storage, vm).join(backup.as_str())
}

/// Whose directory a file lies in, by whatever name the storage is known; none: not a backup's.
#[must_use]
pub fn backup_of(file: &Utf8Path) -> Option<(VmId, BackupId)> {
    let dir = file.parent()?;
    let backup = dir.file_name().filter(|name| BackupId::is_one(name))?;
    let vm = dir.parent()?.file_name()?;
    Some((VmId::new(vm), BackupId::new(backup)))
}

/// A backup that is being made, beside the place it will have, so that its relative backing links
/// are right before and after the rename.
#[must_use]
pub fn stage_dir(storage: &Utf8Path, vm: &VmId, backup: &BackupId) -> Utf8PathBuf {
    vm_dir(storage, vm).join(format!(".{backup}.partial"))
}

/// The id of a staged backup, from the name of its directory.
#[must_use]
pub fn staged(name: &str) -> Option<BackupId> {
    let id = name.strip_prefix('.')?.strip_suffix(".partial")?;
    BackupId::is_one(id).then(|| BackupId::new(id))
}

/// A backup that is going: it has lost its name, and not yet everything it held.
#[must_use]
pub fn going_dir(storage: &Utf8Path, vm: &VmId, backup: &BackupId) -> Utf8PathBuf {
    vm_dir(storage, vm).join(format!(".{backup}.deleted"))
}

/// The id of a backup that is going, from the name of its directory.
#[must_use]
pub fn going(name: &str) -> Option<BackupId> {
    let id = name.strip_prefix('.')?.strip_suffix(".deleted")?;
    BackupId::is_one(id).then(|| BackupId::new(id))
}

/// A VM that was quick-restored from a backup, or reads it from another host, leaves a file in here.
pub const READERS: &str = "leases";

/// A disk's file in a backup's directory.
#[must_use]
pub fn disk_file(target: &Target) -> String {
    format!("{target}.qcow2")
}

/// What a compressed file's name ends with until it takes the place of the one beside it.
const COMPRESSED: &str = ".comp";

/// The compressed file beside a disk's file in a backup's directory.
#[must_use]
pub fn compressed(file: &Utf8Path) -> Utf8PathBuf {
    Utf8PathBuf::from(format!("{file}{COMPRESSED}"))
}

/// The file whose place a compressed one is to take.
#[must_use]
pub fn uncompressed(path: &Utf8Path) -> Option<Utf8PathBuf> {
    path.as_str()
        .strip_suffix(COMPRESSED)
        .map(Utf8PathBuf::from)
}

/// How a backup's file names its parent's.
#[must_use]
pub fn backing(parent: &BackupId, target: &Target) -> Utf8PathBuf {
    Utf8PathBuf::from(format!("../{parent}/{}", disk_file(target)))
}

/// What a backup is.
pub const RECORD: &str = "backup.json";
/// How to restore without knib.
pub const README: &str = "README.txt";
/// The definition that ran.
pub const DOMAIN: &str = "domain.xml";
/// The definition that the next start would have taken.
pub const DOMAIN_INACTIVE: &str = "domain.inactive.xml";
/// UEFI variables.
pub const NVRAM: &str = "nvram.fd";
/// Kernel of a direct boot.
pub const KERNEL: &str = "kernel";
/// What an emulated TPM keeps, its directory as an archive.
pub const TPM: &str = "tpm.tar";
/// Its initial ramdisk.
pub const INITRD: &str = "initrd";
/// What the screen showed when the backup was booted.
pub const SCREENSHOT: &str = "screenshot.png";

/// The definition of a network or a pool that a VM's definition names. libvirt admits no slash in
/// their names.
#[must_use]
pub fn neighbour(kind: &str, name: &str) -> String {
    format!("{kind}-{}.xml", name.replace('/', "_"))
}

/// The delta that `backup` leaves beside `disk`, the nearest file of the chain that is no delta.
#[must_use]
pub fn delta(disk: &Utf8Path, backup: &BackupId) -> Utf8PathBuf {
    let name = disk.file_name().unwrap_or_default();
    disk.with_file_name(format!("{name}{DELTA}{backup}"))
}

/// The backup that left a file, if its name says it is a delta.
#[must_use]
pub fn delta_of(path: &Utf8Path) -> Option<BackupId> {
    let (_, id) = path.file_name()?.rsplit_once(DELTA)?;
    BackupId::is_one(id).then(|| BackupId::new(id))
}

/// The layer that collects what is written after the snapshot, or the revert, that was knib's change
/// number `serial` of the VM.
#[must_use]
pub fn snapshot_layer(disk: &Utf8Path, serial: u64) -> Utf8PathBuf {
    let name = disk.file_name().unwrap_or_default();
    disk.with_file_name(format!("{name}{SNAPSHOT}{serial}"))
}

/// The disk that a snapshot's layer was laid on, if a file's name says it is one.
#[must_use]
pub fn snapshotted(path: &Utf8Path) -> Option<Utf8PathBuf> {
    let (disk, serial) = path.file_name()?.rsplit_once(SNAPSHOT)?;
    serial.parse::<u64>().ok()?;
    Some(path.with_file_name(disk))
}

/// Whether a file's name says that knib laid it on a disk.
#[must_use]
pub fn is_ours(path: &Utf8Path) -> bool {
    delta_of(path).is_some() || snapshotted(path).is_some()
}

/// The name that a merged delta has until the definition has let go of it, so that no start finds it.
#[must_use]
pub fn merged(delta: &Utf8Path) -> Utf8PathBuf {
    Utf8PathBuf::from(format!("{delta}{MERGED}"))
}

/// The name that a merged delta had before.
#[must_use]
pub fn unmerged(path: &Utf8Path) -> Option<Utf8PathBuf> {
    path.as_str().strip_suffix(MERGED).map(Utf8PathBuf::from)
}

/// The name a small file has while it is written.
#[must_use]
pub fn unwritten(path: &Utf8Path) -> Utf8PathBuf {
    let name = path.file_name().unwrap_or_default();
    path.with_file_name(format!(".{name}.tmp"))
}

/// Whether something may be in a directory that is to become a storage: nobody's backups are lost in it.
#[must_use]
pub fn is_nothing(name: &str) -> bool {
    let marker = unwritten(&marker(Utf8Path::new("")));
    name == "lost+found" || Some(name) == marker.file_name()
}

/// A disk of a restored VM.
#[must_use]
pub fn restored_disk(dir: &Utf8Path, vm: &str, target: &Target, extension: &str) -> Utf8PathBuf {
    dir.join(format!("{vm}-{target}.{extension}"))
}

/// The UEFI variables of a restored VM.
#[must_use]
pub fn restored_nvram(dir: &Utf8Path, vm: &str) -> Utf8PathBuf {
    dir.join(format!("{vm}_VARS.fd"))
}

/// The name of what a restore replaced.
#[must_use]
pub fn before(path: &Utf8Path, restore: &BackupId) -> Utf8PathBuf {
    Utf8PathBuf::from(format!("{path}{BEFORE}{restore}"))
}

/// The restore that replaced a file, if its name says so.
#[must_use]
pub fn replaced_by(path: &Utf8Path) -> Option<BackupId> {
    let name = path.file_name()?;
    marked(name.strip_suffix(".xml").unwrap_or(name), BEFORE).map(|(_, id)| id)
}

/// The restore that a file came with, if its name says so.
#[must_use]
pub fn restored_by(path: &Utf8Path) -> Option<BackupId> {
    marked(path.file_name()?, RESTORED).map(|(_, id)| id)
}

/// What a file was called before restores replaced it, as far as its name says so.
#[must_use]
pub fn unreplaced(path: &Utf8Path) -> Utf8PathBuf {
    let mut name = path.file_name().unwrap_or_default();
    while let Some((stem, _)) = marked(name, BEFORE) {
        name = stem;
    }
    path.with_file_name(name)
}

/// What is left and right of a mark in a file's name.
fn marked<'a>(name: &'a str, mark: &str) -> Option<(&'a str, BackupId)> {
    let (stem, id) = name.rsplit_once(mark)?;
    BackupId::is_one(id).then(|| (stem, BackupId::new(id)))
}

/// The file that knib's layers were laid on, as far as a layer's name says so.
#[must_use]
pub fn covered(path: &Utf8Path) -> Utf8PathBuf {
    let mut path = path.to_owned();
    while is_ours(&path) {
        let name = path.file_name().unwrap_or_default();
        let stem = name.rsplit_once(DELTA).map_or(name, |(stem, _)| stem);
        path = path.with_file_name(stem);
    }
    path
}

/// The definition of a VM as it was before a restore.
#[must_use]
pub fn way_back(dir: &Utf8Path, vm: &str, restore: &BackupId) -> Utf8PathBuf {
    dir.join(format!("{}{BEFORE}{restore}.xml", vm.replace('/', "_")))
}

/// The file that takes the place of a disk's, beside it: named after it, or after what it was named
/// after when it took another one's place itself.
#[must_use]
pub fn restored(path: &Utf8Path, restore: &BackupId) -> Utf8PathBuf {
    let mut stem = path.file_name().unwrap_or_default();
    while let Some((before, _)) = marked(stem, RESTORED).or_else(|| marked(stem, BEFORE)) {
        stem = before;
    }
    path.with_file_name(format!("{stem}{RESTORED}{restore}"))
}

/// What a backup's throwaway VM is called.
#[must_use]
pub fn throwaway(vm: &str) -> String {
    format!("{THROWAWAY}{vm}")
}

/// A file of its own that the throwaway VM of a VM has for a while.
#[must_use]
pub fn throwaway_file(dir: &Utf8Path, vm: &VmId, what: &str) -> Utf8PathBuf {
    dir.join(format!("{}.{what}", throwaway(vm.as_str())))
}

/// The VM whose throwaway VM has a file of such a name.
#[must_use]
pub fn thrown_away(path: &Utf8Path) -> Option<VmId> {
    let (vm, _) = path.file_name()?.strip_prefix(THROWAWAY)?.split_once('.')?;
    Some(VmId::new(vm))
}

/// The name a file has until it is whole.
#[must_use]
pub fn unfinished(path: &Utf8Path) -> Utf8PathBuf {
    Utf8PathBuf::from(format!("{path}{UNFINISHED}"))
}

/// The name that an unfinished file is to have.
#[must_use]
pub fn finished(path: &Utf8Path) -> Option<Utf8PathBuf> {
    path.as_str()
        .strip_suffix(UNFINISHED)
        .map(Utf8PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delta_names_its_backup() {
        let id = BackupId::new("20261123-020000-3fa9c1d2");
        let path = delta(Utf8Path::new("/images/db.qcow2"), &id);
        assert_eq!(path, "/images/db.qcow2.knib-20261123-020000-3fa9c1d2");
        assert_eq!(delta_of(&path), Some(id));
        assert_eq!(delta_of(&merged(&path)), None);
        assert_eq!(delta_of(Utf8Path::new("/images/db.qcow2.knib-old")), None);
        assert_eq!(delta_of(Utf8Path::new("/images/db.qcow2")), None);
        assert!(is_ours(&path));
    }

    #[test]
    fn a_restored_disk_is_named_after_the_first_of_its_line() {
        let id = |n: u32| BackupId::new(format!("20261123-02000{n}-3fa9c1d2"));
        let first = restored(Utf8Path::new("/images/db.qcow2"), &id(1));
        assert_eq!(first, "/images/db.qcow2.restored-20261123-020001-3fa9c1d2");
        assert_eq!(restored_by(&first), Some(id(1)));
        let kept = before(&first, &id(2));
        assert_eq!(replaced_by(&kept), Some(id(2)));
        assert_eq!(unreplaced(&before(&kept, &id(3))), first);
        let second = restored(&kept, &id(4));
        assert_eq!(second, "/images/db.qcow2.restored-20261123-020004-3fa9c1d2");
        let back = way_back(Utf8Path::new("/images"), "db-01", &id(2));
        assert_eq!(replaced_by(&back), Some(id(2)));
        assert_eq!(
            replaced_by(Utf8Path::new("/images/db.before-upgrade")),
            None
        );
    }

    #[test]
    fn a_snapshots_layer_is_ours_and_no_delta() {
        let path = snapshot_layer(Utf8Path::new("/images/db.qcow2"), 12);
        assert_eq!(path, "/images/db.qcow2.knib-snapshot-12");
        assert!(is_ours(&path) && delta_of(&path).is_none());
        for other in ["db.qcow2", "db.knib-snapshot-", "db.knib-snapshot-1.qcow2"] {
            assert!(!is_ours(Utf8Path::new(other)), "{other}");
        }
    }
}
