//! `knib restore`: disks and VMs from backups.

mod common;
mod disk;
mod new;
mod quick;
mod resume;
mod vm;

use std::fmt::Write;

use clap::ValueEnum;

use crate::cli::exit::Exit;
use crate::cli::failure::Result;
use crate::cli::session::Session;
use crate::cli::verbs::restore::disk::Disk;
use crate::cli::verbs::restore::new::New;
use crate::cli::verbs::restore::quick::left_to_qemu;
use crate::cli::verbs::restore::resume::Resume;
use crate::cli::verbs::restore::vm::Vm;
use crate::model::id::Target;
use crate::model::machine::Format;
use crate::model::plan::Action;
use crate::model::plan::Outcome;
use crate::model::plan::Plan;
use crate::model::step::Image;

/// Restore from backups
#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum Restore {
    Vm(Vm),
    Disk(Disk),
    New(New),
    Resume(Resume),
}

/// A format that disks are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DiskFormat {
    /// QEMU's own
    Qcow2,
    /// The bytes themselves
    Raw,
}

impl From<DiskFormat> for Format {
    fn from(format: DiskFormat) -> Self {
        match format {
            DiskFormat::Qcow2 => Self::Qcow2,
            DiskFormat::Raw => Self::Raw,
        }
    }
}

pub(super) async fn run(session: &Session, restore: Restore) -> Result<Exit> {
    match restore {
        Restore::Vm(args) => vm::run(session, args).await,
        Restore::Disk(args) => disk::run(session, args).await,
        Restore::New(args) => new::run(session, args).await,
        Restore::Resume(args) => resume::run(session, &args).await,
    }
}

/// Each disk with its file, a line each.
fn listed<'a>(disks: impl IntoIterator<Item = (&'a Target, &'a Image)>) -> String {
    let mut said = String::new();
    for (target, image) in disks {
        let _ = writeln!(said, "  {target}  {}", image.path);
    }
    said
}

/// What was done.
fn done(plan: &Plan) -> impl Iterator<Item = &Action> {
    let done = |action: &&Action| action.result == Some(Outcome::Done);
    plan.actions.iter().filter(done)
}
