//! `knib vm`: who is protected.

use crate::cli::exit::Exit;
use crate::cli::failure::Result;
use crate::cli::render::lists;
use crate::cli::session::Basis;
use crate::cli::session::Session;
use crate::cli::view::vm;
use crate::cli::view::vm::VmView;
use crate::planner;

/// VMs and who protects them
#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum Vm {
    /// List VMs with the policy each has
    List(List),
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct List {
    /// Only those that no policy has
    #[arg(long)]
    unprotected: bool,
}

pub(super) async fn run(session: &Session, args: &Vm) -> Result<Exit> {
    let Vm::List(args) = args;
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
    let seen = session.see(basis).await?;
    let options = session.options(basis)?;
    let policy = basis.policy.as_ref();
    let plan = policy.map(|policy| planner::reconcile(policy, &seen.world, &options));
    Ok(vm::all(&seen.world, plan.as_ref()))
}
