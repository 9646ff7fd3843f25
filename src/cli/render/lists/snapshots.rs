//! The snapshots of a VM as a tree: each below the one it was made on.

use crate::cli::render::Look;
use crate::cli::render::lists::When;
use crate::cli::render::table::Side;
use crate::cli::render::table::Table;
use crate::cli::render::text;
use crate::cli::view::snapshot::SnapshotView;

/// One line each, and one for the VM.
#[must_use]
pub fn snapshots(all: &[SnapshotView], when: &When, look: Look) -> String {
    if all.is_empty() {
        return "No snapshots.\n".to_owned();
    }
    let mut table = Table::new(&[
        ("SNAPSHOT", Side::Left),
        ("CREATED", Side::Left),
        ("", Side::Left),
    ]);
    let roots = all.iter().filter(|one| one.parent.is_none());
    for root in roots {
        draw(&mut table, all, when, root, "", "");
    }
    table.draw(look)
}

/// A snapshot with what was made on it. `first` is drawn before its name, `rest` below that.
fn draw(
    table: &mut Table,
    all: &[SnapshotView],
    when: &When,
    one: &SnapshotView,
    first: &str,
    rest: &str,
) {
    let at = text::minute(one.created, &when.zone);
    let age = text::relative(one.created, when.now);
    let state = if one.removed {
        "deleted, still needed"
    } else {
        ""
    };
    table.row(&[
        format!("{first}{}", one.name),
        format!("{at} ({age})"),
        state.to_owned(),
    ]);
    let mut children = all
        .iter()
        .filter(|child| child.parent.as_ref() == Some(&one.name))
        .peekable();
    while let Some(child) = children.next() {
        let last = children.peek().is_none() && !one.current;
        let (branch, trunk) = if last {
            ("└─ ", "   ")
        } else {
            ("├─ ", "│  ")
        };
        let (first, rest) = (format!("{rest}{branch}"), format!("{rest}{trunk}"));
        draw(table, all, when, child, &first, &rest);
    }
    if one.current {
        let blank = String::new;
        table.row(&[format!("{rest}└─ (now)"), blank(), blank()]);
    }
}
