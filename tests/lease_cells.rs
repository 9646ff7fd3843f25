//! Every cell of the lease table in the crate's page, tried on a state: what it names is kept from others while its run
//! lives and when that is killed, by nothing else, and never longer.

use std::collections::BTreeSet;
use std::fs;

use jiff::Timestamp;
use knib::action;
use knib::model::id::ActionId;
use knib::model::lease::Lease;
use knib::model::lease::Mode;
use knib::model::lease::Subject;
use knib::model::op::Named;
use knib::model::op::Op;
use knib::model::program::Program;
use knib::state::State;
use knib::state::StateError;

use crate::crash::Desk;
use crate::crate_docs;

/// What somebody else may want of a backup.
#[derive(Clone, Copy, Debug)]
enum Want {
    Read,
    Remark,
    Delete,
}

impl Want {
    const ALL: [Self; 3] = [Self::Read, Self::Remark, Self::Delete];

    fn leases(self, backup: &knib::model::id::BackupId) -> Vec<Lease> {
        let shared = Lease {
            subject: Subject::Backup(backup.clone()),
            mode: Mode::Shared,
        };
        match self {
            Self::Read => vec![shared],
            Self::Remark => vec![shared, Lease::exclusive(Subject::Marks(backup.clone()))],
            Self::Delete => vec![Lease::exclusive(Subject::Backup(backup.clone()))],
        }
    }

    /// Whether a cell with this word keeps it waiting.
    fn waits_for(self, word: &str) -> bool {
        match (word, self) {
            ("-", _)
            | ("shared", Self::Remark)
            | ("shared" | "shared, sole writer", Self::Read) => false,
            ("shared" | "shared, sole writer" | "exclusive", _) => true,
            (word, _) => panic!("the table has no word {word:?}"),
        }
    }
}

/// A state, and how many actions were begun in it.
struct Leased {
    desk: Desk,
    state: State,
    begun: usize,
}

impl Leased {
    fn new() -> Self {
        let desk = Desk::new();
        let state = State::open(&desk.state()).expect("a state can be made");
        Self {
            desk,
            state,
            begun: 0,
        }
    }

    fn begin(&mut self, run: &knib::state::Run, leases: &[Lease]) -> Result<ActionId, StateError> {
        self.begun += 1;
        let id = ActionId::new(format!("plan/{}", self.begun));
        let op = Op::OfferingDelete(Named {
            name: "gold".to_owned(),
        });
        let program = Program::default();
        let begun = self.state.begin(&run.id, &id, &op, &program, leases, now());
        begun.map(|()| id)
    }

    fn close(&self, action: &ActionId) {
        let closed = self.state.close(action, true, &[], now());
        closed.expect("it can be closed");
    }

    /// Holds leases in one run and wants others in another: whether they have to wait, which is the same when the
    /// holder is killed, and over when what it began is.
    fn waits(&mut self, held: &[Lease], wanted: &[Lease]) -> bool {
        let holds = self.state.start_run("apply", now()).expect("a run");
        let wants = self.state.start_run("restore", now()).expect("a run");
        let action = self.begin(&holds, held).expect("nothing is held");
        let beside = self.begin(&wants, wanted);
        if let Ok(other) = &beside {
            self.close(other);
        }
        let dead = holds.id.clone();
        drop(holds);
        if self.begun.is_multiple_of(2) {
            // A kill leaves the file, a host that died may not.
            let lock = format!("{}.run/{dead}", self.desk.state());
            fs::write(lock, "").expect("the directory is there");
        }
        let after = self.begin(&wants, wanted);
        match (&beside, &after) {
            (Ok(_), Ok(other)) => self.close(other),
            (Err(StateError::Held(living)), Err(StateError::Held(dead))) => {
                assert!(living.alive && !dead.alive, "{living} {dead}");
            }
            other => panic!("a kill changes who waits: {other:?}"),
        }
        self.state
            .adopt(&wants.id, &action, now())
            .expect("a dead run's action can be taken up");
        self.close(&action);
        let free = self
            .begin(&wants, wanted)
            .expect("nothing is held any more");
        self.close(&free);
        wants.finish(&self.state, now()).expect("it ends");
        beside.is_err()
    }
}

fn now() -> Timestamp {
    "2026-11-24T09:00:00Z".parse().expect("an instant")
}

#[test]
fn every_cell_keeps_what_it_names_and_nothing_else() {
    let mut leased = Leased::new();
    let mut tried = BTreeSet::new();
    for (op, record) in crate_docs::actions() {
        let held = action::leases(&op, &record);
        let [of_vm, of_backup, continued] = crate_docs::found(&op, &record);
        let row = crate_docs::row(&op);
        if let Some(vm) = crate_docs::vm(&op) {
            let wanted = [Lease::exclusive(Subject::Vm(vm))];
            let waits = leased.waits(&held, &wanted);
            assert_eq!(waits, of_vm == "exclusive", "{row}, the VM");
        }
        let (backup, above) = crate_docs::read(&op, &record);
        let backup = backup.iter().map(|id| (id, &of_backup));
        for (id, word) in backup.chain(above.iter().map(|id| (id, &continued))) {
            for want in Want::ALL {
                let waits = leased.waits(&held, &want.leases(id));
                assert_eq!(waits, want.waits_for(word), "{row}, {id}: {want:?}");
            }
        }
        tried.insert(row);
    }
    let rows: BTreeSet<_> = crate_docs::table().into_keys().collect();
    assert_eq!(tried, rows, "a row that nothing tries");
}
