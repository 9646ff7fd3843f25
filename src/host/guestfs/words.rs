//! guestfish's words: arguments on their way in, numbers on their way out.
//!
//! Whatever a guest calls its files is one argument on one line, never a second command.

use crate::host::HostError;
use crate::host::Result;
use crate::model::fault::Fault;

/// guestfish reads a line into 8192 bytes and would take what is left for the next command.
pub(super) const LONGEST_LINE: usize = 8000;

/// A command with its arguments as one line.
///
/// # Errors
/// An argument is too long, or holds a zero byte.
pub(super) fn line(command: &str, args: &[&[u8]]) -> Result<String> {
    let mut line = command.to_owned();
    for arg in args {
        line += " \"";
        line += &escaped(arg);
        line.push('"');
    }
    let refuse = |why: &str| {
        let tried = format!("ask libguestfs for {command}");
        HostError::new(Fault::Unsupported, tried, why)
    };
    if args.iter().any(|arg| arg.contains(&0)) {
        return Err(refuse("a path holds a zero byte"));
    }
    if line.len() > LONGEST_LINE {
        return Err(refuse("the path is too long for it"));
    }
    Ok(line)
}

/// As it stands between double quotes.
pub(super) fn escaped(arg: &[u8]) -> String {
    let mut text = String::new();
    for byte in arg {
        match byte {
            b' ' | b'!' | b'#'..=b'[' | b']'..=b'~' => text.push(char::from(*byte)),
            other => text += &format!("\\x{other:02x}"),
        }
    }
    text
}

/// Whether a name is one word in a list of words, which has quotes of its own.
pub(super) fn is_one_word(name: &[u8]) -> bool {
    !name.is_empty() && !name.iter().any(|byte| b" \t'\"\\".contains(byte))
}

/// What is known of a file without opening it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) mode: u32,
    pub(super) size: u64,
    pub(super) uid: u64,
    pub(super) gid: u64,
    pub(super) seconds: i64,
    pub(super) nanoseconds: i64,
}

/// What guestfish prints of one file or of several: `[0] = {`, then a line each value. One that could
/// not be looked at is none.
pub(super) fn stats(text: &str) -> Vec<Option<Stat>> {
    let value = |name: &str, record: &str| {
        let mut lines = record.lines();
        let found = lines.find_map(|line| line.trim_start().strip_prefix(name)?.strip_prefix(": "));
        found.and_then(|value| value.trim().parse::<i64>().ok())
    };
    let records = text.split("st_dev:").skip(1);
    let stat = |record: &str| {
        let inode = value("st_ino", record)?;
        (inode >= 0).then_some(())?;
        Some(Stat {
            mode: u32::try_from(value("st_mode", record)?).ok()?,
            size: u64::try_from(value("st_size", record)?).ok()?,
            uid: u64::try_from(value("st_uid", record)?).ok()?,
            gid: u64::try_from(value("st_gid", record)?).ok()?,
            seconds: value("st_mtime_sec", record)?,
            nanoseconds: value("st_mtime_nsec", record)?,
        })
    };
    records.map(stat).collect()
}

/// What libguestfs says of a failure, without where in knib's questions it stood.
pub(super) fn cause(said: &str) -> String {
    let said = said.lines().map(|line| {
        let cause = line.split_once("libguestfs: error: ");
        cause.map_or(line, |(_, cause)| cause).trim()
    });
    // Advice of its own, on finding defects of libguestfs.
    let said = said.take_while(|line| !line.starts_with("This usually means"));
    let said: Vec<_> = said.filter(|line| !line.is_empty()).collect();
    said.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_a_second_command_or_argument() {
        let line = line("ls0", &[b"/a\n-download /x \"y\" | sh\\\xff", b"-"]).expect("it is short");
        let wanted = r#"ls0 "/a\x0a-download /x \x22y\x22 | sh\x5c\xff" "-""#;
        assert_eq!(line, wanted);
    }

    #[test]
    fn a_line_is_never_longer_than_guestfish_reads() {
        let long = vec![b'\n'; 3000];
        assert!(line("ls0", &[&long]).is_err());
        assert!(line("ls0", &[b"/a\0b"]).is_err());
    }

    #[test]
    fn values_of_files_are_read_by_name() {
        let one = "[0] = {\n  st_dev: 2048\n  st_ino: 12\n  st_mode: 33188\n  st_uid: 7\n  st_gid: 8\n  \
                   st_size: 5\n  st_mtime_sec: -3\n  st_mtime_nsec: 9\n}\n";
        let gone = "[1] = {\n  st_dev: 0\n  st_ino: -1\n  st_mode: 0\n}\n";
        let found = stats(&format!("{one}{gone}"));
        let wanted = Stat {
            mode: 0o100_644,
            size: 5,
            uid: 7,
            gid: 8,
            seconds: -3,
            nanoseconds: 9,
        };
        assert_eq!(found, [Some(wanted), None]);
    }
}
