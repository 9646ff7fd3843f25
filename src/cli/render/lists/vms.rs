//! VMs: who is protected, and how it stands.

use crate::cli::render::BAD;
use crate::cli::render::Look;
use crate::cli::render::lists::When;
use crate::cli::render::lists::or_dash;
use crate::cli::render::lists::yes;
use crate::cli::render::table::Side;
use crate::cli::render::table::Table;
use crate::cli::render::text;
use crate::cli::view::vm::VmView;

/// Who is protected.
#[must_use]
pub fn vms(all: &[VmView], when: &When, look: Look) -> String {
    if all.is_empty() {
        return "No VMs.\n".to_owned();
    }
    let mut table = Table::new(&[
        ("VM", Side::Left),
        ("STATE", Side::Left),
        ("PROTECTED", Side::Left),
        ("POLICY", Side::Left),
        ("OFFERING", Side::Left),
        ("LAST GOOD", Side::Left),
    ]);
    for vm in all {
        table.row(&[
            vm.name.clone(),
            vm.state.clone(),
            if vm.left {
                "left".to_owned()
            } else {
                yes(vm.protected)
            },
            or_dash(vm.policy.as_ref()),
            or_dash(vm.offering.as_ref()),
            last_good(vm, when),
        ]);
    }
    table.draw(look)
}

/// How each stands, and what is wrong.
#[must_use]
pub fn status(all: &[VmView], when: &When, look: Look) -> String {
    if all.is_empty() {
        return "No VMs.\n".to_owned();
    }
    let mut table = Table::new(&[
        ("VM", Side::Left),
        ("STATE", Side::Left),
        ("POLICY", Side::Left),
        ("LAST GOOD", Side::Left),
        ("VERIFIED", Side::Left),
        ("NEXT", Side::Left),
        ("CHAIN", Side::Right),
        ("DELTA", Side::Right),
        ("SNAPSHOTS", Side::Right),
    ]);
    for vm in all {
        table.row(&[
            vm.name.clone(),
            vm.state.clone(),
            if vm.left {
                "(left)".to_owned()
            } else {
                or_dash(vm.policy.as_ref())
            },
            last_good(vm, when),
            verified(vm, when),
            or_dash(vm.next_due.map(|at| text::minute(at, &when.zone))),
            chain(vm),
            vm.delta_bytes.to_string(),
            some(vm.snapshots),
        ]);
    }
    let mut drawn = table.draw(look);
    for vm in all {
        for job in &vm.jobs {
            drawn += &text::wrap(&format!("{}: ", vm.name), job, 2, look.width);
        }
        for problem in &vm.problems {
            let line = text::wrap(&format!("{}: ", vm.name), problem, 2, look.width);
            drawn += &line
                .lines()
                .map(|line| look.paint(BAD, line) + "\n")
                .collect::<String>();
        }
    }
    drawn
}

fn last_good(vm: &VmView, when: &When) -> String {
    let good = vm.last_good.as_ref();
    or_dash(good.map(|good| {
        let at = text::minute(good.created, &when.zone);
        format!("{at} ({})", text::relative(good.created, when.now))
    }))
}

/// How long ago the last good one was read again.
fn verified(vm: &VmView, when: &When) -> String {
    let read = vm.last_good.as_ref().and_then(|good| good.verified);
    or_dash(read.map(|at| text::relative(at, when.now)))
}

/// Nothing for none.
fn some(number: usize) -> String {
    match number {
        0 => String::new(),
        number => number.to_string(),
    }
}

fn chain(vm: &VmView) -> String {
    match (vm.position, vm.chain_size) {
        (Some(position), Some(size)) => format!("{position}/{size}"),
        (Some(position), None) => position.to_string(),
        (None, _) => "-".to_owned(),
    }
}
