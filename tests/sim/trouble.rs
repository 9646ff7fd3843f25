//! Ticks, and what can go wrong at them.
//!
//! Every call of the host and every write of the journal is one tick or several. This knows which
//! trouble would make a difference at which of them, and does none.

use knib::host::StopLevel;

/// Where in a call a tick is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A call that changes nothing.
    Look,
    /// Nothing has happened yet.
    Before,
    /// Half of it has.
    Middle,
    /// It has, and nobody knows yet.
    After,
    /// The journal was written.
    Journal,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// knib dies, and with it the programs it started.
    Kill,
    /// knib alone dies; a program it started goes on for a while.
    KillAlone,
    /// The host dies.
    PowerCut,
    /// QEMU dies, with something that it has not written down.
    KillQemu,
    /// The call reports a failure, whatever it did.
    Fail,
    /// From here on every such call reports a failure, until it is mended.
    FailForGood,
    /// Guests are switched off.
    Off,
    /// Guests are switched on.
    On,
    /// Block jobs end where they stand.
    LoseJobs,
    /// The same, and whatever is begun from here on, until it is mended.
    LoseJobsForGood,
    /// knib is asked to stop: now, or after the step.
    Stop(StopLevel),
    /// knib runs into a defect of its own.
    Panic,
}

/// One tick.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says what there is to disturb"
)]
pub(crate) struct Tick {
    pub(crate) place: Place,
    pub(crate) what: &'static str,
    /// The verb of the action that was last heard of.
    pub(crate) verb: &'static str,
    /// A guest is on, a guest is off, a job is at work.
    pub(crate) on: bool,
    pub(crate) off: bool,
    pub(crate) jobs: bool,
    /// QEMU has something that it has not written down.
    pub(crate) unwritten: bool,
    /// An action is under way.
    pub(crate) begun: bool,
}

impl Tick {
    /// Whether something would be different with it.
    pub(crate) fn admits(&self, trouble: Trouble) -> bool {
        let call = self.place != Place::Journal;
        match trouble {
            Trouble::Kill | Trouble::PowerCut => self.changed(),
            Trouble::KillAlone => self.place == Place::Middle,
            Trouble::Fail => call,
            // An agent that never answers again is given up on.
            Trouble::FailForGood => {
                matches!(self.place, Place::Look | Place::Before)
                    && !["is frozen", "thaw"].contains(&self.what)
            }
            Trouble::KillQemu => self.comes_next() && self.unwritten,
            Trouble::Off => self.comes_next() && self.on,
            Trouble::On => self.comes_next() && self.off,
            Trouble::LoseJobs | Trouble::LoseJobsForGood => self.comes_next() && self.jobs,
            Trouble::Stop(StopLevel::Now) => {
                self.comes_next() && (self.place == Place::Middle || self.jobs)
            }
            Trouble::Stop(_) => self.place == Place::Before,
            Trouble::Panic => self.begun,
        }
    }

    /// Whether a call has just changed something outside, wholly or by half.
    pub(crate) fn is_effect(&self) -> bool {
        matches!(self.place, Place::Middle | Place::After)
    }

    /// Whether anything is other than it was at the tick before.
    fn changed(&self) -> bool {
        match self.place {
            Place::Middle | Place::After => true,
            Place::Journal => self.what != "performed",
            Place::Look | Place::Before => false,
        }
    }

    /// Whether knib looks or acts next. Between the end of one call and the next it does neither.
    fn comes_next(&self) -> bool {
        matches!(self.place, Place::Look | Place::Before | Place::Middle)
    }
}
