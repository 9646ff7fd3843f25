//! Chains, storages, offerings.

use crate::cli::render::BAD;
use crate::cli::render::Look;
use crate::cli::render::lists::When;
use crate::cli::render::lists::or_dash;
use crate::cli::render::lists::yes;
use crate::cli::render::table::Side;
use crate::cli::render::table::Table;
use crate::cli::render::text;
use crate::cli::view::chain::ChainView;
use crate::cli::view::offering::OfferingView;
use crate::cli::view::storage::StorageView;

/// One line each.
#[must_use]
pub fn chains(all: &[ChainView], when: &When, look: Look) -> String {
    if all.is_empty() {
        return "No chains.\n".to_owned();
    }
    let mut table = Table::new(&[
        ("VM", Side::Left),
        ("CHAIN", Side::Right),
        ("BACKUPS", Side::Right),
        ("FIRST", Side::Left),
        ("LAST", Side::Left),
        ("SIZE", Side::Right),
        ("STORAGE", Side::Left),
        ("STATUS", Side::Left),
    ]);
    for one in all {
        let place = match one.chain_size {
            Some(size) => format!("live, {} of {size}", one.position),
            None if one.live => "live".to_owned(),
            None => "ended".to_owned(),
        };
        table.row(&[
            one.vm.name.clone(),
            one.chain.to_string(),
            one.backups.len().to_string(),
            text::minute(one.first, &when.zone),
            text::minute(one.last, &when.zone),
            one.size.to_string(),
            one.storage.clone(),
            place,
        ]);
    }
    table.draw(look)
}

/// Space per storage and VM.
#[must_use]
pub fn storages(all: &[StorageView], when: &When, look: Look) -> String {
    if all.is_empty() {
        return "No storages.\n".to_owned();
    }
    let mut table = Table::new(&[
        ("STORAGE", Side::Left),
        ("PATH", Side::Left),
        ("TYPE", Side::Left),
        ("FREE", Side::Right),
        ("TOTAL", Side::Right),
        ("BACKUPS", Side::Right),
        ("USED", Side::Right),
        ("VERIFIED", Side::Left),
    ]);
    for one in all {
        table.row(&[
            one.name.clone(),
            one.path.to_string(),
            or_dash(one.file_system.as_ref()),
            or_dash(one.free),
            or_dash(one.total),
            one.backups.to_string(),
            one.size.to_string(),
            verified(one, when),
        ]);
        for vm in &one.vms {
            let blank = String::new;
            table.row(&[
                format!("  {}", vm.vm.name),
                blank(),
                blank(),
                blank(),
                blank(),
                vm.backups.to_string(),
                vm.size.to_string(),
                blank(),
            ]);
        }
    }
    let mut drawn = table.draw(look);
    for one in all {
        if let Some(problem) = &one.problem {
            let line = text::wrap(&format!("{}: ", one.name), problem, 2, look.width);
            drawn += &(look.paint(BAD, line.trim_end()) + "\n");
        }
    }
    drawn
}

/// How many of its backups were read again, and how long ago the first of them.
fn verified(one: &StorageView, when: &When) -> String {
    let Some(at) = one.verified else {
        return "-".to_owned();
    };
    let oldest = text::relative(at, when.now);
    match one.unverified {
        0 => format!("all, {oldest} or later"),
        not => format!("{} of {}", one.backups - not, one.backups),
    }
}

/// One line each.
#[must_use]
pub fn offerings(all: &[OfferingView], look: Look) -> String {
    if all.is_empty() {
        return "No offerings.\n".to_owned();
    }
    let mut table = Table::new(&[
        ("OFFERING", Side::Left),
        ("COMPRESS", Side::Left),
        ("VALIDATE", Side::Left),
        ("QUICK RESTORE", Side::Left),
        ("EXTRACT", Side::Left),
        ("CHAIN", Side::Right),
        ("POLICIES", Side::Left),
        ("", Side::Left),
    ]);
    for one in all {
        let library = one.compression_library.as_str().to_owned();
        table.row(&[
            one.name.clone(),
            if one.compress { library } else { yes(false) },
            yes(one.validate),
            yes(one.allow_quick_restore),
            yes(one.allow_extract_file),
            or_dash(one.backup_chain_size),
            one.policies.join(", "),
            if one.removed { "removed" } else { "" }.to_owned(),
        ]);
    }
    table.draw(look)
}
