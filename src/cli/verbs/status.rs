//! `knib status`: how each VM stands.

use jiff::SignedDuration;

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::failure::Result;
use crate::cli::render::lists;
use crate::cli::render::text;
use crate::cli::session::Session;
use crate::cli::times;
use crate::cli::verbs::vm::views;
use crate::cli::view::vm::VmView;
use crate::model::seconds::Seconds;

/// Show how each VM stands: last good backup, next slot, chain, delta, problems
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Status {
    /// Exit 3 when a VM that a policy has lacks a good backup younger than this
    #[arg(long, value_name = "D", value_parser = times::length)]
    max_age: Option<Seconds>,
}

pub(super) async fn run(session: &Session, args: &Status) -> Result<Exit> {
    let json = session.global.format.is_json()?;
    let basis = session.basis_anyhow()?;
    let all = views(session, &basis).await?;
    if json {
        session.print_json(&all)?;
    } else {
        let when = session.when(&basis);
        session.print(&lists::status(&all, &when, session.look()))?;
    }
    let Some(max) = args.max_age else {
        return Ok(Exit::Done);
    };
    let oldest = session.now
        - SignedDuration::from_secs(
            i64::try_from(max.0).expect("lengths are of a century at most"),
        );
    let young = |vm: &VmView| {
        vm.last_good
            .as_ref()
            .is_some_and(|good| good.created >= oldest)
    };
    let late: Vec<_> = all
        .iter()
        .filter(|vm| vm.protected && !young(vm))
        .map(|vm| vm.name.as_str())
        .collect();
    if late.is_empty() {
        return Ok(Exit::Done);
    }
    let verb = if late.len() == 1 { "has" } else { "have" };
    let text = format!(
        "{} {verb} no good backup younger than {max}: {}",
        text::count(late.len(), "VM"),
        late.join(", ")
    );
    Err(Failure::new("max_age", text).exit(Exit::Blocked))
}
