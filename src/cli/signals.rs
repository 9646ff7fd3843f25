//! Stopping on request: once after the current step, twice now, three times at once. Whatever is
//! left is carried on by the next apply. A hangup leaves to QEMU what it goes on with by itself.

use std::cell::Cell;
use std::rc::Rc;

use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use tokio::sync::watch;

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::failure::Result;
use crate::cli::io::Io;
use crate::host::Stop;
use crate::host::StopLevel;

/// Listens from now on.
pub(super) struct Signals {
    first: Rc<Cell<Option<Exit>>>,
    stop: Stop,
    sender: Rc<watch::Sender<StopLevel>>,
}

impl Signals {
    pub(super) fn listen(io: Io) -> Result<Self> {
        let fail = |error| Failure::new("signals", format!("could not listen to signals: {error}"));
        let mut interrupt = signal(SignalKind::interrupt()).map_err(fail)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(fail)?;
        let mut hangup = signal(SignalKind::hangup()).map_err(fail)?;
        let (sender, receiver) = watch::channel(StopLevel::No);
        let sender = Rc::new(sender);
        let tells = Rc::clone(&sender);
        let first = Rc::new(Cell::new(None));
        let heard = Rc::clone(&first);
        tokio::task::spawn_local(async move {
            loop {
                let exit = tokio::select! {
                    _ = interrupt.recv() => Exit::Interrupted,
                    _ = terminate.recv() => Exit::Terminated,
                    _ = hangup.recv() => {
                        detach(&tells);
                        continue;
                    }
                };
                heard.set(heard.get().or(Some(exit)));
                let level = match *tells.borrow() {
                    StopLevel::No | StopLevel::Detach => StopLevel::AfterStep,
                    StopLevel::AfterStep => StopLevel::Now,
                    StopLevel::Now => std::process::exit(i32::from(exit.code())),
                };
                io.tell(match level {
                    StopLevel::AfterStep => {
                        "Stopping after the current step. Again: ends it now; the next knib apply carries on.\n"
                    }
                    _ => "Ending the current step now. Again: exits at once.\n",
                });
                tells.send_replace(level);
            }
        });
        Ok(Self {
            first,
            stop: Stop::new(receiver),
            sender,
        })
    }

    /// What QEMU goes on with by itself is left to it.
    pub(super) fn detach(&self) {
        detach(&self.sender);
    }

    /// For who is to stop.
    pub(super) fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// What to exit with, when a signal came.
    pub(super) fn heard(&self) -> Option<Exit> {
        self.first.get()
    }
}

/// A terminal that is gone says no more than that nobody waits.
fn detach(sender: &watch::Sender<StopLevel>) {
    sender.send_if_modified(|level| {
        let waits = *level == StopLevel::No;
        if waits {
            *level = StopLevel::Detach;
        }
        waits
    });
}
