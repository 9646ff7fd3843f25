//! A backup that is read: found, allowed, held while an appliance looks into it, and let go of.

use std::time::Instant;

use camino::Utf8PathBuf;

use crate::cli::at_once::Patience;
use crate::cli::basis::Basis;
use crate::cli::clock;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::failure::Result;
use crate::cli::find;
use crate::cli::progress::Waiting;
use crate::cli::session::Seen;
use crate::cli::session::Session;
use crate::engine;
use crate::engine::Reader;
use crate::engine::Reading;
use crate::host::StopLevel;
use crate::host::guestfs::Appliance;
use crate::host::guestfs::Brake;
use crate::host::guestfs::Guestfs;
use crate::model::backup::VmRef;
use crate::model::id::BackupId;
use crate::model::id::Target;
use crate::model::op::Op;
use crate::model::plan::Action;
use crate::model::reason::Block;
use crate::planner::files;
use crate::state::State;

/// So often it is looked whether others let go.
const LOOK: std::time::Duration = std::time::Duration::from_millis(250);

/// Whose files are read.
#[derive(Clone, Debug)]
pub(super) struct Read {
    pub(super) backup: BackupId,
    pub(super) vm: VmRef,
}

/// Says, from any thread, what is to know and not the result.
pub(super) fn notes(session: &Session) -> impl Fn(&str) + Send + 'static {
    let (io, quiet) = (session.io.clone(), session.global.quiet);
    move |text| {
        if !quiet {
            io.tell(&format!("{text}\n"));
        }
    }
}

/// Lets an appliance look into a backup, or into one disk of it: `work`, on a thread of its own.
pub(super) async fn read<T: Send + 'static>(
    session: &Session,
    basis: &Basis,
    command: &'static str,
    (given, disk, patience): (&str, Option<&str>, Patience),
    work: impl FnOnce(&mut Appliance) -> Result<T> + Send + 'static,
) -> Result<(T, Read)> {
    let guestfs = Guestfs::find()?;
    let mut chosen: Option<String> = None;
    let until = Instant::now() + patience.limit();
    loop {
        let seen = session.see(basis).await?;
        let given = chosen.as_deref().unwrap_or(given);
        let (guest, backup) = session.choose(&seen.world.guests, given, basis)?;
        let of = Read {
            backup: backup.id.clone(),
            vm: guest.vm.clone(),
        };
        let disks: Vec<_> = backup.disks.keys().cloned().collect();
        known(disk, &disks)?;
        let whose = (&of.vm.uuid, &of.backup);
        let plan = files::plan(whose, basis.policy.as_ref(), &seen.world, &basis.options()?);
        let action = plan.actions.into_iter().next();
        let action = action.ok_or_else(|| Failure::new("gone", "the backup is gone"))?;
        let busy = match stands_in_the_way(&action)? {
            Some(holder) => holder,
            None => match begin(session, basis, command, &seen, action, &of, disk).await? {
                Begun::Open(open) => {
                    let done = open.carry_out(session, &guestfs, work).await?;
                    return Ok((done, of));
                }
                Begun::Busy(holder) => holder,
            },
        };
        if Instant::now() >= until {
            let text = format!("{} is held: {busy}", of.backup);
            return Err(Failure::new("held", text)
                .hint("nothing was done; knib apply carries on what was interrupted")
                .exit(Exit::Busy));
        }
        chosen = Some(of.backup.to_string());
        tokio::time::sleep(LOOK).await;
    }
}

fn known(disk: Option<&str>, disks: &[Target]) -> Result<()> {
    match disk {
        Some(given) if !disks.iter().any(|target| target.as_str() == given) => {
            let names: Vec<_> = disks.iter().map(Target::as_str).collect();
            Err(find::unknown("disk", given, &names))
        }
        _ => Ok(()),
    }
}

/// A rule ends the command; who has it can be waited for.
fn stands_in_the_way(action: &Action) -> Result<Option<String>> {
    let mut busy = None;
    for block in &action.blocked_by {
        match block {
            Block::Blocked(refusal) => return Err(Failure::refused(refusal)),
            Block::Busy { holder } => busy = Some(holder.clone()),
            Block::Held { text, .. } => busy = Some(text.clone()),
            Block::Waits { .. } | Block::Stale { .. } => {}
        }
    }
    Ok(busy)
}

enum Begun {
    Open(Box<Open>),
    Busy(String),
}

/// A reader that holds its backup.
struct Open {
    state: State,
    run: crate::state::Run,
    reader: Box<Reader>,
    disks: Vec<(Target, Utf8PathBuf)>,
}

async fn begin(
    session: &Session,
    basis: &Basis,
    command: &'static str,
    seen: &Seen,
    action: Action,
    of: &Read,
    disk: Option<&str>,
) -> Result<Begun> {
    let (Op::Files(op), Some(guest)) = (&action.op, seen.world.guests.get(&of.vm.uuid)) else {
        return Err(Failure::new("gone", "the backup is gone"));
    };
    session.signals()?;
    let state = State::open(&basis.state)?;
    let run = state.start_run(command, clock::now())?;
    match Reader::begin(&state, &run.id, &action, guest, clock::now())? {
        Reading::Begun(reader) => {
            let images = engine::images(seen.host.as_ref(), op, &reader.guest).await;
            let wanted = |target: &Target| disk.is_none_or(|disk| target.as_str() == disk);
            match images {
                Ok(mut disks) => {
                    disks.retain(|(target, _)| wanted(target));
                    Ok(Begun::Open(Box::new(Open {
                        state,
                        run,
                        reader,
                        disks,
                    })))
                }
                Err(error) => {
                    reader.end(&state, Some(&error), clock::now())?;
                    run.finish(&state, clock::now())?;
                    let failure = Failure::new("damaged", &error.text).exit(Exit::Failed);
                    Err(failure.hint(error.hint.unwrap_or_default()))
                }
            }
        }
        Reading::Refused(refusal) => {
            run.finish(&state, clock::now())?;
            Err(Failure::refused(&refusal))
        }
        Reading::Busy(holder) => {
            run.finish(&state, clock::now())?;
            Ok(Begun::Busy(holder.to_string()))
        }
    }
}

impl Open {
    /// Starts the appliance, lets `work` use it, and lets go of the backup whatever came of it.
    async fn carry_out<T: Send + 'static>(
        self,
        session: &Session,
        guestfs: &Guestfs,
        work: impl FnOnce(&mut Appliance) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let signals = session.signals()?;
        let (brake, guestfs, disks) = (Brake::default(), guestfs.clone(), self.disks);
        let (held, io, quiet) = (brake.clone(), session.io.clone(), session.global.quiet);
        let mut thread = tokio::task::spawn_blocking(move || {
            let waiting = Waiting::new(&io, quiet, "starting libguestfs's appliance");
            let say = |text: &str| io.tell(&format!("{text}\n"));
            let mut appliance = guestfs.open(&disks, &held, &say)?;
            drop(waiting);
            work(&mut appliance)
        });
        let stop = signals.stop();
        let joined = tokio::select! {
            joined = &mut thread => joined,
            () = stop.reached(StopLevel::AfterStep) => {
                brake.pull();
                thread.await
            }
        };
        let result = joined.unwrap_or_else(|panic| Err(Failure::new("defect", panic)));
        let result = match signals.heard() {
            Some(exit) => result.map_err(|_| {
                Failure::new("interrupted", "interrupted; nothing is left behind").exit(exit)
            }),
            None => result,
        };
        let error = result.as_ref().err().map(Failure::step_error);
        self.reader.end(&self.state, error.as_ref(), clock::now())?;
        self.run.finish(&self.state, clock::now())?;
        result
    }
}
