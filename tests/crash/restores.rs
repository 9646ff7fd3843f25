//! The scenarios of restores: anew, in place, one disk, a VM that is gone; written before, or run from at once.

use knib::model::id::BackupId;
use knib::model::id::VmId;
use knib::model::machine::Format;
use knib::model::op::Stopping;
use knib::model::seconds::Seconds;
use knib::planner::restore::How;
use knib::planner::restore::InPlace;
use knib::planner::restore::NewVm;
use knib::planner::restore::OneDisk;

use crate::crash::bench::From;
use crate::crash::scenario::Ask;
use crate::crash::scenario::DB;
use crate::crash::scenario::Scenario;
use crate::crash::scenario::Story;
use crate::crash::scenario::TEMPLATE;
use crate::crash::scenario::quickly;
use crate::crash::scenario::target;
use crate::crash::stories::Power;
use crate::crash::stories::backed_up;
use crate::crash::stories::due;
use crate::sim::PRIMARY;

/// A new VM from the newest of two backups.
pub(crate) fn restore(format: &Format) -> Scenario {
    let story = backed_up().apply("2026-11-23T02:30:00Z");
    let ask = Ask::Restore(NewVm {
        from: VmId::new(DB),
        backup: story.latest(),
        name: "copy".to_owned(),
        dir: None,
        format: format.clone(),
        keep_mac: false,
        network: None,
        start: false,
        how: How::default(),
    });
    story.asks(format!("restore, {format}"), ask, 0)
}

/// The same, run from at once.
pub(crate) fn quick() -> Scenario {
    let story = quick_allowed().apply("2026-11-23T02:30:00Z");
    let ask = Ask::Restore(NewVm {
        from: VmId::new(DB),
        backup: story.latest(),
        name: "copy".to_owned(),
        dir: None,
        format: Format::Qcow2,
        keep_mac: false,
        network: None,
        start: false,
        how: QUICK,
    });
    story.asks("quick", ask, 0)
}

const QUICK: How = How {
    verify: false,
    quick: true,
    removed: false,
};

fn quick_allowed() -> Story {
    Story::new(&quickly())
        .time_passes()
        .apply("2026-11-22T12:00:01Z")
}

/// The newest backup in place, run from at once.
pub(crate) fn quick_in_place(power: Power) -> Scenario {
    let story = quick_allowed().apply("2026-11-23T02:30:00Z");
    let Ask::InPlace(asked) = back_to(&story.latest(), false) else {
        unreachable!("it is one");
    };
    let ask = Ask::InPlace(InPlace {
        how: QUICK,
        ..asked
    });
    let story = power.set(story.time_passes());
    story.asks(format!("quick in place, {power:?}"), ask, 0)
}

/// The same of a VM that cannot be started.
pub(crate) fn quick_in_place_unstartable() -> Scenario {
    let mut scenario = quick_in_place(Power::Off);
    unstartable(&mut scenario);
    scenario
}

/// It wants to be in a network that is not here.
fn unstartable(scenario: &mut Scenario) {
    scenario.name += ", cannot start";
    let vm = scenario.kept.site.vms.get_mut(&VmId::new(DB));
    let stored = &mut vm.expect("it is there").stored;
    stored.networks.push("nowhere".to_owned());
}

/// The disks of one of two backups, in place.
pub(crate) fn in_place(newest: bool, power: Power, discard: bool) -> Scenario {
    let story = backed_up().apply("2026-11-23T02:30:00Z");
    let all = story.backups();
    let backup = if newest { &all[1] } else { &all[0] };
    let ask = back_to(backup, discard);
    let story = power.set(story.time_passes());
    story.asks(format!("in place, {newest} {power:?} {discard}"), ask, 0)
}

/// What a restore replaced goes with the next good backup.
pub(crate) fn replaced(power: Power) -> Scenario {
    let story = backed_up().stop();
    let ask = back_to(&story.latest(), false);
    let story = story
        .does("2026-11-22T13:00:00Z", &ask)
        .start()
        .time_passes();
    let story = power.set(due(story));
    story.asks(format!("replaced, {power:?}"), Ask::Apply, 1)
}

/// A disk of a backup comes to its own VM.
pub(crate) fn one_disk(power: Power) -> Scenario {
    let verified = How {
        verify: true,
        ..How::default()
    };
    disk_comes(backed_up(), power, verified)
}

/// The same over the backup itself, at once.
pub(crate) fn quick_disk(power: Power) -> Scenario {
    disk_comes(quick_allowed(), power, QUICK)
}

/// To a VM that cannot be started.
pub(crate) fn quick_disk_unstartable() -> Scenario {
    let mut scenario = quick_disk(Power::Off);
    unstartable(&mut scenario);
    scenario
}

fn disk_comes(story: Story, power: Power, how: How) -> Scenario {
    let story = power.set(story);
    let ask = Ask::OneDisk(OneDisk {
        from: VmId::new(DB),
        backup: story.latest(),
        disk: target("vda"),
        to: VmId::new(DB),
        target: None,
        dir: None,
        format: Format::Qcow2,
        how,
    });
    let quick = if how.quick { ", quick" } else { "" };
    story.asks(format!("one disk{quick}, {power:?}"), ask, 0)
}

/// A VM that is gone, with its disks, is defined again as it was.
pub(crate) fn again(quick: bool) -> Scenario {
    let name = if quick { "again, quick" } else { "again" };
    is_back(name, quick, From::Record)
}

/// The same from the storage alone: the state is gone as well.
pub(crate) fn again_from(quick: bool) -> Scenario {
    let name = if quick {
        "again from, quick"
    } else {
        "again from"
    };
    is_back(name, quick, From::StorageAlone)
}

/// The disks of a backup in place, of a storage that is named.
pub(crate) fn in_place_from(quick: bool) -> Scenario {
    let mut scenario = if quick {
        quick_in_place(Power::Off)
    } else {
        in_place(true, Power::Off, false)
    };
    scenario.name += ", from";
    scenario.kept.read_from(From::Storage);
    scenario
}

fn is_back(name: &str, quick: bool, from: From) -> Scenario {
    let (story, how) = if quick {
        (quick_allowed(), QUICK)
    } else {
        (backed_up(), How::default())
    };
    let story = story.read_from(from).stop().site(|site| {
        site.vms.remove(&VmId::new(DB));
        let files = site.files.below(PRIMARY.into()).into_iter();
        let gone: Vec<_> = files
            .filter(|path| ![PRIMARY, TEMPLATE].contains(&path.as_str()))
            .collect();
        for path in &gone {
            site.remove(path);
        }
    });
    let backup = story.latest();
    let asked = InPlace {
        backups: vec![(VmId::new(DB), backup.clone())],
        stop: None,
        discard: false,
        dir: None,
        how,
    };
    let ground = Box::new(story.ground(&backup));
    story.asks(name, Ask::Again(asked, ground), 0)
}

fn back_to(backup: &BackupId, discard: bool) -> Ask {
    Ask::InPlace(InPlace {
        backups: vec![(VmId::new(DB), backup.clone())],
        stop: Some(Stopping {
            ask: Some(Seconds(2)),
            pull: true,
        }),
        discard,
        dir: None,
        how: How::default(),
    })
}
