//! `knib snapshot`: disk-only snapshots that live with backups.

use crate::cli::at_once;
use crate::cli::at_once::Patience;
use crate::cli::basis::Recalled;
use crate::cli::exit::Exit;
use crate::cli::failure::Result;
use crate::cli::find;
use crate::cli::render::lists;
use crate::cli::session::Session;
use crate::cli::view::snapshot;
use crate::cli::work;
use crate::cli::work::Finished;
use crate::model::backup::VmRef;
use crate::model::id::Target;
use crate::model::op::Op;
use crate::model::plan::Action;
use crate::model::plan::Outcome;
use crate::model::world::World;
use crate::planner::Options;
use crate::planner::snapshots;
use crate::planner::snapshots::Asked;

/// So many characters a name may have.
const LONGEST: usize = 100;

/// Keep, list and go back to states of a VM's disks
#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum Snapshot {
    /// Keep all disks of a VM as they are now
    Create(Create),
    /// List the snapshots of a VM as a tree
    List(List),
    /// Let a stopped VM go on from a snapshot; what was written since its newest one is dropped
    Revert(Named),
    /// Let go of a snapshot
    Delete(Named),
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Create {
    /// Name or uuid
    #[arg(value_name = "VM")]
    vm: String,
    /// What to call it [default: the time]
    #[arg(value_name = "NAME", value_parser = name)]
    name: Option<String>,
    #[command(flatten)]
    patience: Patience,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct List {
    /// Name or uuid
    #[arg(value_name = "VM")]
    vm: String,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Named {
    /// Name or uuid
    #[arg(value_name = "VM")]
    vm: String,
    /// The snapshot
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    patience: Patience,
}

/// A name that can be said in a line.
fn name(text: &str) -> std::result::Result<String, String> {
    if text.trim() != text || text.is_empty() {
        Err("a name begins and ends with something else than a blank".to_owned())
    } else if text.chars().any(char::is_control) {
        Err("a name is one line of plain text".to_owned())
    } else if text.chars().count() > LONGEST {
        Err(format!("a name has {LONGEST} characters at most"))
    } else {
        Ok(text.to_owned())
    }
}

pub(super) async fn run(session: &Session, args: Snapshot) -> Result<Exit> {
    match args {
        Snapshot::Create(args) => {
            let asked = Asked::Create(args.name);
            work(session, &args.vm, &asked, args.patience, "snapshot create").await
        }
        Snapshot::List(args) => list(session, &args).await,
        Snapshot::Revert(args) => {
            let asked = Asked::Revert(args.name);
            work(session, &args.vm, &asked, args.patience, "snapshot revert").await
        }
        Snapshot::Delete(args) => {
            let asked = Asked::Delete(args.name);
            work(session, &args.vm, &asked, args.patience, "snapshot delete").await
        }
    }
}

async fn list(session: &Session, args: &List) -> Result<Exit> {
    let json = session.global.format.is_json()?;
    let basis = session.basis_anyhow()?;
    let seen = session.see(&basis).await?;
    let guest = find::vm(&seen.world.guests, &args.vm)?;
    let all = snapshot::of_guest(guest);
    let when = session.when(&basis);
    session.list(json, &all, || lists::snapshots(&all, &when, session.look()))?;
    Ok(Exit::Done)
}

async fn work(
    session: &Session,
    vm: &str,
    asked: &Asked,
    patience: Patience,
    command: &'static str,
) -> Result<Exit> {
    let json = session.global.format.is_json()?;
    let basis = session.basis_anyhow()?;
    let seen = session.see(&basis).await?;
    let guest = find::defined(&seen.world.guests, vm)?;
    let (vm, known) = (guest.vm.clone(), guest.snapshots());
    // One that an interrupted run was about to make or to take away is known once that is carried on.
    if let Asked::Revert(name) | Asked::Delete(name) = asked
        && guest.open.is_empty()
        && known.all.get(name).is_none_or(|one| one.removed)
    {
        let there = known.all.iter().filter(|(_, one)| !one.removed);
        let names: Vec<_> = there.map(|(name, _)| name.as_str()).collect();
        return Err(find::unknown("snapshot", name, &names));
    }
    let policy = basis.policy.as_ref();
    let draw_up = |world: &mut World, options: &Options| {
        let others = world.guests.iter_mut();
        others
            .filter(|(other, _)| **other != vm.uuid)
            .for_each(|(_, other)| other.open.clear());
        snapshots::plan(asked, &vm.uuid, policy, world, options)
    };
    let told = (command, vm.name.as_str());
    let finished = at_once::carry_out(session, &basis, told, patience, draw_up).await?;
    work::print(session, json, &finished.plan, || {
        done(&finished, &vm).unwrap_or_else(|| finished.report(session))
    })?;
    Ok(finished.exit())
}

/// What was done, in a line.
fn done(finished: &Finished, vm: &VmRef) -> Option<String> {
    let all = &finished.plan.actions;
    let done = |action: &Action| action.result == Some(Outcome::Done);
    let last = all.last().filter(|_| all.iter().all(done))?;
    let name = &vm.name;
    Some(match &last.op {
        Op::SnapshotCreate(op) => {
            let disks: Vec<_> = op.disks.iter().map(Target::as_str).collect();
            format!("{} keeps {} of {name}\n", op.name, disks.join(", "))
        }
        Op::SnapshotRevert(op) => format!(
            "{name} goes on from {}; it is stopped: virsh start {name}\n",
            op.name
        ),
        Op::SnapshotDelete(op) => {
            let recalled = Recalled::of(finished.state.as_ref()?).ok()?;
            let record = &recalled.guests.get(&vm.uuid)?.record;
            if record.snapshots.all.contains_key(&op.name) {
                format!(
                    "{} of {name} is deleted; its files stay until one branch goes on from them\n",
                    op.name
                )
            } else {
                format!("{} of {name} is deleted\n", op.name)
            }
        }
        _ => return None,
    })
}
