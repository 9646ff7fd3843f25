//! `knib restore`: VMs from backups.

mod new;
mod quick;
mod resume;
mod vm;

use std::fmt::Write;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use clap::ValueEnum;

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::failure::Result;
use crate::cli::render::plan as render;
use crate::cli::saved;
use crate::cli::session::Session;
use crate::cli::verbs::restore::new::New;
use crate::cli::verbs::restore::quick::left_to_qemu;
use crate::cli::verbs::restore::resume::Resume;
use crate::cli::verbs::restore::vm::Vm;
use crate::cli::work;
use crate::model::id::Target;
use crate::model::machine::Format;
use crate::model::plan::Plan;
use crate::model::step::Image;

/// Restore from backups
#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum Restore {
    Vm(Vm),
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
        Restore::New(args) => new::run(session, args).await,
        Restore::Resume(args) => resume::run(session, &args).await,
    }
}

/// A directory as everything else will name it.
fn directory(dir: &Utf8Path) -> Result<Utf8PathBuf> {
    dir.canonicalize_utf8()
        .map_err(|error| Failure::file("use the directory", dir, &error))
}

/// Prints what would be done.
fn show(session: &Session, json: bool, plan: &Plan) -> Result<Exit> {
    session.print(&if json {
        saved::text(plan)
    } else {
        render::human(plan, work::detail(session), session.look())
    })?;
    Ok(Exit::Done)
}

/// Each disk with its file, a line each.
fn listed<'a>(disks: impl IntoIterator<Item = (&'a Target, &'a Image)>) -> String {
    let mut said = String::new();
    for (target, image) in disks {
        let _ = writeln!(said, "  {target}  {}", image.path);
    }
    said
}
