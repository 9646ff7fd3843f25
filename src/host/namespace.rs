//! Whether a QEMU process sees what is seen here: libvirt gives each a mount namespace of its own, in
//! which a storage may be missing that was mounted after the VM was started.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;

use camino::Utf8Path;
use camino::Utf8PathBuf;

use crate::host::HostError;
use crate::host::Result;
use crate::model::fault::Fault;
use crate::model::id::VmId;

/// `Gone` unless the QEMU of a VM finds each file where it is found here. Where nobody may look it is left
/// to QEMU to say.
pub(super) async fn finds(vm: &VmId, files: &[Utf8PathBuf]) -> Result<()> {
    let (vm, files) = (vm.clone(), files.to_owned());
    let looked = tokio::task::spawn_blocking(move || {
        let Some(root) = root(&vm) else {
            return Ok(());
        };
        let unseen = files.iter().find(|file| !is_same(&root, file));
        unseen.map_or(Ok(()), |file| {
            let tried = format!("find {file} from within the QEMU process of the VM");
            let cause = "it does not see that file system";
            Err(HostError::new(Fault::Gone, tried, cause))
        })
    });
    looked.await.expect("looking does not panic")
}

/// The root directory as the QEMU process of a VM sees it, if there is one.
fn root(vm: &VmId) -> Option<PathBuf> {
    let processes = fs::read_dir("/proc").ok()?.filter_map(io::Result::ok);
    let mut dirs = processes.map(|entry| entry.path());
    let runs_it = |dir: &PathBuf| {
        let line = fs::read(dir.join("cmdline")).unwrap_or_default();
        let words: Vec<_> = line.split(|byte| *byte == 0).collect();
        let mut pairs = words.windows(2);
        pairs.any(|pair| pair == [b"-uuid", vm.as_str().as_bytes()])
    };
    dirs.find(runs_it).map(|dir| dir.join("root"))
}

/// Whether a path leads to the same file from both roots. Links are followed here: from within a
/// process's root they would lead out of it.
fn is_same(root: &Path, file: &Utf8Path) -> bool {
    let Ok(here) = file.canonicalize_utf8() else {
        return false;
    };
    let there = root.join(here.as_str().trim_start_matches('/'));
    let identity = |meta: fs::Metadata| (meta.dev(), meta.ino());
    match (fs::metadata(&here), fs::metadata(there)) {
        (Ok(here), Ok(there)) => identity(here) == identity(there),
        (Ok(_), Err(error)) => error.kind() == io::ErrorKind::PermissionDenied,
        (Err(_), _) => false,
    }
}
