//! The rules that every plan keeps.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use knib::cli::render::Look;
use knib::cli::render::plan;
use knib::cli::render::plan::Detail;
use knib::model::id::ActionId;
use knib::model::id::Target;
use knib::model::layout;
use knib::model::op::Op;
use knib::model::plan::Action;
use knib::model::plan::Class;
use knib::model::plan::Plan;
use knib::model::program::Program;
use knib::model::reason::Reason;
use knib::model::step::Step;
use knib::model::world::World;

/// Everything that a plan on this world does that no plan may.
pub(super) fn broken(plan: &Plan, world: &World) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut before: BTreeSet<&ActionId> = BTreeSet::new();
    let mut made: BTreeSet<Utf8PathBuf> = BTreeSet::new();
    for action in &plan.actions {
        let mut say = |text: &str| wrong.push(format!("{}: {text}", action.address));
        if !action.depends_on.iter().all(|id| before.contains(id)) {
            say("depends on an action that comes later or never");
        }
        if !before.insert(&action.id) {
            say("has the id of another action");
        }
        if !names_one_of(action, world) {
            say("names a VM that is not there");
        }
        if action.class == Class::Destructive && action.is_free() && action.reason != Reason::Asked
        {
            say("is destructive, and nobody allowed it");
        }
        match (&action.program, action.is_free()) {
            (Some(_), false) => say("is not done and has a program"),
            (None, true) => say("is done and has no program"),
            _ => {}
        }
        let own = action.program.iter().flat_map(Program::steps);
        for text in own.filter_map(|(_, _, step)| astray(step, action)) {
            say(&text);
        }
        if let (Op::Backup(_), Some(program)) = (&action.op, &action.program) {
            for text in backup(action, program, world, &mut made) {
                say(&text);
            }
        }
    }
    wrong.extend(told(plan));
    wrong
}

fn names_one_of(action: &Action, world: &World) -> bool {
    let guest = action.op.guest();
    guest.is_none_or(|vm| {
        let found = world.guests.get(&vm.uuid);
        found.is_some_and(|guest| guest.vm == *vm)
            || matches!(action.op, Op::Recover(_)) && found.is_some()
    })
}

/// A step that reaches for what is not its action's.
fn astray(step: &Step, action: &Action) -> Option<String> {
    let of = action.vm.as_ref().map(|vm| &vm.uuid);
    if step.vm().is_some() && step.vm() != of {
        return Some(format!("a step is about another VM: {}", step.synopsis()));
    }
    match step {
        // Guest writes may be in it, whoever made it, unless its name says that knib did.
        Step::Merge { top, base, .. } => {
            let ours = layout::delta_of(&top.path).is_some() && top.path != base.path;
            (!ours).then(|| format!("it merges what is not knib's: {}", step.synopsis()))
        }
        Step::Discard { .. } | Step::Undefine { .. } | Step::Unname { .. } => {
            Some(format!("it plans to take away: {}", step.synopsis()))
        }
        _ => None,
    }
}

/// The order and the places of a backup's steps.
fn backup(
    action: &Action,
    program: &Program,
    world: &World,
    made: &mut BTreeSet<Utf8PathBuf>,
) -> Vec<String> {
    let Op::Backup(op) = &action.op else {
        return Vec::new();
    };
    let guest = world.guests.get(&op.vm.uuid);
    let mut wrong = Vec::new();
    let mut last: BTreeMap<&str, usize> = BTreeMap::new();
    let mut first: BTreeMap<&str, usize> = BTreeMap::new();
    let mut copied: BTreeSet<&Target> = BTreeSet::new();
    let mut covered: BTreeMap<&Target, &Utf8Path> = BTreeMap::new();
    for (stage, _, step) in program.steps() {
        let kind = match step {
            Step::Overlay { disks, .. } => {
                for (target, at) in disks {
                    covered.insert(target, &at.path);
                    if layout::delta_of(&at.path).as_ref() != Some(&op.id) {
                        wrong.push(format!("an overlay is not its own: {}", at.path));
                    }
                    let machine = guest.and_then(|guest| guest.machine.as_ref());
                    let disk = machine.and_then(|machine| machine.disk(target));
                    let layers = disk.into_iter().flat_map(|disk| &disk.layers);
                    let mut dirs = layers.map(|layer| layer.path.parent());
                    if dirs.all(|dir| dir != at.path.parent()) {
                        wrong.push(format!("an overlay is not beside its disk: {}", at.path));
                    }
                    if !made.insert(at.path.clone()) {
                        wrong.push(format!("a file is made twice: {}", at.path));
                    }
                }
                "overlay"
            }
            Step::Copy { target, to, .. } => {
                copied.insert(target);
                let stage = layout::stage_dir(&op.storage.path, &op.vm.uuid, &op.id);
                if !to.starts_with(&stage) {
                    wrong.push(format!("a copy is not staged: {to}"));
                }
                "copy"
            }
            Step::Publish { .. } => "publish",
            Step::Merge { top, target, .. } => {
                // What stands outside of the chain leaves the chain as it was.
                let own = covered.get(target) == Some(&top.path.as_path());
                if op.link.is_none() && !own {
                    wrong.push(format!("an isolated backup merges {}", top.path));
                }
                "merge"
            }
            Step::Note { note, .. } => {
                let current = note.as_ref().and_then(|note| note.current.as_ref());
                if op.link.is_none() && current == Some(&op.id) {
                    wrong.push("an isolated backup becomes current".to_owned());
                }
                "note"
            }
            _ => continue,
        };
        last.insert(kind, stage);
        first.entry(kind).or_insert(stage);
    }
    for (early, late) in [
        ("overlay", "copy"),
        ("copy", "publish"),
        ("publish", "merge"),
    ] {
        if let (Some(early_last), Some(late_first)) = (last.get(early), first.get(late))
            && early_last >= late_first
        {
            wrong.push(format!("a {late} comes before the last {early}"));
        }
    }
    if program.no_return != first.get("publish").copied().unwrap_or_default() {
        wrong.push("it can turn back after it was published, or not before".to_owned());
    }
    let asked: BTreeSet<_> = op.disks.keys().collect();
    if copied != asked || covered.keys().copied().collect::<BTreeSet<_>>() != asked {
        wrong.push("its disks are not those that it copies".to_owned());
    }
    wrong
}

/// Whatever is in a plan can be drawn, saved and read back.
fn told(plan: &Plan) -> Vec<String> {
    let mut wrong = Vec::new();
    let text = serde_json::to_string(plan).expect("a plan is JSON");
    match serde_json::from_str::<Plan>(&text) {
        Ok(read) if read == *plan => {}
        Ok(_) => wrong.push("the plan reads back as another one".to_owned()),
        Err(error) => wrong.push(format!("the plan does not read back: {error}")),
    }
    for detail in [Detail::Brief, Detail::Normal, Detail::Steps] {
        let drawn = plan::human(plan, detail, Look::PLAIN);
        if drawn.is_empty() {
            wrong.push("nothing is drawn".to_owned());
        }
    }
    if plan::markdown(plan).is_empty() {
        wrong.push("no markdown is drawn".to_owned());
    }
    wrong
}

/// A world can be saved and replayed.
pub(super) fn replayed(world: &World) -> Vec<String> {
    let text = serde_json::to_string(world).expect("a world is JSON");
    match serde_json::from_str::<World>(&text) {
        Ok(read) if read == *world => Vec::new(),
        Ok(_) => vec!["the world reads back as another one".to_owned()],
        Err(error) => vec![format!("the world does not read back: {error}")],
    }
}
