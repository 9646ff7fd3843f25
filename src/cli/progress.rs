//! What a run says while it works: bars on a terminal, dated lines otherwise.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;
use std::time::Instant;

use indicatif::ProgressBar;
use indicatif::ProgressStyle;
use jiff::tz::TimeZone;

use crate::cli::clock;
use crate::cli::io::Io;
use crate::cli::render::report;
use crate::cli::render::text;
use crate::cli::times;
use crate::crash;
use crate::model::bytes::Bytes;
use crate::model::event::Event;
use crate::model::id::ActionId;
use crate::model::id::Target;
use crate::model::op::Group;
use crate::model::op::Op;
use crate::model::plan::Action;
use crate::model::plan::Plan;

/// The time between two lines about one long step.
const PAUSE: Duration = Duration::from_secs(15);
/// The time between two pictures of what turns while something is waited for.
const TICK: Duration = Duration::from_millis(200);
const BAR: &str =
    "{prefix:32} [{bar:20}] {percent:>3}% of {binary_total_bytes} {binary_bytes_per_sec}";

/// A long step: of an action, what, on which disk.
type Long = (ActionId, &'static str, Option<Target>);

/// Hears what happens and tells it.
pub(super) struct Progress {
    io: Io,
    quiet: bool,
    zone: TimeZone,
    names: RefCell<BTreeMap<ActionId, String>>,
    bars: RefCell<BTreeMap<Long, ProgressBar>>,
    told: RefCell<BTreeMap<Long, Instant>>,
}

impl Progress {
    pub(super) fn new(io: Io, quiet: bool, plan: &Plan) -> Self {
        let names = plan.actions.iter().filter_map(named).collect();
        Self {
            io,
            quiet,
            zone: times::zone(&plan.clock.timezone),
            names: RefCell::new(names),
            bars: RefCell::default(),
            told: RefCell::default(),
        }
    }

    pub(super) fn hear(&self, event: &Event) {
        tracing::debug!(?event);
        if self.quiet {
            return;
        }
        match event {
            Event::Added { action } => {
                if let Some((id, name)) = named(action) {
                    let known = self.names.borrow().values().any(|known| *known == name);
                    self.names.borrow_mut().insert(id.clone(), name);
                    if !known {
                        self.line(&id, "to be done as well");
                    }
                }
            }
            Event::Began { action, resumed } => {
                let word = if *resumed { "goes on" } else { "begins" };
                self.line(action, word);
            }
            Event::Progress {
                action,
                what,
                target,
                done,
                total,
            } => self.long((action.clone(), what, target.clone()), *done, *total),
            Event::Said { action, text } => self.line(action, text),
            Event::TurnedBack { action, error } => {
                self.clear(action);
                self.line(action, &format!("FAILED, is taken back: {error}"));
            }
            Event::Marked { action, .. } => self.clear(action),
            Event::Closed { action, done } => {
                self.clear(action);
                self.line(action, if *done { "done" } else { "taken back" });
            }
            Event::Intended { .. } | Event::Performed { .. } => {}
        }
    }

    fn line(&self, action: &ActionId, what: &str) {
        let names = self.names.borrow();
        let Some(name) = names.get(action) else {
            return;
        };
        let at = text::second(clock::now(), &self.zone);
        self.io
            .tell(&format!("{at}  {name}: {}\n", text::clean(what)));
    }

    fn long(&self, long: Long, done: Bytes, total: Bytes) {
        if self.io.can_draw() {
            self.bar(long, done, total);
            return;
        }
        let now = Instant::now();
        // The first line comes after a pause as well: short steps need none.
        let mut told = self.told.borrow_mut();
        let last = told.entry(long.clone()).or_insert(now);
        if now.duration_since(*last) < PAUSE {
            return;
        }
        *last = now;
        let (action, what, target) = long;
        let percent = (u128::from(done.0) * 100)
            .checked_div(u128::from(total.0))
            .unwrap_or(0);
        self.line(
            &action,
            &format!(
                "{} {percent}%, {done} of {total}",
                on(what, target.as_ref())
            ),
        );
    }

    fn bar(&self, long: Long, done: Bytes, total: Bytes) {
        let mut bars = self.bars.borrow_mut();
        let bar = bars
            .entry(long)
            .or_insert_with_key(|(action, what, target)| {
                let names = self.names.borrow();
                let name = names.get(action).map_or("", String::as_str);
                let style = ProgressStyle::with_template(BAR)
                    .unwrap_or_else(|_| ProgressStyle::default_bar())
                    .progress_chars("=> ");
                let bar = self.io.bars.add(ProgressBar::new(total.0));
                bar.set_style(style);
                bar.set_prefix(format!("{name} {}", on(what, target.as_ref())));
                bar
            });
        bar.set_length(total.0);
        bar.set_position(done.0);
    }

    fn clear(&self, action: &ActionId) {
        self.told.borrow_mut().retain(|(of, _, _), _| of != action);
        self.bars.borrow_mut().retain(|(of, _, _), bar| {
            if of == action {
                bar.finish_and_clear();
            }
            of != action
        });
    }
}

/// Says that something is waited for, on a terminal for how long already, until it is dropped.
pub(super) struct Waiting(Option<ProgressBar>);

impl Waiting {
    pub(super) fn new(io: &Io, quiet: bool, what: &str) -> Self {
        if quiet {
            return Self(None);
        }
        if !io.can_draw() {
            io.tell(&format!("{what}\n"));
            return Self(None);
        }
        let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}");
        let bar = io.bars.add(ProgressBar::new_spinner());
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(TICK);
        Self(Some(bar))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// What an action is called. What only changes the record takes no time, and the report says it.
fn named(action: &Action) -> Option<(ActionId, String)> {
    // What is recovered goes on under the name it had.
    let id = match &action.op {
        Op::Recover(op) => op.action.clone(),
        _ => action.id.clone(),
    };
    (action.verb.group() != Group::Config).then(|| (id, report::name(action)))
}

fn on(what: &str, target: Option<&Target>) -> String {
    match target {
        Some(target) => format!("{what} {target}"),
        None => what.to_owned(),
    }
}

/// Tells where a test may have knib die that the journal was written, or is about to be.
pub(super) fn crash_at(event: &Event) {
    let what = match event {
        Event::Began { .. } => "begun",
        Event::Intended { .. } => "intended",
        Event::Performed { .. } => "performed",
        Event::Marked { .. } => "marked",
        Event::TurnedBack { .. } => "turned back",
        Event::Closed { .. } => "closed",
        // How often that is said differs from run to run.
        Event::Added { .. } | Event::Progress { .. } | Event::Said { .. } => return,
    };
    crash::changed(what);
}
