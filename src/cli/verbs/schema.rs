//! `knib schema`: what a policy may say, for editors and other programs.

use crate::cli::exit::Exit;
use crate::cli::failure::Result;
use crate::cli::session::Session;
use crate::policy;

pub(super) fn run(session: &Session) -> Result<Exit> {
    session.print(&text())?;
    Ok(Exit::Done)
}

pub(super) fn text() -> String {
    serde_json::to_string_pretty(&policy::schema()).expect("a schema is plain data") + "\n"
}
