//! `knib explain`: why a VM has its policy, where a value comes from, what keeps a backup.

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::failure::Result;
use crate::cli::find;
use crate::cli::render::explain as render;
use crate::cli::session::Session;
use crate::cli::view::explain;
use crate::planner;

/// Say why: the policy of a VM, where its values come from, what keeps a backup
#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum Explain {
    /// Which policy a VM has and why, its values with their origins, its next slots
    Vm(Named),
    /// Why a backup stays or goes, what its files need and who needs them
    Backup(Backup),
    /// The values of a policy with their origins, and the VMs it selects
    Policy(Named),
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Named {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Backup {
    /// Id, a unique beginning of it, VM@latest or VM@TIME
    #[arg(value_name = "B")]
    backup: String,
}

pub(super) async fn run(session: &Session, args: Explain) -> Result<Exit> {
    match args {
        Explain::Vm(args) => vm(session, &args).await,
        Explain::Backup(args) => backup(session, &args),
        Explain::Policy(args) => policy(session, &args).await,
    }
}

async fn vm(session: &Session, args: &Named) -> Result<Exit> {
    let json = session.global.format.is_json()?;
    let basis = session.basis_anyhow()?;
    let policy = basis.policy.as_ref().ok_or_else(no_policy)?;
    let seen = session.see(&basis).await?;
    let guest = find::vm(&seen.world.guests, &args.name)?;
    let plan = planner::reconcile(policy, &seen.world, &basis.options()?);
    let view = explain::vm(policy, guest, &plan.upcoming, seen.world.now);
    if json {
        session.print_json(&view)?;
    } else {
        session.print(&render::vm(&view, &session.when(&basis), session.look()))?;
    }
    Ok(Exit::Done)
}

async fn policy(session: &Session, args: &Named) -> Result<Exit> {
    let json = session.global.format.is_json()?;
    let basis = session.basis_anyhow()?;
    let policy = basis.policy.as_ref().ok_or_else(no_policy)?;
    let Some(spec) = policy.policies.get(&args.name) else {
        let names: Vec<_> = policy.policies.keys().map(String::as_str).collect();
        return Err(find::unknown("policy", &args.name, &names));
    };
    let seen = session.see(&basis).await?;
    let view = explain::policy(policy, &args.name, spec, &seen.world);
    if json {
        session.print_json(&view)?;
    } else {
        session.print(&render::policy(&view, session.look()))?;
    }
    Ok(Exit::Done)
}

fn backup(session: &Session, args: &Backup) -> Result<Exit> {
    let json = session.global.format.is_json()?;
    let basis = session.basis_anyhow()?;
    let recalled = basis.recall()?;
    let (guest, found) = session.choose(&recalled.guests, &args.backup, &basis)?;
    let view = explain::backup(guest, found, session.now);
    if json {
        session.print_json(&view)?;
    } else {
        session.print(&render::backup(
            &view,
            &session.when(&basis),
            session.look(),
        ))?;
    }
    Ok(Exit::Done)
}

fn no_policy() -> Failure {
    Failure::new("no_policy", "there is no policy to explain")
        .hint("knib init writes one to start from; -f names another place")
}
