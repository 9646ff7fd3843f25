//! `knib apply --abandon`: the way out where an interrupted action can neither be done nor taken back. It touches
//! nothing outside of the state.

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::failure::Result;
use crate::cli::session::Session;
use crate::cli::verbs::apply;
use crate::cli::verbs::apply::Apply;
use crate::cli::work::Work;
use crate::model::id::ActionId;
use crate::planner::request;

pub(super) async fn run(session: &Session, args: &Apply, action: &str) -> Result<Exit> {
    let json = session.global.format.is_json()?;
    let basis = session.basis_anyhow()?;
    let seen = session.see(&basis).await?;
    let action = ActionId::new(action);
    let plan = request::abandon(&action, &seen.world, &basis.options()?);
    let Some(first) = plan.actions.first() else {
        let text = format!("no interrupted action is called {action}");
        return Err(Failure::new("unknown_action", text)
            .hint("knib plan names those that failed, knib log --failed all of them"));
    };
    let (name, free) = (first.address.clone(), first.is_free());
    apply::show(session, json, args, &plan)?;
    if free && args.auto_approve && args.consent.allow_destructive != Some(1) {
        let text = "nothing is abandoned unless somebody says so";
        return Err(Failure::new("destructive", text)
            .hint("nothing was changed; --allow-destructive 1 abandons it without a question")
            .exit(Exit::Blocked));
    }
    if free && !args.auto_approve && !apply::agreed(session, &plan)? {
        session.note("nothing was changed");
        return Ok(Exit::Error);
    }
    let work = Work::new("apply");
    let finished = work.carry_out(session, &basis, &seen, plan).await?;
    finished.conclude(session, json, || {
        format!("\n{name}: done. knib state check lists what nothing refers to now.\n")
    })
}
