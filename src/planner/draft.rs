//! A plan in the making, and the world its actions will leave.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use jiff::SignedDuration;

use crate::action;
use crate::model::backup::Backup;
use crate::model::backup::Maker;
use crate::model::change::Change;
use crate::model::digest::Digest;
use crate::model::finding::Finding;
use crate::model::id::ActionId;
use crate::model::id::BackupId;
use crate::model::id::JobId;
use crate::model::id::StateId;
use crate::model::id::VmId;
use crate::model::layout;
use crate::model::lease::Lease;
use crate::model::machine::Disk;
use crate::model::machine::Machine;
use crate::model::op::Group;
use crate::model::op::Op;
use crate::model::plan::Action;
use crate::model::plan::Class;
use crate::model::plan::Clock;
use crate::model::plan::Estimate;
use crate::model::plan::FORMAT;
use crate::model::plan::FORMAT_VERSION;
use crate::model::plan::KeptBackup;
use crate::model::plan::Plan;
use crate::model::plan::PlanHost;
use crate::model::plan::Shift;
use crate::model::plan::Upcoming;
use crate::model::program::Direction;
use crate::model::program::Program;
use crate::model::program::Refusal;
use crate::model::reason::Block;
use crate::model::reason::Reason;
use crate::model::receipt::Receipt;
use crate::model::retention::Verdict;
use crate::model::seconds::later;
use crate::model::step::Step;
use crate::model::world::Guest;
use crate::model::world::Open;
use crate::model::world::World;
use crate::planner::Options;

/// What an action may need another of the same plan for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Vm(VmId),
    Backup(VmId, BackupId),
    Job(VmId, JobId),
    Storage(String),
    Offering(String),
    Policy(String),
}

/// An action as a part of the planner wants it, before it is known whether it can be done.
pub(super) struct Wish {
    pub(super) address: String,
    pub(super) op: Op,
    pub(super) class: Class,
    pub(super) reason: Reason,
    pub(super) change: Shift,
    pub(super) estimate: Estimate,
    /// Actions on these come first.
    pub(super) needs: Vec<Key>,
    /// Later actions on these come after it.
    pub(super) gives: Vec<Key>,
    /// What is known to stand in its way already.
    pub(super) blocks: Vec<Block>,
}

impl Wish {
    pub(super) fn new(address: impl Into<String>, op: Op, class: Class, reason: Reason) -> Self {
        Self {
            address: address.into(),
            op,
            class,
            reason,
            change: Shift::default(),
            estimate: Estimate::default(),
            needs: Vec::new(),
            gives: Vec::new(),
            blocks: Vec::new(),
        }
    }
}

/// An id is put so many seconds ahead at most to sort after others.
const SORTED: u32 = 3600;

/// A plan in the making.
pub(super) struct Draft<'a> {
    /// As it is.
    pub(super) now: &'a World,
    /// As the actions so far will leave it.
    pub(super) ahead: World,
    /// What else there is to say.
    pub(super) findings: Vec<Finding>,
    readers: BTreeMap<(VmId, BackupId), &'a Machine>,
    options: &'a Options,
    timezone: String,
    actions: Vec<Action>,
    latest: BTreeMap<Key, ActionId>,
    /// Actions that something stands in the way of.
    waiting: BTreeSet<ActionId>,
    /// VMs of which something wants a human.
    blocked: BTreeSet<VmId>,
    allotted: BTreeSet<BackupId>,
    /// Backups that stay, where that was asked.
    kept: Vec<KeptBackup>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(world: &'a World, options: &'a Options, timezone: &str) -> Self {
        Self {
            now: world,
            ahead: world.clone(),
            findings: world
                .findings
                .iter()
                .filter(|finding| options.concerns(finding))
                .cloned()
                .collect(),
            readers: readers(world),
            options,
            timezone: timezone.to_owned(),
            actions: Vec::new(),
            latest: BTreeMap::new(),
            waiting: BTreeSet::new(),
            blocked: BTreeSet::new(),
            allotted: BTreeSet::new(),
            kept: Vec::new(),
        }
    }

    /// Whether actions of a group and a VM are wanted at all.
    pub(super) fn admits(&self, group: Group, vm: Option<&str>) -> bool {
        self.options.admits(group, vm)
    }

    pub(super) fn clock_given(&self) -> bool {
        self.options.clock_given
    }

    /// Whether somebody allowed a backup to go that the retention in force keeps.
    pub(super) fn allows(&self, vm: &VmId, backup: &BackupId) -> bool {
        let allowed = &self.options.allowed;
        allowed.contains(&(vm.clone(), backup.clone()))
    }

    /// Tells of a backup why it stays, to whoever asked.
    pub(super) fn tell_kept(&mut self, guest: &Guest, backup: &Backup, verdict: &Verdict) {
        if self.options.show_kept {
            self.kept.push(KeptBackup {
                vm: guest.vm.name.clone(),
                backup: backup.id.clone(),
                created: backup.created,
                kept_by: verdict.reasons(),
            });
        }
    }

    /// A VM that reads the files of a backup, as one that was started from them does.
    pub(super) fn reader(&self, vm: &VmId, backup: &BackupId) -> Option<&'a Machine> {
        self.readers.get(&(vm.clone(), backup.clone())).copied()
    }

    /// Whether anything of a VM wants a human.
    pub(super) fn blocks(&self, vm: &VmId) -> bool {
        self.blocked.contains(vm)
    }

    /// From here on this state owns what a storage holds of a VM.
    pub(super) fn owns(&mut self, vm: &VmId, storage: &str) {
        let seen = self.ahead.storages.get_mut(storage);
        if let Some(found) = seen.and_then(|seen| seen.vms.get_mut(vm)) {
            found.owner = None;
        }
    }

    /// An id that no backup of the VM has or will have. It sorts after all of them, were they made in this
    /// very second or by a run that began later; only a clock that was put back ends that.
    pub(super) fn allot(&mut self, guest: &Guest) -> BackupId {
        let record = &guest.record;
        let failed = record.failures.iter().map(|failed| &failed.backup);
        // A restore keeps what it replaced under such an id, and names its own files by it.
        let mut kept = Vec::new();
        if let Some(machine) = &guest.machine {
            let layers = machine.disks.iter().flat_map(|disk| &disk.layers);
            kept.extend(layers.filter_map(|layer| layout::restored_by(&layer.path)));
            kept.extend(machine.replaced().into_keys());
        }
        let made = record.backups.keys().chain(&record.current).chain(&kept);
        let newest = made.clone().chain(failed).max().cloned();
        let mut attempt = 0;
        loop {
            let at = later(self.now.now, SignedDuration::from_secs(attempt.into()));
            let id = BackupId::allot(at, &guest.vm.uuid, attempt);
            let sorts = newest.as_ref().is_none_or(|newest| id > *newest);
            let known = made.clone().any(|made| *made == id);
            if (sorts || attempt > SORTED) && !known && self.allotted.insert(id.clone()) {
                return id;
            }
            attempt += 1;
        }
    }

    /// A name for good, of something this plan makes.
    pub(super) fn fresh_uuid(&self, of: &str) -> String {
        let hash = blake3::hash(format!("{} {of}", self.options.id).as_bytes()).to_hex();
        let hex = hash.as_str();
        // Version 4, variant 1, as RFC 9562 wants of a uuid without meaning.
        format!(
            "{}-{}-4{}-8{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[13..16],
            &hex[17..20],
            &hex[20..32]
        )
    }

    /// Adds an action: draws its program up on the world ahead, finds what stands in its way, and
    /// lets the world ahead learn what it will change. Returns whether it will be done.
    pub(super) fn add(&mut self, wish: Wish) -> bool {
        let vm = wish.op.vm().cloned();
        if !self.admits(wish.op.group(), vm.as_ref().map(|vm| vm.name.as_str())) {
            return false;
        }
        let mut blocks = wish.blocks;
        let depends_on: Vec<ActionId> = wish
            .needs
            .iter()
            .filter_map(|key| self.latest.get(key))
            .cloned()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        if let Some(waits) = self.first_blocked(&depends_on) {
            blocks.push(Block::Waits { action: waits });
        }
        let guest = wish
            .op
            .guest()
            .and_then(|vm| self.ahead.guests.get(&vm.uuid));
        if let Some(block) = guest.and_then(|guest| holder(&wish.op, guest, &self.ahead)) {
            blocks.push(block);
        }
        let program = match action::program(&wish.op, guest) {
            Ok(program) => Some(program),
            Err(refusal) => {
                blocks.push(Block::Blocked(refusal));
                None
            }
        };
        let id = ActionId::of(&self.options.id, self.actions.len() + 1);
        let free = blocks.is_empty();
        if let (true, Some(program)) = (free, &program) {
            if wish.op.carries_on().is_none() {
                self.foresee(&wish.op, program);
            }
            for key in wish.gives {
                self.latest.insert(key, id.clone());
            }
        }
        let action = Action {
            id,
            address: wish.address,
            verb: wish.op.verb(),
            class: wish.class,
            reason: wish.reason,
            vm,
            change: wish.change,
            estimate: wish.estimate,
            depends_on,
            blocked_by: blocks,
            op: wish.op,
            program: if free { program } else { None },
            result: None,
            error: None,
        };
        if !free {
            self.waiting.insert(action.id.clone());
        }
        if let Some(vm) = action.vm.as_ref().filter(|_| action.is_blocked()) {
            self.blocked.insert(vm.uuid.clone());
        }
        self.actions.push(action);
        free
    }

    /// The world ahead after an action that is begun here.
    fn foresee(&mut self, op: &Op, program: &Program) {
        let now = self.now.now;
        let receipts: Vec<Vec<Option<Receipt>>> = program
            .stages
            .iter()
            .map(|stage| stage.iter().map(|step| Some(step.foreseen(now))).collect())
            .collect();
        self.play(op, program, receipts, Direction::Forward);
    }

    /// Adds the recovery of an open action. What it holds is its own, so nothing of it counts as held;
    /// the world ahead is the one after it.
    pub(super) fn take_up(&mut self, wish: Wish, open: &Open) {
        if let Some(vm) = open.op.vm()
            && let Some(guest) = self.ahead.guests.get_mut(&vm.uuid)
        {
            guest.open.retain(|other| other.action != open.action);
        }
        if self.add(wish) {
            self.foresee_recovery(open);
        }
    }

    /// The world ahead after an action that an earlier run left open.
    fn foresee_recovery(&mut self, open: &Open) {
        let now = self.now.now;
        let mut receipts = open.receipts.clone();
        for (stage, n, step) in open.program.steps() {
            receipts[stage][n].get_or_insert_with(|| step.foreseen(now));
        }
        self.play(&open.op, &open.program, receipts, open.direction);
    }

    fn play(
        &mut self,
        op: &Op,
        program: &Program,
        mut receipts: Vec<Vec<Option<Receipt>>>,
        way: Direction,
    ) {
        if let Some(machine) = op
            .guest()
            .and_then(|vm| self.ahead.guests.get_mut(&vm.uuid))
            .and_then(|guest| guest.machine.as_mut())
        {
            match way {
                Direction::Forward => program
                    .steps()
                    .for_each(|(_, _, step)| step.foresee(machine)),
                Direction::Back => {
                    let steps: Vec<_> = program.steps().collect();
                    let inverses = steps.iter().rev().flat_map(|(_, _, step)| step.inverse());
                    inverses.for_each(|step| step.foresee(machine));
                }
            }
        }
        self.seal(op, program, &mut receipts);
        let changes: Vec<Change> = action::changes(op, program, &receipts, way);
        for change in &changes {
            self.ahead.learn(change);
        }
    }

    /// Gives a foreseen backup its record, as sealing it will.
    fn seal(&self, op: &Op, program: &Program, receipts: &mut [Vec<Option<Receipt>>]) {
        let Some(guest) = op.vm().and_then(|vm| self.ahead.guests.get(&vm.uuid)) else {
            return;
        };
        let maker = Maker {
            host: self.now.host.id.clone(),
            hostname: self.now.host.hostname.clone(),
            state: self.now.state.clone().unwrap_or_else(|| StateId::new("")),
            knib: self.options.version.clone(),
        };
        for (stage, n, step) in program.steps() {
            let sealed = matches!(receipts[stage][n], Some(Receipt::Sealed(_)));
            if matches!(step, Step::Seal { .. })
                && !sealed
                && let Ok(backup) = action::sealed(op, program, receipts, &guest.record, &maker)
            {
                receipts[stage][n] = Some(Receipt::Sealed(Box::new(backup)));
            }
        }
    }

    fn first_blocked(&self, depends_on: &[ActionId]) -> Option<ActionId> {
        depends_on
            .iter()
            .find(|id| self.waiting.contains(*id))
            .cloned()
    }

    pub(super) fn finish(
        self,
        policy: Option<Digest>,
        upcoming: Vec<Upcoming>,
        unprotected: Vec<String>,
    ) -> Plan {
        self.finish_ahead(policy, upcoming, unprotected).0
    }

    /// The plan, and the world it will leave.
    pub(super) fn finish_ahead(
        self,
        policy: Option<Digest>,
        mut upcoming: Vec<Upcoming>,
        unprotected: Vec<String>,
    ) -> (Plan, World) {
        upcoming.sort();
        let plan = Plan {
            format: FORMAT.to_owned(),
            format_version: FORMAT_VERSION.to_owned(),
            knib_version: self.options.version.clone(),
            id: self.options.id.clone(),
            clock: Clock {
                now: self.now.now,
                given: self.options.clock_given,
                timezone: self.timezone,
            },
            host: PlanHost {
                uuid: self.now.host.id.clone(),
                hostname: self.now.host.hostname.clone(),
                uri: self.options.uri.clone(),
            },
            policy,
            summary: Plan::summarise(&self.actions),
            actions: self.actions,
            findings: self.findings,
            upcoming,
            unprotected,
            kept: self.kept,
            resolved: None,
            integrity: None,
        };
        (plan, self.ahead)
    }
}

/// Every backup whose files a VM reads, with the first such VM.
fn readers(world: &World) -> BTreeMap<(VmId, BackupId), &Machine> {
    let guests = world.guests.values();
    let machines = guests.filter_map(|guest| guest.machine.as_ref());
    let read = machines.flat_map(|machine| {
        let files = machine.disks.iter().flat_map(Disk::files);
        let backups = files.filter_map(|file| layout::backup_of(file));
        backups.map(move |backup| (backup, machine))
    });
    let mut readers = BTreeMap::new();
    for (backup, machine) in read {
        readers.entry(backup).or_insert(machine);
    }
    readers
}

/// Who has what an action needs, if somebody has.
fn holder(op: &Op, guest: &Guest, world: &World) -> Option<Block> {
    let wanted = action::leases(op, &guest.record);
    // A backup is read for other VMs as well.
    let mut opens = world.guests.values().flat_map(|guest| &guest.open);
    opens.find_map(|open| {
        let read = open.op.guest().and_then(|vm| world.guests.get(&vm.uuid));
        let held: Vec<Lease> = action::leases(&open.op, &read.unwrap_or(guest).record);
        let clash = held
            .iter()
            .any(|held| wanted.iter().any(|wanted| !held.agrees_with(wanted)));
        let consolidates = open.op.vm().filter(|_| open.consolidates());
        if let (true, Some(vm)) = (clash, consolidates) {
            let text = format!(
                "{} is not consolidated yet: it reads from a backup",
                vm.name
            );
            return Some(Block::Held { until: None, text });
        }
        clash.then(|| busy(open))
    })
}

/// An open action is in the way.
pub(super) fn busy(open: &Open) -> Block {
    let Open {
        command,
        pid,
        since,
        alive,
        ..
    } = open;
    let verb = open.op.verb().as_str().replace('_', " ");
    let state = if *alive { "" } else { ", interrupted" };
    let holder = format!("{verb} by knib {command} (pid {pid}{state}) since {since:.0}");
    Block::Busy { holder }
}

/// Something a person has to decide.
pub(super) fn blocked(code: &str, text: impl Into<String>, hint: impl Into<String>) -> Block {
    Block::Blocked(Refusal::new(code, text, hint))
}
