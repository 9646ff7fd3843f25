//! `knib vm`: who is protected, and by whom.

use crate::cli::at_once;
use crate::cli::at_once::Patience;
use crate::cli::basis::Basis;
use crate::cli::exit::Exit;
use crate::cli::failure::Result;
use crate::cli::find;
use crate::cli::render::lists;
use crate::cli::session::Session;
use crate::cli::stateless;
use crate::cli::view::vm;
use crate::cli::view::vm::VmView;
use crate::model::world::World;
use crate::planner;
use crate::planner::Options;
use crate::planner::request;

/// VMs and who protects them
#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum Vm {
    /// List VMs with the policy each has
    List(List),
    /// Write tags into a VM's definition, for policies that select by them
    Tag(Tag),
    /// Take over the backups of a VM that another host or state made
    Adopt(Adopt),
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct List {
    /// Only those that no policy has
    #[arg(long)]
    unprotected: bool,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Tag {
    /// Name or uuid
    #[arg(value_name = "VM")]
    vm: String,
    /// A tag and its value; without a value the tag goes
    #[arg(value_name = "K=V", required = true, value_parser = pair)]
    tags: Vec<(String, String)>,
    #[command(flatten)]
    patience: Patience,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Adopt {
    /// Name or uuid
    #[arg(value_name = "VM")]
    vm: String,
    #[command(flatten)]
    patience: Patience,
}

fn pair(text: &str) -> std::result::Result<(String, String), String> {
    match text.split_once('=') {
        Some((k, v)) if !k.is_empty() => Ok((k.to_owned(), v.to_owned())),
        _ => Err("a tag is K=V".to_owned()),
    }
}

pub(super) async fn run(session: &Session, args: Vm) -> Result<Exit> {
    match args {
        Vm::List(args) => list(session, &args).await,
        Vm::Tag(args) => tag(session, args).await,
        Vm::Adopt(args) => adopt(session, args).await,
    }
}

async fn tag(session: &Session, args: Tag) -> Result<Exit> {
    let json = session.global.format.is_json()?;
    let basis = session.basis_anyhow()?;
    let seen = session.see(&basis).await?;
    let vm = find::defined(&seen.world.guests, &args.vm)?.vm.clone();
    let draw_up = |world: &mut World, options: &Options| {
        let guest = world.guests.get(&vm.uuid);
        let before = guest.and_then(|guest| guest.machine.as_ref());
        let mut tags = before
            .map(|machine| machine.tags.clone())
            .unwrap_or_default();
        for (k, v) in &args.tags {
            tags.remove(k);
            if !v.is_empty() {
                tags.insert(k.clone(), v.clone());
            }
        }
        // Nothing is written where it is so already.
        world.guests.retain(|uuid, guest| {
            let is = guest.machine.as_ref().map(|machine| &machine.tags);
            *uuid == vm.uuid && is != Some(&tags)
        });
        request::tag(&vm.uuid, tags, world, options)
    };
    let told = ("vm tag", vm.name.as_str());
    let finished = at_once::carry_out(session, &basis, told, args.patience, draw_up).await?;
    finished.conclude(session, json, || format!("{} is tagged\n", vm.name))
}

async fn adopt(session: &Session, args: Adopt) -> Result<Exit> {
    let json = session.global.format.is_json()?;
    let basis = session.basis_anyhow()?;
    let seen = session.see(&basis).await?;
    let vm = find::defined(&seen.world.guests, &args.vm)?.vm.clone();
    let draw_up =
        |world: &mut World, options: &Options| planner::adopt::adopt(&vm.uuid, world, options);
    let told = ("vm adopt", vm.name.as_str());
    let finished = at_once::carry_out(session, &basis, told, args.patience, draw_up).await?;
    finished.conclude(session, json, || {
        let said = if finished.plan.actions.is_empty() {
            "are this state's already, or there are none"
        } else {
            "belong to this state now"
        };
        format!("the backups of {} {said}\n", vm.name)
    })
}

async fn list(session: &Session, args: &List) -> Result<Exit> {
    let json = session.global.format.is_json()?;
    let basis = session.basis_anyhow()?;
    let mut all = views(session, &basis).await?;
    all.retain(|vm| !args.unprotected || !vm.protected);
    let when = session.when(&basis);
    session.list(json, &all, || lists::vms(&all, &when, session.look()))?;
    Ok(Exit::Done)
}

/// Every VM, and what a plan made now would say of it.
pub(super) async fn views(session: &Session, basis: &Basis) -> Result<Vec<VmView>> {
    let seen = stateless::see(session, basis).await?;
    let options = basis.options()?;
    let policy = basis.policy.as_ref();
    let plan = policy.map(|policy| planner::reconcile(policy, &seen.world, &options));
    Ok(vm::all(&seen.world, plan.as_ref()))
}
