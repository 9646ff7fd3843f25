//! What a long call is given besides its parameters: a way to report, to be stopped, and a limit.

use std::time::Duration;

use tokio::sync::watch;

use crate::model::bytes::Bytes;

/// How urgently a run was asked to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopLevel {
    /// Go on.
    #[default]
    No,
    /// Leave to QEMU what it goes on with by itself.
    Detach,
    /// Begin nothing new.
    AfterStep,
    /// End the long call that is under way.
    Now,
}

/// Tells whether a run was asked to stop.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<StopLevel>);

impl Stop {
    /// Listens to a sender.
    #[must_use]
    pub fn new(receiver: watch::Receiver<StopLevel>) -> Self {
        Self(receiver)
    }

    /// As it stands.
    #[must_use]
    pub fn level(&self) -> StopLevel {
        *self.0.borrow()
    }

    /// Waits until it is at least `level`; for ever if nobody can ask any more.
    pub async fn reached(&self, level: StopLevel) {
        let mut receiver = self.0.clone();
        if receiver.wait_for(|now| *now >= level).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The surroundings of one long call.
pub struct Task<'a> {
    /// Called with bytes done and bytes in all, as often as there is news.
    pub report: &'a dyn Fn(Bytes, Bytes),
    /// Ends the call with `Fault::Stopped` at `StopLevel::Now`.
    pub stop: &'a Stop,
    /// Ends the call with `Fault::Timeout`.
    pub limit: Option<Duration>,
}
