//! What can be typed: global options and the verbs. Each verb's own arguments are in its file.

use std::fmt::Write;
use std::path::PathBuf;

use camino::Utf8PathBuf;
use clap::Parser;
use clap::Subcommand;
use clap::ValueEnum;

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::failure::Result;
use crate::cli::verbs::apply::Apply;
use crate::cli::verbs::backup::Backup;
use crate::cli::verbs::chain::Chain;
use crate::cli::verbs::completions::Completions;
use crate::cli::verbs::explain::Explain;
use crate::cli::verbs::files::Files;
use crate::cli::verbs::forecast::Forecast;
use crate::cli::verbs::init::Init;
use crate::cli::verbs::job::Job;
use crate::cli::verbs::lint::Lint;
use crate::cli::verbs::log::Log;
use crate::cli::verbs::offering::Offering;
use crate::cli::verbs::plan::Plan;
use crate::cli::verbs::restore::Restore;
use crate::cli::verbs::show::Show;
use crate::cli::verbs::snapshot::Snapshot;
use crate::cli::verbs::state::State;
use crate::cli::verbs::status::Status;
use crate::cli::verbs::storage::Storage;
use crate::cli::verbs::vm::Vm;

/// Backups for KVM virtual machines, as code.
///
/// `knib plan` shows what would be done, `knib apply` does it.
#[derive(Debug, Parser)]
#[command(
    name = "knib",
    version,
    max_term_width = 100,
    after_help = exit_codes()
)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// Options of every command.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(super) struct Global {
    /// Policy file or directory, or `-` for stdin; may be repeated [default: ./knib.yaml and
    /// ./knib.d, else those of /etc/knib]
    #[arg(short, long = "file", value_name = "PATH", global = true)]
    pub(super) files: Vec<PathBuf>,
    /// libvirt URI of this host [default: the policy's, else `qemu:///system`]
    #[arg(
        long,
        value_name = "URI",
        env = "KNIB_CONNECT",
        hide_env_values = true,
        global = true
    )]
    pub(super) connect: Option<String>,
    /// State file [default: the policy's, else /var/lib/knib/state.db]
    #[arg(
        long,
        value_name = "FILE",
        env = "KNIB_STATE",
        hide_env_values = true,
        global = true
    )]
    pub(super) state: Option<Utf8PathBuf>,
    /// human or json; `plan` and `show` also take markdown, `lint` github
    #[arg(
        long,
        value_name = "FORMAT",
        global = true,
        default_value = "human",
        hide_possible_values = true
    )]
    pub(super) format: Format,
    /// Colour; auto heeds `NO_COLOR` and `CLICOLOR_FORCE`
    #[arg(long, value_name = "WHEN", global = true, default_value = "auto")]
    pub(super) color: ColorWhen,
    /// Says more; twice: for finding defects
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(super) verbose: u8,
    /// No progress and no notes, errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(super) quiet: bool,
    /// Form of the log on stderr
    #[arg(long, value_name = "FORM", global = true, default_value = "text")]
    pub(super) log_format: LogFormat,
}

/// The form of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    Human,
    /// For programs.
    Json,
    /// For comments on a pull request.
    Markdown,
    /// Annotations of a GitHub workflow.
    Github,
}

/// When there is colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ColorWhen {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Init(Init),
    Lint(Lint),
    /// Print the JSON Schema of the policy
    Schema,
    Plan(Plan),
    Apply(Apply),
    Show(Show),
    Forecast(Forecast),
    #[command(subcommand)]
    Explain(Explain),
    Status(Status),
    Log(Log),
    #[command(subcommand)]
    Offering(Offering),
    #[command(subcommand)]
    Storage(Storage),
    #[command(subcommand)]
    Vm(Vm),
    #[command(subcommand)]
    Backup(Backup),
    #[command(subcommand)]
    Chain(Chain),
    #[command(subcommand)]
    Job(Job),
    #[command(subcommand)]
    Snapshot(Snapshot),
    #[command(subcommand)]
    Restore(Restore),
    #[command(subcommand)]
    Files(Files),
    #[command(subcommand)]
    State(State),
    /// Check the host before trouble, and say what to do about what is found
    Doctor,
    Completions(Completions),
    /// Print the manual page
    Man,
}

impl Format {
    /// This form, when the command has it.
    pub(super) fn of(self, has: &[Self]) -> Result<Self> {
        if has.contains(&self) {
            return Ok(self);
        }
        let name = |format: &Self| {
            let value = format.to_possible_value().expect("every form is a value");
            value.get_name().to_owned()
        };
        let known: Vec<_> = has.iter().map(name).collect();
        let text = format!("--format {} is not a form of this command", name(&self));
        Err(Failure::usage(text).hint(format!("it has {}", known.join(", "))))
    }

    /// JSON, or else human, for commands that have these two.
    pub(super) fn is_json(self) -> Result<bool> {
        Ok(self.of(&[Self::Human, Self::Json])? == Self::Json)
    }
}

fn exit_codes() -> String {
    let mut text = "Exit codes:\n".to_owned();
    for (exit, meaning) in Exit::TABLE {
        let _ = writeln!(text, "  {:<4} {meaning}", exit.code());
    }
    text.trim_end().to_owned()
}
