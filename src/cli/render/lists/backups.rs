//! Backups.

use std::fmt::Write;

use crate::cli::render::HEADING;
use crate::cli::render::Look;
use crate::cli::render::lists::When;
use crate::cli::render::lists::or_dash;
use crate::cli::render::table::Side;
use crate::cli::render::table::Table;
use crate::cli::render::text;
use crate::cli::view::backup::BackupView;
use crate::cli::view::backup::Compression;
use crate::cli::view::backup::Status;
use crate::cli::view::backup::Validation;
use crate::model::backup::Kind;

/// One line each.
#[must_use]
pub fn backups(all: &[BackupView], when: &When, look: Look) -> String {
    if all.is_empty() {
        return "No backups.\n".to_owned();
    }
    let mut table = Table::new(&[
        ("ID", Side::Left),
        ("VM", Side::Left),
        ("CREATED", Side::Left),
        ("KIND", Side::Left),
        ("CHAIN", Side::Right),
        ("POS", Side::Right),
        ("SIZE", Side::Right),
        ("STORAGE", Side::Left),
        ("STATUS", Side::Left),
    ]);
    for one in all {
        table.row(&[
            one.id.to_string(),
            one.vm.name.clone(),
            created(one, when),
            kind(one),
            or_dash(one.chain),
            or_dash(one.position),
            one.size.to_string(),
            or_dash(one.storage.as_ref()),
            standing(one),
        ]);
    }
    table.draw(look)
}

/// Everything about one.
#[must_use]
pub fn backup(one: &BackupView, when: &When, look: Look) -> String {
    let mut drawn = look.paint(HEADING, &format!("{} of {}", one.id, one.vm.name)) + "\n";
    let mut say = |name: &str, value: String| {
        if !value.is_empty() && value != "-" {
            let _ = writeln!(drawn, "  {name:<13} {}", text::clean(&value));
        }
    };
    say("VM", format!("{} ({})", one.vm.name, one.vm.uuid));
    say("created", created(one, when));
    say("status", standing(one));
    say("error", or_dash(one.error.as_ref()));
    say("kind", kind(one));
    if let (Some(chain), Some(position)) = (one.chain, one.position) {
        say("chain", format!("{chain}, at position {position}"));
    }
    say("parent", or_dash(one.parent.as_ref()));
    let consistency = one
        .consistency
        .map(|level| format!("{level:?}").to_lowercase());
    say("consistency", or_dash(consistency));
    say("policy", or_dash(one.policy.as_ref()));
    say("offering", or_dash(one.offering.as_ref()));
    let slots: Vec<_> = one
        .slots
        .iter()
        .map(|slot| format!("{} {}", slot.schedule, text::minute(slot.at, &when.zone)))
        .collect();
    say("slots", slots.join(", "));
    say("storage", or_dash(one.storage.as_ref()));
    if !one.disks.is_empty() {
        say("size", format!("{} for {}", one.size, one.protected_size));
        say("compression", compression(one));
        say("validation", validation(one, when));
        if let Some(how) = &one.validated {
            say("", how.reasons.join("; "));
            say("screenshot", or_dash(how.screenshot.as_ref()));
        }
        say("last verified", verified(one, when));
        say("deleting it", format!("frees {}", one.frees_bytes));
    }
    say("kept by", one.kept_by.join(", "));
    let needed: Vec<_> = one.needed_by.iter().map(ToString::to_string).collect();
    say("needed by", needed.join(", "));
    say("in use by", one.leased_by.join(", "));
    for disk in &one.disks {
        let kind = kind_word(disk.kind);
        let _ = writeln!(
            drawn,
            "  {} {kind}, {} of {}\n    {}",
            disk.target, disk.size, disk.virtual_size, disk.path
        );
        if let Some(backing) = &disk.backing {
            let _ = writeln!(drawn, "    continues {backing}");
        }
        let _ = writeln!(drawn, "    {}", disk.digest);
    }
    drawn
}

fn verified(one: &BackupView, when: &When) -> String {
    match one.verified {
        None => "never".to_owned(),
        Some(at) => format!(
            "{} ({})",
            text::minute(at, &when.zone),
            text::relative(at, when.now)
        ),
    }
}

fn compression(one: &BackupView) -> String {
    match one.compression {
        Compression::None => String::new(),
        Compression::Pending => "pending".to_owned(),
        Compression::Compressing => "under way".to_owned(),
        Compression::Compressed => format!("compressed from {}", one.uncompressed_size),
        Compression::Kept => "kept as it was: no file would be smaller".to_owned(),
        Compression::Failed => format!("failed: knib job list --backup {}", one.id),
    }
}

fn validation(one: &BackupView, when: &When) -> String {
    let Some(state) = validation_word(one) else {
        return String::new();
    };
    let at = one.validated.as_ref().map(|how| how.at);
    match at.filter(|_| !matches!(one.validation, Validation::Pending)) {
        Some(at) => format!("{state}, {}", text::second(at, &when.zone)),
        None => state.to_owned(),
    }
}

fn validation_word(one: &BackupView) -> Option<&'static str> {
    Some(match one.validation {
        Validation::None => return None,
        Validation::Pending => "pending",
        Validation::Validating => "under way",
        Validation::Valid => "valid",
        Validation::Invalid => "invalid",
        Validation::Unable => "could not be judged",
    })
}

fn created(one: &BackupView, when: &When) -> String {
    or_dash(one.created.map(|at| text::second(at, &when.zone)))
}

fn kind(one: &BackupView) -> String {
    let kind = or_dash(one.kind.map(kind_word));
    if one.isolated && one.kind.is_some() {
        format!("{kind}, isolated")
    } else {
        kind
    }
}

fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Full => "full",
        Kind::Incremental => "incremental",
    }
}

fn standing(one: &BackupView) -> String {
    let mut words = vec![match one.status {
        Status::BackingUp => "backing up".to_owned(),
        Status::BackedUp => match one.validation {
            Validation::Valid => "valid".to_owned(),
            Validation::Invalid => "invalid".to_owned(),
            _ => "good".to_owned(),
        },
        Status::Failed => "failed".to_owned(),
        Status::Removed => "removed".to_owned(),
        Status::Unusable => match &one.unusable {
            Some(why) => format!("unusable ({})", why.code),
            None => "unusable".to_owned(),
        },
    }];
    if one.current {
        words.push("current".to_owned());
    }
    if one.end_of_chain {
        words.push("end of chain".to_owned());
    }
    if one.pinned {
        words.push("pinned".to_owned());
    }
    words.join(", ")
}
