//! Does plans: sees the world, decides what may start, and carries actions out by the journal's rules.
//!
//! It knows no policy, and what a verb means is for `action` to say. All actions run as futures on one
//! thread; sqlite is called directly on it, everything that takes long leaves it through the host.

mod apply;
mod damage;
mod elsewhere;
mod error;
mod ground;
mod kept;
mod observe;
mod orphans;
mod perform;
mod reach;
mod reading;
mod run;

use std::rc::Rc;

use jiff::Timestamp;

pub use crate::engine::apply::Newer;
pub use crate::engine::apply::Report;
pub use crate::engine::apply::stand;
pub use crate::engine::elsewhere::observe_only;
pub use crate::engine::error::EngineError;
pub use crate::engine::ground::ground;
pub use crate::engine::kept::kept;
pub use crate::engine::observe::guest;
pub use crate::engine::observe::observe;
pub use crate::engine::orphans::orphans;
pub use crate::engine::reach::reach;
pub use crate::engine::reading::Reader;
pub use crate::engine::reading::Reading;
pub use crate::engine::reading::images;
pub use crate::engine::run::Ended;
use crate::host::Host;
use crate::host::Stop;
use crate::model::backup::Maker;
use crate::model::event::Event;
use crate::model::id::RunId;
use crate::state::State;

/// The parts that carrying out needs, shared by all actions of a run.
pub struct Engine<H> {
    /// Everything outside.
    pub host: Rc<H>,
    /// Journal, leases, index.
    pub state: Rc<State>,
    /// This run in the journal.
    pub run: RunId,
    /// Written into what it makes.
    pub maker: Maker,
    /// How libvirt calls itself.
    pub uri: String,
    /// For stamps, never for decisions.
    pub clock: Box<dyn Fn() -> Timestamp>,
    /// Hears everything that happens.
    pub sink: Box<dyn Fn(&Event)>,
    /// Tells when to stop.
    pub stop: Stop,
}

impl<H: Host> Engine<H> {
    fn now(&self) -> Timestamp {
        (self.clock)()
    }

    fn say(&self, event: &Event) {
        (self.sink)(event);
    }
}
