//! File systems and files in a backup.

use jiff::tz::TimeZone;

use crate::cli::render::Look;
use crate::cli::render::lists::or_dash;
use crate::cli::render::table::Side;
use crate::cli::render::table::Table;
use crate::cli::render::text;
use crate::cli::view::file::FileView;
use crate::cli::view::file::FilesystemView;
use crate::host::guestfs::Kind;

/// One line each.
#[must_use]
pub fn filesystems(all: &[FilesystemView], look: Look) -> String {
    let mut table = Table::new(&[
        ("DEVICE", Side::Left),
        ("TYPE", Side::Left),
        ("SIZE", Side::Right),
        ("LABEL", Side::Left),
    ]);
    for one in all {
        table.row(&[
            one.device.clone(),
            one.kind.clone(),
            one.size.to_string(),
            or_dash(one.label.as_ref()),
        ]);
    }
    table.draw(look)
}

/// A line as `ls` has it. The list may be endless, so no column waits for the widest entry.
#[must_use]
pub fn file(one: &FileView, zone: &TimeZone) -> String {
    let mode = one
        .mode
        .as_deref()
        .and_then(|mode| u32::from_str_radix(mode, 8).ok());
    let at = one.mtime.map(|at| text::minute(at, zone));
    format!(
        "{}{}  {:>10}  {:16}  {}",
        letter(one.kind),
        permissions(mode.unwrap_or_default()),
        or_dash(one.size),
        or_dash(at),
        name(one)
    )
}

fn letter(kind: Option<Kind>) -> char {
    match kind {
        Some(Kind::File) => '-',
        Some(Kind::Directory) => 'd',
        Some(Kind::Symlink) => 'l',
        Some(Kind::CharDevice) => 'c',
        Some(Kind::BlockDevice) => 'b',
        Some(Kind::Fifo) => 'p',
        Some(Kind::Socket) => 's',
        None => '?',
    }
}

fn permissions(mode: u32) -> String {
    let special = [(0o4000, 's'), (0o2000, 's'), (0o1000, 't')];
    let mut text = String::new();
    for (n, (bit, sign)) in special.into_iter().enumerate() {
        let of_class = mode >> (6 - 3 * n);
        text.push(if of_class & 4 == 0 { '-' } else { 'r' });
        text.push(if of_class & 2 == 0 { '-' } else { 'w' });
        text.push(match (mode & bit != 0, of_class & 1 != 0) {
            (true, true) => sign,
            (true, false) => sign.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// A name on one line, whatever is in it.
fn name(one: &FileView) -> String {
    let shown = |text: &str| {
        let all = text.chars().map(|c| match c {
            c if c.is_control() => c.escape_default().to_string(),
            '\\' => r"\\".to_owned(),
            c => c.to_string(),
        });
        all.collect()
    };
    match &one.name_hex {
        Some(hex) => {
            let bytes = (0..hex.len() / 2)
                .filter_map(|n| u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).ok());
            let bytes: Vec<u8> = bytes.collect();
            bytes.escape_ascii().to_string()
        }
        None => shown(&one.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_steers_a_terminal_or_breaks_a_line() {
        let view = |name: &str, hex: Option<&str>| FileView {
            name: name.to_owned(),
            name_hex: hex.map(str::to_owned),
            kind: Some(Kind::File),
            size: Some(crate::model::bytes::Bytes(5)),
            mode: Some("4754".to_owned()),
            mtime: jiff::Timestamp::new(0, 0).ok(),
        };
        let line = |name, hex| file(&view(name, hex), &TimeZone::UTC);
        let start = "-rwsr-xr--         5 B  1970-01-01 00:00  ";
        assert_eq!(
            line("a\nb\u{1b}[2J\\é", None),
            start.to_owned() + r"a\nb\u{1b}[2J\\é"
        );
        assert_eq!(
            line("\u{fffd}", Some("ff0a61")),
            start.to_owned() + r"\xff\na"
        );
    }
}
