//! Every trouble at every tick, once: here a kill in each effect and some others of them. What is lost is told with its
//! trouble and its tick.
//!
//! All of them: `KNIB_CRASH_SINGLES=all cargo test --features test-hooks --test main crash::singles`

use std::env;
use std::time::Instant;

use knib::model::machine::Format;

use crate::crash::explore::Keep;
use crate::crash::explore::SINGLES;
use crate::crash::explore::explore;
use crate::crash::explore::is_full;
use crate::crash::matrix;
use crate::crash::restores;
use crate::crash::scenario::Scenario;
use crate::crash::stories;
use crate::crash::stories::Power;
use crate::crash::verified;
use crate::sim::Dice;
use crate::sim::Trouble;

/// So many besides the kills.
const SAMPLE: usize = 12;

#[expect(clippy::print_stdout, reason = "a test says how much it tried")]
fn singles(scenario: &Scenario) {
    let began = Instant::now();
    let keep = match env::var(SINGLES) {
        Err(_) => Keep::Sample(SAMPLE),
        Ok(_) if is_full() => Keep::All,
        Ok(number) => Keep::Sample(number.parse().expect("a number")),
    };
    let seed = blake3::hash(scenario.name.as_bytes()).as_bytes()[0];
    let tally = explore(scenario, 1, keep, Dice::new(seed.into()));
    matrix::simulated(&tally);
    let lost = tally.lost.len();
    println!(
        "{}: {} points, {} schedules, {lost} lost, {:.1?}",
        scenario.name,
        tally.points,
        tally.schedules,
        began.elapsed()
    );
    let some = tally.lost[..lost.min(8)].join("\n");
    assert!(tally.lost.is_empty(), "{lost} lost\n{some}");
    if scenario.troubles.contains(&Trouble::PowerCut) {
        let mut effects = tally.effects.iter();
        let spared = effects.find(|(_, kills)| **kills == 0);
        assert_eq!(spared, None, "an effect in which nothing was killed");
    }
}

macro_rules! singles {
    ($($name:ident: $scenario:expr;)*) => {$(
        #[test]
        fn $name() {
            singles(&$scenario);
        }
    )*

    /// Every scenario, made when it is wanted.
    pub(crate) fn every() -> Vec<fn() -> Scenario> {
        vec![$(|| $scenario),*]
    }};
}

singles! {
    first_on: stories::first(Power::On);
    first_off: stories::first(Power::Off);
    incremental_on: stories::incremental(Power::On);
    incremental_off: stories::incremental(Power::Off);
    end_of_chain_on: stories::end_of_chain(Power::On);
    end_of_chain_off: stories::end_of_chain(Power::Off);
    isolated_on: stories::isolated(Power::On);
    isolated_off: stories::isolated(Power::Off);
    full_on: stories::full(Power::On);
    full_off: stories::full(Power::Off);
    three_layers_on: stories::three_layers(Power::On);
    three_layers_off: stories::three_layers(Power::Off);
    grown_on: stories::grown(Power::On);
    grown_off: stories::grown(Power::Off);
    cut_off: stories::cut();
    leave_on: stories::leave(Power::On);
    leave_off: stories::leave(Power::Off);
    finish_on: stories::finish(Power::On);
    finish_off: stories::finish(Power::Off);
    delete_current_on: stories::delete_current(Power::On);
    delete_current_off: stories::delete_current(Power::Off);
    delete_needed: stories::delete_needed();
    delete_last_needing: stories::delete_last_needing();
    delete_chain: stories::delete_chain();
    pin: stories::pin();
    rotation_on: stories::rotation(Power::On);
    rotation_off: stories::rotation(Power::Off);
    clear: stories::clear();
    compress_one: stories::compress_one();
    compress_chain: stories::compress_chain();
    compress_beside: stories::compress_beside();
    compress_let_go: stories::compress_let_go();
    compress_inline_on: stories::compress_inline(Power::On);
    compress_inline_off: stories::compress_inline(Power::Off);
    validate_on: stories::validate(Power::On);
    validate_off: stories::validate(Power::Off);
    validate_as_planned: stories::validate_as_planned();
    job_cancel: stories::job_cancel();
    job_retry: stories::job_retry();
    verify_asked: verified::asked();
    verify_scheduled: verified::scheduled();
    damaged_on: stories::damaged(Power::On);
    damaged_off: stories::damaged(Power::Off);
    restore_qcow2: restores::restore(&Format::Qcow2);
    restore_raw: restores::restore(&Format::Raw);
    quick: restores::quick();
    quick_in_place_on: restores::quick_in_place(Power::On);
    quick_in_place_off: restores::quick_in_place(Power::Off);
    quick_in_place_unstartable: restores::quick_in_place_unstartable();
    quick_disk_unstartable: restores::quick_disk_unstartable();
    in_place_on: restores::in_place(true, Power::On, false);
    in_place_off: restores::in_place(true, Power::Off, false);
    in_place_older: restores::in_place(false, Power::Off, false);
    in_place_discarding: restores::in_place(true, Power::Off, true);
    quick_disk_on: restores::quick_disk(Power::On);
    quick_disk_off: restores::quick_disk(Power::Off);
    one_disk_on: restores::one_disk(Power::On);
    one_disk_off: restores::one_disk(Power::Off);
    again: restores::again(false);
    again_quick: restores::again(true);
    again_from: restores::again_from(false);
    again_from_quick: restores::again_from(true);
    in_place_from: restores::in_place_from(false);
    in_place_from_quick: restores::in_place_from(true);
    replaced_on: restores::replaced(Power::On);
    replaced_off: restores::replaced(Power::Off);
    frozen: stories::frozen("preferred", None);
    frozen_late: stories::frozen("preferred", Some(5));
    frozen_late_but_required: stories::frozen("required", Some(5));
    frozen_by_others: stories::frozen_by_others();
    defect: stories::defect();
    foreign_snapshot_on: stories::foreign_snapshot(Power::On);
    foreign_snapshot_off: stories::foreign_snapshot(Power::Off);
    snapshot_create_on: stories::create(Power::On);
    snapshot_create_off: stories::create(Power::Off);
    snapshot_create_frozen: stories::create_frozen();
    snapshot_backup_over_on: stories::backup_over_snapshots(Power::On);
    snapshot_backup_over_off: stories::backup_over_snapshots(Power::Off);
    snapshot_backup_below_on: stories::backup_below_branches(Power::On);
    snapshot_backup_below_off: stories::backup_below_branches(Power::Off);
    snapshot_revert_above_delta: stories::revert_above_delta();
    snapshot_revert_below_delta: stories::revert_below_delta();
    snapshot_revert_beside_delta: stories::revert_beside_delta();
    snapshot_revert_and_sweep: stories::revert_and_sweep();
    snapshot_delete_first_on: stories::delete_in_line("s1", Power::On);
    snapshot_delete_first_off: stories::delete_in_line("s1", Power::Off);
    snapshot_delete_middle_on: stories::delete_in_line("s2", Power::On);
    snapshot_delete_middle_off: stories::delete_in_line("s2", Power::Off);
    snapshot_delete_last_on: stories::delete_in_line("s3", Power::On);
    snapshot_delete_last_off: stories::delete_in_line("s3", Power::Off);
    snapshot_delete_below_delta_on: stories::delete_below_delta(Power::On);
    snapshot_delete_below_delta_off: stories::delete_below_delta(Power::Off);
    snapshot_backup_after_delete_on: stories::backup_after_delete(Power::On);
    snapshot_backup_after_delete_off: stories::backup_after_delete(Power::Off);
    snapshot_delete_fork_on: stories::delete_in_branches("s1", Power::On);
    snapshot_delete_fork_off: stories::delete_in_branches("s1", Power::Off);
    snapshot_delete_unused_on: stories::delete_in_branches("s2", Power::On);
    snapshot_delete_unused_off: stories::delete_in_branches("s2", Power::Off);
    snapshot_delete_tip_on: stories::delete_in_branches("s3", Power::On);
    snapshot_delete_used_off: stories::delete_in_branches("s4", Power::Off);
    snapshot_delete_last_branch_on: stories::delete_last_branch(Power::On);
    snapshot_delete_last_branch_off: stories::delete_last_branch(Power::Off);
    snapshot_leave_on: stories::leave_with_snapshots(Power::On);
    snapshot_leave_off: stories::leave_with_snapshots(Power::Off);
}
