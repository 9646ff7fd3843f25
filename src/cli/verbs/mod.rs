//! The verbs, one file each: its arguments, and what it does with them.

mod abandon;
pub(super) mod apply;
pub(super) mod backup;
pub(super) mod chain;
pub(super) mod completions;
mod delete;
pub(super) mod doctor;
pub(super) mod explain;
pub(super) mod files;
pub(super) mod forecast;
pub(super) mod init;
pub(super) mod job;
pub(super) mod lint;
pub(super) mod log;
mod man;
pub(super) mod offering;
mod pin;
pub(super) mod plan;
mod rebuild;
pub(super) mod restore;
mod schema;
pub(super) mod show;
pub(super) mod snapshot;
pub(super) mod state;
pub(super) mod status;
pub(super) mod storage;
pub(super) mod validate;
mod verify;
pub(super) mod vm;

use crate::cli::args::Command;
use crate::cli::exit::Exit;
use crate::cli::failure::Result;
use crate::cli::session::Session;

/// Does one.
pub(super) async fn run(session: &Session, command: Command) -> Result<Exit> {
    match command {
        Command::Init(args) => init::run(session, &args),
        Command::Lint(args) => lint::run(session, &args),
        Command::Schema => schema::run(session),
        Command::Plan(args) => plan::run(session, args).await,
        Command::Apply(args) => apply::run(session, args).await,
        Command::Show(args) => show::run(session, &args),
        Command::Forecast(args) => forecast::run(session, args).await,
        Command::Explain(args) => explain::run(session, args).await,
        Command::Doctor => doctor::run(session).await,
        Command::State(args) => state::run(session, args).await,
        Command::Status(args) => status::run(session, &args).await,
        Command::Log(args) => log::run(session, &args),
        Command::Offering(args) => offering::run(session, &args),
        Command::Storage(args) => storage::run(session, &args).await,
        Command::Vm(args) => vm::run(session, args).await,
        Command::Backup(args) => backup::run(session, args).await,
        Command::Chain(args) => chain::run(session, args).await,
        Command::Job(args) => job::run(session, args).await,
        Command::Snapshot(args) => snapshot::run(session, args).await,
        Command::Restore(args) => restore::run(session, args).await,
        Command::Files(args) => files::run(session, args).await,
        Command::Completions(args) => completions::run(session, &args),
        Command::Man => man::run(session),
    }
}
