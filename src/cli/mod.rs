//! The command line: what was typed, what is drawn, and the exit code.
//!
//! ```text
//! args      what can be typed          verbs     one file a verb
//! session   one command: io, policy    work      carries a plan out, with progress and signals
//! basis     policy, state, record      stateless a journal where there is no state
//! find      VMs and backups by name    saved     plans in files
//! view      values for JSON            render    values to text
//! ```
//! Nothing is decided here that a plan has not decided.

mod args;
mod at_once;
mod basis;
mod clock;
mod exit;
mod failure;
mod files;
mod find;
mod io;
mod log;
mod progress;
pub mod render;
pub mod saved;
mod session;
mod signals;
mod sources;
mod stateless;
mod times;
mod verbs;
pub mod view;
mod work;

use std::ffi::OsString;
use std::time::Duration;

use clap::CommandFactory;
use clap::FromArgMatches;
use tokio::task::LocalSet;

use crate::cli::args::Cli;
use crate::cli::args::Command;
pub use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::failure::Result;
pub use crate::cli::io::Io;
use crate::cli::session::Session;

/// How long calls that hang may keep a command from ending.
const LONGEST_END: Duration = Duration::from_secs(1);

/// Does what was typed.
#[must_use]
pub fn run(args: impl IntoIterator<Item = OsString>, io: &Io) -> Exit {
    let typed = Cli::command()
        .try_get_matches_from(args)
        .and_then(|matches| Cli::from_arg_matches(&matches));
    let Cli { global, command } = match typed {
        Ok(typed) => typed,
        Err(answer) => {
            // Help and version come this way as well.
            let _ = answer.print();
            return if answer.use_stderr() {
                Exit::Usage
            } else {
                Exit::Done
            };
        }
    };
    log::start(&global, io);
    let look = io.err(global.color);
    let ended =
        Session::new(global, io.clone()).and_then(|session| on_one_thread(&session, command));
    ended.unwrap_or_else(|failure| {
        io.tell(&failure.drawn(look));
        failure.exit
    })
}

/// All futures run on this thread; what blocks goes to threads of its own.
fn on_one_thread(session: &Session, command: Command) -> Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new("runtime", format!("could not start: {error}")))?;
    let ended = runtime.block_on(LocalSet::new().run_until(verbs::run(session, command)));
    // Threads that blocked are waited for: one that ends while libvirt's libraries are cleaned up would
    // crash. Yet a call that hangs in the kernel must not keep the command from ending.
    runtime.shutdown_timeout(LONGEST_END);
    ended
}
