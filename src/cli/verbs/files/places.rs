//! What was typed, and where in a backup that is: a disk or the guest's own tree, and paths in it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use crate::cli::failure::Failure;
use crate::cli::failure::Result;
use crate::cli::find;
use crate::host::HostError;
use crate::host::guestfs::Appliance;
use crate::host::guestfs::Filesystem;
use crate::host::guestfs::View;
use crate::model::fault::Fault;

/// What is looked at, and where in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Places {
    /// None: the guest's own tree.
    pub(super) disk: Option<String>,
    /// A file system's device.
    pub(super) fs: Option<String>,
    /// Any bytes; each begins with `/`.
    pub(super) paths: Vec<Vec<u8>>,
}

impl Places {
    /// A path begins with `/`, a disk never does and comes first.
    pub(super) fn read(typed: Vec<OsString>, fs: Option<String>) -> Result<Self> {
        let mut disk = None;
        let mut paths = Vec::new();
        for (n, one) in typed.into_iter().map(OsString::into_vec).enumerate() {
            let shown = one.escape_ascii().to_string();
            if one.first() != Some(&b'/') {
                if n > 0 || one.is_empty() {
                    let text = format!("{shown:?} is no path: a path begins with /");
                    return Err(Failure::usage(text));
                }
                disk = Some(shown);
                continue;
            }
            if one.split(|byte| *byte == b'/').any(|part| part == b"..") {
                let text = format!("{shown} has .. in it");
                return Err(Failure::usage(text).hint("write the path as it is from / on"));
            }
            paths.push(one);
        }
        Ok(Self { disk, fs, paths })
    }
}

/// Mounts what was asked for. `note` hears what could not be mounted of it.
pub(super) fn mount(appliance: &mut Appliance, places: &Places, note: &dyn Fn(&str)) -> Result<()> {
    if places.disk.is_none() && places.fs.is_none() {
        return match appliance.mount(View::Guest) {
            Ok(missing) => {
                for one in missing {
                    note(&one);
                }
                Ok(())
            }
            Err(error) if matches!(error.fault, Fault::Gone | Fault::Unsupported) => {
                Err(no_system(&error, &appliance.filesystems()?))
            }
            Err(error) => Err(error.into()),
        };
    }
    let all = appliance.filesystems()?;
    let chosen = choose(&all, places)?;
    appliance.mount(View::Device(&chosen.device))?;
    Ok(())
}

/// The one file system that is meant.
fn choose<'a>(all: &'a [Filesystem], places: &Places) -> Result<&'a Filesystem> {
    let device = |one: &Filesystem| one.device.trim_start_matches("/dev/").to_owned();
    let where_to = places.disk.as_deref().unwrap_or("its disks");
    if let Some(given) = &places.fs {
        let wanted = given.trim_start_matches("/dev/");
        let found = all.iter().find(|one| device(one) == wanted);
        let names: Vec<_> = all.iter().map(|one| one.device.as_str()).collect();
        let found = found.ok_or_else(|| find::unknown("file system", given, &names))?;
        if found.is_encrypted() {
            return Err(encrypted(found));
        }
        return Ok(found);
    }
    let readable: Vec<_> = all.iter().filter(|one| !one.is_encrypted()).collect();
    match (&readable[..], all) {
        ([one], _) => Ok(one),
        ([], []) => Err(none_on(where_to)),
        ([], [locked, ..]) => Err(encrypted(locked)),
        (several, _) => {
            let text = format!("there are {} file systems on {where_to}", several.len());
            let names: Vec<_> = several.iter().map(|one| one.device.as_str()).collect();
            let hint = format!("say which: --fs {}", names.join(", --fs "));
            Err(Failure::new("ambiguous", text).hint(hint))
        }
    }
}

/// Nothing that could be read, on a disk or on all of them.
pub(super) fn none_on(disk: &str) -> Failure {
    let text = format!("no file system was found on {disk}");
    Failure::new("no_file_system", text)
        .hint("one that lies on several disks (LVM, RAID) is seen only without DISK")
}

fn encrypted(one: &Filesystem) -> Failure {
    let text = format!(
        "{} is encrypted ({}), and knib has no key",
        one.device, one.kind
    );
    Failure::new("encrypted", text)
        .hint("restore the VM beside the old one and unlock it there: knib restore new")
}

/// The guest's own tree cannot be put together.
fn no_system(why: &HostError, all: &[Filesystem]) -> Failure {
    let readable = all.iter().filter(|one| !one.is_encrypted());
    let names: Vec<_> = readable.map(|one| one.device.as_str()).collect();
    match (&names[..], all) {
        ([], []) => none_on("its disks"),
        ([], [locked, ..]) => encrypted(locked),
        (names, _) => {
            let hint = format!("look into one file system: --fs {}", names.join(", --fs "));
            Failure::new("no_system", why).hint(hint)
        }
    }
}

/// Why a path was not found, with names that are like it.
pub(super) fn unknown(appliance: &mut Appliance, path: &[u8], error: HostError) -> Failure {
    if error.fault != Fault::Gone {
        return error.into();
    }
    let Ok((dir, names)) = appliance.around(path) else {
        return error.into();
    };
    let dir = dir.strip_suffix(b"/").unwrap_or(&dir);
    let rest = path.get(dir.len()..).unwrap_or_default();
    let missing = rest
        .split(|byte| *byte == b'/')
        .find(|part| !part.is_empty());
    let missing = missing.unwrap_or_default();
    let whole = |name: &[u8]| [dir, b"/", name].concat().escape_ascii().to_string();
    if names.iter().any(|name| name == missing) {
        let text = format!("{} is a link that leads nowhere", whole(missing));
        return Failure::new("dangling", text);
    }
    let names: Vec<_> = names.iter().map(|name| whole(name)).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    find::unknown("path", &whole(missing), &names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::bytes::Bytes;

    fn filesystem(device: &str, kind: &str) -> Filesystem {
        Filesystem {
            device: device.to_owned(),
            kind: kind.to_owned(),
            size: Bytes(1),
            label: None,
        }
    }

    /// What is chosen, or why nothing is.
    fn chosen(all: &[Filesystem], fs: Option<&str>) -> String {
        let places = Places {
            disk: Some("vda".to_owned()),
            fs: fs.map(str::to_owned),
            paths: Vec::new(),
        };
        match choose(all, &places) {
            Ok(one) => one.device.clone(),
            Err(failure) => failure.step_error().text,
        }
    }

    #[test]
    fn one_file_system_needs_no_name_and_several_do() {
        let ext4 = filesystem("/dev/vda1", "ext4");
        let luks = filesystem("/dev/vda2", "crypto_LUKS");
        let data = filesystem("/dev/vg/data", "xfs");
        assert_eq!(chosen(&[ext4.clone(), luks.clone()], None), "/dev/vda1");
        let all = [ext4, luks.clone(), data];
        assert_eq!(chosen(&all, Some("/dev/vg/data")), "/dev/vg/data");
        assert_eq!(chosen(&all, Some("vda1")), "/dev/vda1");
        let none = "no file system was found on vda";
        let locked = "/dev/vda2 is encrypted (crypto_LUKS), and knib has no key";
        assert_eq!(chosen(&all, None), "there are 2 file systems on vda");
        assert_eq!(
            chosen(&all, Some("vda3")),
            "there is no file system \"vda3\""
        );
        assert_eq!(chosen(&all, Some("vda2")), locked);
        assert_eq!(chosen(&[luks], None), locked);
        assert_eq!(chosen(&[], None), none);
    }

    #[test]
    fn a_disk_comes_first_and_paths_begin_with_a_slash() {
        let read = |typed: &[&str]| {
            let typed = typed.iter().map(OsString::from).collect();
            Places::read(typed, None)
                .ok()
                .map(|read| (read.disk, read.paths))
        };
        let path = |text: &str| text.as_bytes().to_vec();
        assert_eq!(read(&[]), Some((None, Vec::new())));
        assert_eq!(read(&["vda"]), Some((Some("vda".to_owned()), Vec::new())));
        assert_eq!(
            read(&["/a", "/b"]),
            Some((None, vec![path("/a"), path("/b")]))
        );
        assert_eq!(
            read(&["vda", "/a"]),
            Some((Some("vda".to_owned()), vec![path("/a")]))
        );
        for bad in [&["/a", "b"][..], &["vda", "vdb"], &["/a/../b"], &[""]] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }
}
