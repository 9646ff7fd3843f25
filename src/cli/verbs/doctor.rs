//! `knib doctor`: what will be trouble on this host, and what to do about it.

use std::collections::BTreeSet;

use crate::cli::exit::Exit;
use crate::cli::failure::Result;
use crate::cli::render::said::said;
use crate::cli::session::Session;
use crate::engine;
use crate::model::finding::Severity;
use crate::planner;
use crate::planner::doctor;

pub(super) async fn run(session: &Session) -> Result<Exit> {
    let json = session.global.format.is_json()?;
    let basis = session.basis_anyhow()?;
    let seen = session.see(&basis).await?;
    let mut equipment = seen.host.equipment().await?;
    engine::reach(&seen.host, &seen.world, &mut equipment).await;
    let policy = basis.policy.as_ref();
    let options = basis.options()?;
    let plan = policy.map(|policy| planner::reconcile(policy, &seen.world, &options));
    let all = doctor::judge(&seen.world, policy, plan.as_ref(), &equipment);
    let look = session.look();
    session.list(json, &all, || {
        let mut drawn: String = all.iter().map(|finding| said(finding, look)).collect();
        let trouble = all.iter().filter(|one| one.severity > Severity::Note);
        let codes: BTreeSet<_> = trouble.map(|one| &one.code).collect();
        drawn += match codes.len() {
            0 => "Nothing needs to be done.\n",
            _ => "Something needs to be done: see above.\n",
        };
        drawn
    })?;
    let wrong = all.iter().any(|one| one.severity > Severity::Note);
    Ok(if wrong { Exit::Blocked } else { Exit::Done })
}
