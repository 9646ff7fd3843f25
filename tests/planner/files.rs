//! Files out of backups: which offering is asked whether they may be taken.

use std::sync::Arc;

use knib::model::backup::OfferingCopy;
use knib::model::policy::Offering;
use knib::model::world::AppliedOffering;
use knib::planner::files;

use super::make;

/// What the plan says when the backup was made under `gold`, which allowed it as `kept` says, was last applied as
/// `applied` says and is in the policy as `wanted` says.
fn asked(kept: Option<bool>, applied: Option<bool>, wanted: Option<bool>) -> String {
    let offering = |allow_extract_file| Offering {
        allow_extract_file,
        ..Offering::default()
    };
    let mut guest = make::vm("db-01", &["vda"]);
    let id = make::backed_up(&mut guest, "2026-11-22T02:00:00Z", 1);
    let backup = guest.record.backups.get_mut(&id).expect("it is there");
    Arc::make_mut(backup).offering = kept.map(|kept| {
        Arc::new(OfferingCopy {
            name: "gold".to_owned(),
            spec: offering(kept),
        })
    });
    let vm = guest.vm.uuid.clone();
    let mut world = make::world("2026-11-23T12:00:00Z");
    make::add(&mut world, guest);
    if let Some(applied) = applied {
        let one = AppliedOffering {
            spec: offering(applied),
            removed: wanted.is_none(),
        };
        world.applied.offerings.insert("gold".to_owned(), one);
    }
    let mut policy = make::one_policy("schedules: { nightly: { cron: \"0 2 * * *\" } }");
    if let Some(wanted) = wanted {
        policy.offerings.insert("gold".to_owned(), offering(wanted));
    }
    make::lines(&files::plan(
        (&vm, &id),
        Some(&policy),
        &world,
        &make::options(),
    ))
}

#[test]
fn the_offering_counts_as_it_is_now_then_as_it_was_applied_then_as_it_was() {
    let (yes, no) = (Some(true), Some(false));
    let allowed = [
        ((yes, yes, no), false),
        ((no, no, yes), true),
        ((yes, no, None), false),
        ((no, yes, None), true),
        ((yes, None, None), true),
        ((no, None, None), false),
        ((None, None, yes), false),
    ];
    for ((kept, applied, wanted), allowed) in allowed {
        let said = asked(kept, applied, wanted);
        assert_eq!(!said.contains("!extract_forbidden"), allowed, "{said}");
        assert!(said.starts_with("files files.db-01/"), "{said}");
    }
}
