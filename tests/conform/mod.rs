//! The same scenarios on the simulated host and on the real one, call by call, and what can be observed after each: the
//! two must tell the same story, or crash schedules prove something about another world.

mod failures;
mod ground;
mod images;
mod real;
mod restores;
mod running;
mod simulated;
mod trace;
mod vms;

use crate::conform::real::Real;
use crate::conform::simulated::Simulated;
use crate::conform::trace::Trace;

/// Tells a scenario on both hosts and compares the stories. A story is no shorter than that many lines.
macro_rules! scenarios {
    ($($name:ident: $module:ident, $least:literal;)*) => {$(
        #[tokio::test]
        async fn $name() {
            let real = Trace::of(Real::new().await, async |trace| $module::$name(trace).await).await;
            let simulated = Trace::of(Simulated::new(), async |trace| $module::$name(trace).await).await;
            assert!(real.lines().count() >= $least, "nothing was tried:\n{real}");
            let lines = similar::TextDiff::from_lines(&real, &simulated);
            let differ = lines.unified_diff().context_radius(8).header("real", "simulated").to_string();
            assert!(real == simulated, "{differ}");
        }
    )*};
}

scenarios! {
    overlays_of_a_running_vm: running, 60;
    overlays_of_a_stopped_vm: vms, 60;
    a_commit_of_a_middle_layer: running, 60;
    a_commit_of_the_active_layer: running, 60;
    a_commit_that_is_given_up: running, 40;
    a_vm_that_goes_off_in_a_commit: running, 40;
    a_pull_of_everything_below: running, 40;
    a_commit_of_a_stopped_vm: vms, 60;
    a_commit_of_sizes_that_differ: vms, 40;
    copies_of_a_running_vm: images, 20;
    copies_of_a_stopped_vm: images, 20;
    a_vm_defined_from_another: vms, 20;
    a_definition_that_is_behind: vms, 20;
    disks_that_come_and_go: vms, 40;
    what_a_definition_wants: restores, 20;
    what_qemu_may_read: restores, 12;
    a_disk_over_files_that_its_definition_names: restores, 60;
    overlays_that_cannot_be_made: failures, 40;
    commits_that_cannot_be_made: failures, 30;
    images_in_use: failures, 20;
    files_that_are_gone: failures, 20;
    a_vm_that_is_gone: failures, 10;
}
