//! Reads a kind of failure out of what QEMU says and out of the kernel's errors.
//!
//! Knows the words, not who said them: qemu-img prints them itself, libvirt passes them on.

use std::io;
use std::io::ErrorKind;

use crate::model::fault::Fault;

/// QEMU's words, the first that fits counts.
const WORDS: &[(&str, Fault)] = &[
    ("Is another process using the image", Fault::Busy),
    ("Failed to get \"write\" lock", Fault::Busy),
    ("Failed to get \"consistent read\" lock", Fault::Busy),
    ("Failed to get \"resize\" lock", Fault::Busy),
    ("Failed to get shared ", Fault::Busy),
    ("Device or resource busy", Fault::Busy),
    ("Resource temporarily unavailable", Fault::Busy),
    ("No space left on device", Fault::NoSpace),
    ("Disk quota exceeded", Fault::NoSpace),
    ("File too large", Fault::NoSpace),
    ("Permission denied", Fault::Denied),
    ("Operation not permitted", Fault::Denied),
    ("Read-only file system", Fault::Denied),
    ("No such file or directory", Fault::Gone),
    ("Unknown driver", Fault::Unsupported),
    ("Unknown file format", Fault::Unsupported),
    ("nsupported ", Fault::Unsupported),
    ("Operation not supported", Fault::Unsupported),
];

/// What QEMU's words mean, where they are known.
pub(super) fn of_words(text: &str) -> Option<Fault> {
    WORDS
        .iter()
        .find(|(words, _)| text.contains(words))
        .map(|(_, fault)| *fault)
}

/// What the kernel means.
pub(super) fn of_io(error: &io::Error) -> Fault {
    match error.kind() {
        ErrorKind::NotFound => Fault::Gone,
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Fault::Denied,
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            Fault::NoSpace
        }
        ErrorKind::AlreadyExists
        | ErrorKind::DirectoryNotEmpty
        | ErrorKind::NotADirectory
        | ErrorKind::IsADirectory => Fault::Conflict,
        ErrorKind::ResourceBusy | ErrorKind::WouldBlock | ErrorKind::ExecutableFileBusy => {
            Fault::Busy
        }
        ErrorKind::TimedOut => Fault::Timeout,
        ErrorKind::Unsupported | ErrorKind::CrossesDevices => Fault::Unsupported,
        _ => Fault::Io,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_qemu_7_2() {
        for (text, fault) in [
            (
                "qemu-img: Could not open '/d/vda': Failed to get shared \"write\" lock\n\
                 Is another process using the image [/d/vda]?",
                Fault::Busy,
            ),
            (
                "internal error: unable to execute QEMU command 'block-commit': \
                 Failed to get \"write\" lock",
                Fault::Busy,
            ),
            (
                "qemu-img: error while writing at byte 2097152: No space left on device",
                Fault::NoSpace,
            ),
            (
                "qemu-img: Could not open '/d/x': Could not open '/d/x': No such file or directory",
                Fault::Gone,
            ),
            ("qemu-img: Unknown driver 'qcow9'", Fault::Unsupported),
        ] {
            assert_eq!(of_words(text), Some(fault), "{text}");
        }
        assert_eq!(of_words("Input/output error"), None);
    }
}
