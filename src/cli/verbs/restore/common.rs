//! What all restores have: where they read and write, and how they are carried out.

use camino::Utf8PathBuf;

use crate::cli::at_once;
use crate::cli::at_once::Patience;
use crate::cli::basis::Basis;
use crate::cli::exit::Exit;
use crate::cli::failure::Result;
use crate::cli::render::plan as render;
use crate::cli::saved;
use crate::cli::session::Seen;
use crate::cli::session::Session;
use crate::cli::stateless;
use crate::cli::verbs::restore::left_to_qemu;
use crate::cli::verbs::restore::quick::Quick;
use crate::cli::work;
use crate::engine;
use crate::model::backup::Backup;
use crate::model::ground::Ground;
use crate::model::plan::Plan;
use crate::model::world::World;
use crate::planner::Options;
use crate::planner::restore;
use crate::planner::restore::How;

/// What all restores have.
#[derive(Debug, clap::Args)]
pub(super) struct Common {
    /// Where the disks go [default: beside those that are there]
    #[arg(long, value_name = "DIR")]
    disk_dir: Option<Utf8PathBuf>,
    /// A storage that is mounted here, maybe read-only, instead of what is on record; a state is
    /// not needed, and not made
    #[arg(long, value_name = "DIR")]
    from: Option<Utf8PathBuf>,
    /// Read all that will be restored before anything is written
    #[arg(long)]
    verify: bool,
    /// Restore a backup that was removed and whose files are still there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    patience: Patience,
    /// Show what would be done, and do nothing
    #[arg(long)]
    plan: bool,
}

impl Common {
    /// What it works from.
    pub(super) fn basis(&self, session: &Session) -> Result<Basis> {
        let basis = session.basis_anyhow()?;
        match &self.from {
            Some(dir) => stateless::reading(basis, dir),
            None => Ok(basis),
        }
    }

    /// How the backups are read.
    pub(super) fn how(&self, quick: Quick) -> How {
        How {
            verify: self.verify,
            quick: quick.quick,
            removed: self.force,
        }
    }

    /// Where the disks go, if that was said.
    pub(super) fn dir(&self) -> Result<Option<Utf8PathBuf>> {
        let dir = self.disk_dir.as_deref();
        dir.map(stateless::directory).transpose()
    }

    /// What there is where these backups are read and written.
    pub(super) async fn ground(&self, seen: &Seen, backups: &[&Backup]) -> Result<Ground> {
        let mut dirs = Vec::from_iter(self.dir()?);
        dirs.push(Utf8PathBuf::from(restore::LIBVIRT_IMAGES));
        Ok(engine::ground(&seen.host, &seen.world, backups, &dirs).await)
    }

    /// Shows the plan, or carries it out and prints what `said` says of one that went well.
    pub(super) async fn carry_out(
        &self,
        session: &Session,
        basis: &Basis,
        seen: &Seen,
        names: (&'static str, &str),
        draw_up: impl Fn(&World, &Options) -> Plan,
        said: impl FnOnce(&Plan) -> String,
    ) -> Result<Exit> {
        let json = session.global.format.is_json()?;
        let draw_up = |world: &World, options: &Options| {
            let mut plan = draw_up(world, options);
            if let Some(policy) = &basis.policy {
                plan.clock.timezone.clone_from(&policy.timezone);
            }
            plan
        };
        if self.plan {
            let plan = draw_up(&seen.world, &basis.options()?);
            session.print(&if json {
                saved::text(&plan)
            } else {
                render::human(&plan, work::detail(session), session.look())
            })?;
            return Ok(Exit::Done);
        }
        let done = at_once::carry_out(session, basis, names, self.patience, |world, options| {
            draw_up(world, options)
        });
        let finished = done.await?;
        let left = left_to_qemu(&finished.plan);
        let exit = finished.conclude(session, json, || said(&finished.plan) + &left)?;
        drop(finished);
        stateless::forget(&basis.state)?;
        Ok(exit)
    }
}
