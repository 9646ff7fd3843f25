//! `knib files`: single files out of backups.
//!
//! ```text
//! places   what was typed: disk, paths     reading  the backup's leases, the appliance, the end
//! list     what is there                   get      into a directory, or to stdout
//! ```

mod get;
mod list;
mod places;
mod reading;

use std::ffi::OsString;
use std::path::PathBuf;

use crate::cli::at_once::Patience;
use crate::cli::exit::Exit;
use crate::cli::failure::Result;
use crate::cli::session::Session;

/// Single files out of backups, as far as their offering allows it
#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum Files {
    /// List the file systems in a backup, or what a directory in it holds
    ///
    /// Without PATH: the file systems. Without DISK a PATH is the guest's own, with everything mounted
    /// as its fstab says, over all its disks.
    List(List),
    /// Take files and directories out of a backup
    ///
    /// Modes, times, links and the attributes named user.* are kept. Files belong to whoever takes
    /// them; setuid and setgid bits, devices, pipes and sockets are left out, which is said. A PATH that
    /// is a link stands for what it leads to.
    Get(Get),
}

#[derive(Debug, clap::Args)]
#[command(override_usage = "knib files list [OPTIONS] <B> [DISK] [PATH]")]
pub(in crate::cli) struct List {
    #[command(flatten)]
    which: Which,
    /// A disk of the VM, a path that begins with `/`, or both
    #[arg(value_name = "DISK|PATH", num_args = 0..=2)]
    places: Vec<OsString>,
    /// Also what is in directories below
    #[arg(long, short)]
    recursive: bool,
}

#[derive(Debug, clap::Args)]
#[command(override_usage = "knib files get [OPTIONS] --output <DIR> <B> [DISK] <PATH>...")]
pub(in crate::cli) struct Get {
    #[command(flatten)]
    which: Which,
    /// Paths that begin with `/`; before them, a disk whose paths they are
    #[arg(value_name = "DISK|PATH", required = true)]
    places: Vec<OsString>,
    /// Where they go: a directory, or `-` for stdout: the bytes of one file, otherwise an archive (tar)
    #[arg(long, short, value_name = "DIR")]
    output: PathBuf,
    /// Also into a directory with something in it; files of the same names are replaced
    #[arg(long)]
    overwrite: bool,
}

/// Which backup, and what of it.
#[derive(Debug, clap::Args)]
struct Which {
    /// Id, a unique beginning of it, VM@latest or VM@TIME
    #[arg(value_name = "B")]
    backup: String,
    /// Of several file systems this one, by its device
    #[arg(long, value_name = "DEVICE")]
    fs: Option<String>,
    #[command(flatten)]
    patience: Patience,
}

pub(super) async fn run(session: &Session, args: Files) -> Result<Exit> {
    match args {
        Files::List(args) => list::run(session, args).await,
        Files::Get(args) => get::run(session, args).await,
    }
}
