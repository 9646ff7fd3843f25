//! What all quick restores have in common on the command line.

use std::fmt::Write;

use crate::cli::failure::Failure;
use crate::cli::failure::Result;
use crate::cli::render::text;
use crate::cli::session::Session;
use crate::cli::verbs::restore::DiskFormat;
use crate::model::backup::Backup;
use crate::model::op::Op;
use crate::model::plan::Outcome;
use crate::model::plan::Plan;
use crate::model::program::Program;
use crate::model::step::Step;
use crate::model::world::Guest;

/// How a VM runs before its disks are written.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Quick {
    /// Let the VM run at once, on the backup's own files, and write its disks while it runs
    #[arg(long)]
    pub(super) quick: bool,
    /// With --quick: return when the VM runs; the next apply sees the rest done
    #[arg(long)]
    detach: bool,
}

impl Quick {
    /// What lies on a backup is of QEMU's own format.
    pub(super) fn wants_qcow2(self, format: DiskFormat) -> Result<()> {
        if self.quick && format == DiskFormat::Raw {
            let text = "--quick wants disks in the format qcow2: they lie on the backup at first";
            return Err(Failure::usage(text));
        }
        Ok(())
    }

    /// Says what running from a backup means, and how long ago these were read, and leaves the rest to
    /// QEMU where that was asked.
    pub(super) fn prepare(self, session: &Session, from: &[(&Guest, &Backup)]) -> Result<()> {
        if self.detach && !self.quick {
            return Err(Failure::usage(
                "--detach wants --quick: nothing else goes on without knib",
            ));
        }
        if self.quick {
            session.note(
                "until its disks are written the VM reads from the storage; the backup's digests are compared meanwhile (--verify: first)",
            );
            for (guest, backup) in from {
                let read = guest.record.verified(&backup.id);
                let since = read.map_or_else(
                    || "was never read to the end since it was made".to_owned(),
                    |at| format!("was last verified {}", text::relative(at, session.now)),
                );
                session.note(&format!("{} of {} {since}", backup.id, guest.vm.name));
            }
        }
        if self.detach {
            session.signals()?.detach();
        }
        Ok(())
    }
}

/// VMs that run while QEMU goes on with their disks.
pub(super) fn left_to_qemu(plan: &Plan) -> String {
    let mut said = String::new();
    for action in &plan.actions {
        let mut steps = action.program.iter().flat_map(Program::steps);
        // What carries another one on has no program of its own.
        let pulls = matches!(action.op, Op::Consolidate(_))
            || steps.any(|(_, _, step)| matches!(step, Step::Pull { .. }));
        let detached = action.result == Some(Outcome::Held) && action.is_free();
        if let (true, Some(vm)) = (detached && pulls, &action.vm) {
            let name = &vm.name;
            let _ = writeln!(
                said,
                "{name} runs; QEMU goes on with what it is at. The next apply sees to the rest, or: knib restore resume {name}"
            );
        }
    }
    said
}
