//! File systems, what is mounted where, and what a path leads to.

use std::io::Read;

use crate::host::HostError;
use crate::host::Result;
use crate::host::guestfs::Appliance;
use crate::host::guestfs::words;
use crate::host::guestfs::words::Stat;
use crate::model::bytes::Bytes;
use crate::model::fault::Fault;

/// More than any answer has that is read whole.
const WHOLE: u64 = 4 << 20;

/// A file system, or a volume that may hold one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filesystem {
    /// As the guest may call it: `/dev/vda1`, `/dev/vg/data`.
    pub device: String,
    /// `ext4`, `crypto_LUKS`
    pub kind: String,
    /// Of the device.
    pub size: Bytes,
    /// Its name, if it has one.
    pub label: Option<String>,
}

impl Filesystem {
    /// Nothing in it can be read without a key.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        is_encrypted(&self.kind)
    }
}

fn is_encrypted(kind: &str) -> bool {
    kind.starts_with("crypto") || kind == "BitLocker"
}

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View<'a> {
    /// The guest's own tree, mounted as its fstab says.
    Guest,
    /// One file system by its device.
    Device(&'a str),
}

impl Appliance {
    /// The file systems on its disks; swap and what nobody knows are left out.
    ///
    /// # Errors
    /// The appliance ended.
    pub fn filesystems(&mut self) -> Result<Vec<Filesystem>> {
        let tried = "list the file systems";
        let listed = self.words("list-filesystems", &[], tried)?;
        let known = listed.lines().filter_map(|line| line.rsplit_once(": "));
        let mut found: Vec<_> = known
            .clone()
            .map(|(device, kind)| (device, kind.to_owned()))
            .collect();
        // What is encrypted is not among them.
        let devices =
            ["list-devices", "list-partitions", "lvs"].map(|list| self.words(list, &[], tried));
        let devices = devices.into_iter().collect::<Result<Vec<_>>>()?;
        for device in devices.iter().flat_map(|list| list.lines()) {
            let unknown = !known
                .clone()
                .any(|(known, kind)| known == device && kind != "unknown");
            let kind = self
                .words("vfs-type", &[device.as_bytes()], tried)
                .unwrap_or_default();
            if unknown && is_encrypted(kind.trim()) {
                found.push((device, kind.trim().to_owned()));
            }
        }
        found.retain(|(_, kind)| !matches!(kind.as_str(), "swap" | "unknown"));
        found.sort();
        found.dedup();
        let found = found
            .into_iter()
            .map(|(device, kind)| self.filesystem(device, kind));
        Ok(found.collect())
    }

    fn filesystem(&mut self, device: &str, kind: String) -> Filesystem {
        let inside = device.as_bytes();
        let mut asked = |what: &str| {
            let said = self.words(what, &[inside], "look at a file system");
            said.unwrap_or_default().trim_end_matches('\n').to_owned()
        };
        let size = asked("blockdev-getsize64").parse().unwrap_or_default();
        let label = Some(asked("vfs-label")).filter(|label| !label.is_empty());
        Filesystem {
            device: self.outside(device),
            kind,
            size: Bytes(size),
            label,
        }
    }

    /// Mounts what is to be looked at. Returns what could not be mounted of it, in sentences.
    ///
    /// # Errors
    /// `Gone`: there is no operating system. `Unsupported`: there are several. Else it cannot be
    /// mounted.
    pub fn mount(&mut self, view: View<'_>) -> Result<Vec<String>> {
        match view {
            View::Device(device) => self
                .mount_at(&self.inside(device), "/")
                .map(|()| Vec::new()),
            View::Guest => self.mount_guest(),
        }
    }

    fn mount_guest(&mut self) -> Result<Vec<String>> {
        let tried = "find the guest's operating system";
        let roots = self.words("inspect-os", &[], tried)?;
        let roots: Vec<_> = roots.lines().collect();
        let root = match roots[..] {
            [root] => root.as_bytes(),
            [] => {
                return Err(HostError::new(
                    Fault::Gone,
                    tried,
                    "there is none on its disks",
                ));
            }
            _ => {
                let names: Vec<_> = roots.iter().map(|root| self.outside(root)).collect();
                let cause = format!("there are several: {}", names.join(", "));
                return Err(HostError::new(Fault::Unsupported, tried, cause));
            }
        };
        let points = self.words("inspect-get-mountpoints", &[root], tried)?;
        let mut points: Vec<_> = points
            .lines()
            .filter_map(|line| line.split_once(": "))
            .collect();
        points.sort_by_key(|(point, _)| point.len());
        let mut missing = Vec::new();
        for (point, device) in points {
            match self.mount_at(device, point) {
                Err(error) if point == "/" || error.fault == Fault::Stopped => return Err(error),
                Err(error) => missing.push(format!("{point} is not there: {error}")),
                Ok(()) => {}
            }
        }
        Ok(missing)
    }

    fn mount_at(&mut self, device: &str, point: &str) -> Result<()> {
        let tried = format!("mount {}", self.outside(device));
        let args = [device.as_bytes(), point.as_bytes()];
        self.words("mount-ro", &args, &tried).map(drop)
    }

    /// The path with all links followed, as the guest would follow them, and what it leads to.
    pub(super) fn resolve(&mut self, path: &[u8]) -> Result<(Vec<u8>, Stat)> {
        let tried = format!("find {}", shown(path));
        let mut real = self.bytes("realpath", &[path], &tried)?;
        // guestfish ends what it prints with a line break of its own.
        real.pop();
        let stat = self.words("lstatns", &[&real], &tried)?;
        match words::stats(&stat)[..] {
            [Some(stat)] => Ok((real, stat)),
            _ => Err(HostError::new(Fault::Io, tried, "it cannot be looked at")),
        }
    }

    /// An answer of any bytes, whole.
    pub(super) fn bytes(&mut self, command: &str, args: &[&[u8]], tried: &str) -> Result<Vec<u8>> {
        self.session.ask(command, args, tried, |answer| {
            let mut whole = Vec::new();
            let read = answer.take(WHOLE).read_to_end(&mut whole);
            read.map_err(|error| HostError::new(Fault::Io, tried, error))?;
            Ok(whole)
        })
    }

    /// An answer in words.
    pub(super) fn words(&mut self, command: &str, args: &[&[u8]], tried: &str) -> Result<String> {
        let bytes = self.bytes(command, args, tried)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// What the guest may call a device of the appliance: `/dev/sdb1` is the second disk's first
    /// partition.
    fn outside(&self, device: &str) -> String {
        let of_disk = device.strip_prefix("/dev/sd").and_then(|name| {
            let letters = name.trim_end_matches(|c: char| c.is_ascii_digit());
            let number = (0..self.disks.len()).find(|n| letter(*n) == letters)?;
            Some(format!(
                "/dev/{}{}",
                self.disks[number],
                &name[letters.len()..]
            ))
        });
        of_disk.unwrap_or_else(|| device.to_owned())
    }

    /// What the appliance calls it.
    fn inside(&self, device: &str) -> String {
        let name = device.strip_prefix("/dev/").unwrap_or(device);
        let mut disks = self.disks.iter().enumerate();
        let of_disk = disks.find_map(|(number, target)| {
            let rest = name.strip_prefix(target.as_str())?;
            let is_partition = rest.chars().all(|c| c.is_ascii_digit());
            is_partition.then(|| format!("/dev/sd{}{rest}", letter(number)))
        });
        of_disk.unwrap_or_else(|| format!("/dev/{name}"))
    }
}

/// `a` to `z`, then `aa`.
fn letter(number: usize) -> String {
    let last = char::from(b'a' + u8::try_from(number % 26).unwrap_or_default());
    match number / 26 {
        0 => last.to_string(),
        more => letter(more - 1) + &last.to_string(),
    }
}

/// A path for people.
pub(super) fn shown(path: &[u8]) -> String {
    path.escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_are_lettered_as_the_kernel_does() {
        let letters = [0, 25, 26, 27, 52, 701, 702].map(letter);
        assert_eq!(letters, ["a", "z", "aa", "ab", "ba", "zz", "aaa"]);
    }
}
