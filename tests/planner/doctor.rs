//! What is judged to be trouble, of what was seen.

use knib::model::bytes::Bytes;
use knib::model::equipment::Equipment;
use knib::model::finding::Severity;
use knib::model::machine::Agent;
use knib::model::machine::Power;
use knib::model::policy::Policy;
use knib::model::world::World;
use knib::planner::doctor;

use super::make;

fn fine() -> (World, Policy, Equipment) {
    let policy = make::one_policy("schedules: { nightly: { cron: \"0 2 * * *\" } }");
    let mut world = make::world("2026-11-22T12:00:00Z");
    let mut guest = make::vm("db-01", &["vda"]);
    make::backed_up(&mut guest, "2026-11-22T02:00:00Z", 1);
    let machine = guest.machine.as_mut().expect("it is here");
    machine.agent = Agent::Connected;
    machine.power = Power::Running;
    make::add(&mut world, guest);
    let world = make::applied(&policy, &world, "2026-11-22T13:00:00Z");
    let equipment = Equipment {
        qemu_img: Some(world.host.qemu.clone()),
        programs: [("guestfish", true), ("swtpm", true)].into(),
        ..Equipment::default()
    };
    (world, policy, equipment)
}

/// Codes of what must be looked at.
fn trouble(world: &World, policy: &Policy, equipment: &Equipment) -> Vec<String> {
    let plan = make::plan(policy, world);
    let all = doctor::judge(world, Some(policy), Some(&plan), equipment);
    let trouble = all.iter().filter(|one| one.severity > Severity::Note);
    for one in trouble.clone() {
        assert!(one.hint.is_some(), "nothing is said to do about {one:?}");
    }
    trouble.map(|one| one.code.clone()).collect()
}

#[test]
fn a_host_on_which_all_is_well_has_no_trouble() {
    let (world, policy, equipment) = fine();
    assert_eq!(trouble(&world, &policy, &equipment), [""; 0]);
    let all = doctor::judge(&world, Some(&policy), None, &equipment);
    assert_eq!(all[0].code, "versions");
}

#[test]
fn each_trouble_is_told_with_what_to_do() {
    let alone = |change: &dyn Fn(&mut World, &mut Policy, &mut Equipment)| {
        let (mut world, mut policy, mut equipment) = fine();
        change(&mut world, &mut policy, &mut equipment);
        trouble(&world, &policy, &equipment)
    };
    let qemu_img = alone(&|_, _, equipment| equipment.qemu_img = Some("5.2.0".to_owned()));
    assert_eq!(qemu_img, ["qemu_img_older"]);
    let files = alone(&|_, policy, equipment| {
        equipment.programs.insert("guestfish", false);
        let offerings = policy.offerings.values_mut();
        offerings.for_each(|offering| offering.allow_extract_file = true);
    });
    assert!(files.contains(&"no_guestfish".to_owned()), "{files:?}");
    let storage = alone(&|_, _, equipment| {
        let why = "permission denied".to_owned();
        equipment.unreadable.insert("nas".to_owned(), why);
    });
    assert_eq!(storage, ["storage_unreadable"]);
    let tpm = alone(&|world, _, equipment| {
        equipment.programs.insert("swtpm", false);
        let guest = world.guests.values_mut().next().expect("one VM");
        let machine = guest.machine.as_mut().expect("it is here");
        machine.firmware.tpm = Some("/var/lib/libvirt/swtpm/x".into());
    });
    assert_eq!(tpm, ["no_swtpm"]);
    let full = alone(&|world, _, _| {
        let seen = world.storages.values_mut().next().expect("one storage");
        seen.space.as_mut().expect("it was seen").free = Bytes(1);
    });
    assert_eq!(full, ["storage_full"]);
    let agent = alone(&|world, policy, _| {
        let guest = world.guests.values_mut().next().expect("one VM");
        guest.machine.as_mut().expect("it is here").agent = Agent::Silent;
        let policies = policy.policies.values_mut();
        let schedules = policies.flat_map(|policy| policy.schedules.values_mut());
        schedules.for_each(|schedule| schedule.quiesce = knib::model::policy::Quiesce::Required);
    });
    assert!(agent.contains(&"no_agent".to_owned()), "{agent:?}");
}

#[test]
fn denials_are_expected_where_something_confines_qemu() {
    let (mut world, policy, mut equipment) = fine();
    equipment.confined_by = vec![
        "apparmor".to_owned(),
        "selinux".to_owned(),
        "dac".to_owned(),
    ];
    let told = |world: &World| {
        let all = doctor::judge(world, Some(&policy), None, &equipment);
        let texts = all.iter().map(|one| one.text.as_str()).collect::<Vec<_>>();
        texts.join("\n")
    };
    world.host.libvirt = "11.3.0".to_owned();
    let before = told(&world);
    assert!(
        before.contains("a merge while a VM runs may fail"),
        "{before}"
    );
    assert!(before.contains("SELinux"), "{before}");
    world.host.libvirt = "12.1.0".to_owned();
    assert!(!told(&world).contains("may fail"));
}
