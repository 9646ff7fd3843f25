//! The state file, judged with a connection of its own: what is stored, what sqlite refuses, what is
//! left by processes that were killed.

mod child;
mod crash;
mod evolve;
mod file;
mod history;
mod index;
mod jobs;
mod journal;
mod lease;
mod look;
mod run;

use std::collections::BTreeMap;
use std::sync::Arc;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use jiff::Timestamp;
use knib::model::backup::Backup;
use knib::model::backup::DiskFile;
use knib::model::backup::Edge;
use knib::model::backup::FORMAT;
use knib::model::backup::Link;
use knib::model::backup::Maker;
use knib::model::backup::Marks;
use knib::model::backup::Slot;
use knib::model::backup::StorageRef;
use knib::model::backup::VmRef;
use knib::model::bytes::Bytes;
use knib::model::digest::Digest;
use knib::model::fault::Fault;
use knib::model::id::ActionId;
use knib::model::id::BackupId;
use knib::model::id::HostId;
use knib::model::id::RunId;
use knib::model::id::StateId;
use knib::model::id::StorageId;
use knib::model::id::Target;
use knib::model::id::VmId;
use knib::model::lease::Lease;
use knib::model::op::BackupOp;
use knib::model::op::Merge;
use knib::model::op::Op;
use knib::model::op::StorageAt;
use knib::model::policy::Quiesce;
use knib::model::program::Program;
use knib::model::program::StepError;
use knib::model::receipt::Consistency;
use knib::model::seconds::Seconds;
use knib::model::step::Step;
use knib::state::State;
use rusqlite::Connection;

/// A directory of its own for a state file.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        Self { dir }
    }

    fn dir(&self) -> &Utf8Path {
        Utf8Path::from_path(self.dir.path()).expect("UTF-8")
    }

    fn path(&self) -> Utf8PathBuf {
        self.dir().join("state.db")
    }

    fn open(&self) -> State {
        State::open(&self.path()).expect("the state opens")
    }

    fn look(&self) -> State {
        let state = State::look(&self.path()).expect("the state can be looked at");
        state.expect("the state is there")
    }

    /// A connection that is not knib's.
    fn sql(&self) -> Connection {
        Connection::open(self.path()).expect("sqlite opens the file")
    }

    /// How many rows a query counts.
    fn count(&self, query: &str) -> i64 {
        self.sql()
            .query_row(&format!("SELECT count(*) FROM {query}"), [], |row| {
                row.get(0)
            })
            .expect("a count")
    }

    /// sqlite's own opinion, and what must hold whatever happened.
    fn check(&self) {
        let sql = self.sql();
        let verdict: String = sql
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .expect("a verdict");
        assert_eq!(verdict, "ok");
        assert_eq!(self.count("pragma_foreign_key_check"), 0);
        let stray = "lease JOIN action ON action.id = lease.action WHERE state <> 'open'";
        assert_eq!(self.count(stray), 0, "leases of closed actions");
        let pairs = "lease a JOIN lease b USING (kind, subject)
            WHERE a.action < b.action AND 'exclusive' IN (a.mode, b.mode)";
        assert_eq!(self.count(pairs), 0, "leases in conflict");
    }
}

/// A file: path, inode, times of change, digest of its content.
type File = (Utf8PathBuf, u64, [i64; 4], Option<Digest>);

/// Every file and directory from `dir` on.
fn fingerprint(dir: &Utf8Path) -> Vec<File> {
    use std::os::unix::fs::MetadataExt;
    let meta = dir.metadata().expect("a file");
    let times = [
        meta.mtime(),
        meta.mtime_nsec(),
        meta.ctime(),
        meta.ctime_nsec(),
    ];
    let content = meta
        .is_file()
        .then(|| Digest::of(&std::fs::read(dir).expect("content")));
    let mut files = vec![(dir.to_owned(), meta.ino(), times, content)];
    if meta.is_dir() {
        for entry in dir.read_dir_utf8().expect("a listing") {
            files.extend(fingerprint(entry.expect("an entry").path()));
        }
    }
    files.sort();
    files
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).expect("in range")
}

fn action(n: usize) -> ActionId {
    ActionId::new(format!("plan/{n}"))
}

fn vm(n: u32) -> VmRef {
    VmRef {
        name: format!("db-{n:02}"),
        uuid: VmId::new(format!("7f1f5d5e-5b1c-4f0a-9a55-{n:012}")),
    }
}

fn backup_id(n: u32) -> BackupId {
    BackupId::new(format!("20261123-020000-{n:08x}"))
}

fn target(name: &str) -> Target {
    Target::new(name)
}

fn storage() -> StorageRef {
    StorageRef {
        name: "nas1".to_owned(),
        id: StorageId::new("1b4b6e9a-0000-4000-8000-000000000001"),
    }
}

fn maker() -> Maker {
    Maker {
        host: HostId::new("5f3c"),
        hostname: "hv1".to_owned(),
        state: StateId::new("9d2e"),
        knib: "0.1.0".to_owned(),
    }
}

fn slot(schedule: &str, second: i64) -> Slot {
    Slot {
        schedule: schedule.to_owned(),
        at: at(second),
    }
}

fn error(text: &str) -> StepError {
    StepError {
        fault: Fault::Io,
        text: text.to_owned(),
        hint: Some("look at the disk".to_owned()),
    }
}

fn backup_op(vm: &VmRef, id: &BackupId) -> Op {
    Op::Backup(Box::new(BackupOp {
        id: id.clone(),
        vm: vm.clone(),
        storage: StorageAt {
            is: storage(),
            path: "/mnt/nas1".into(),
        },
        policy: Some("databases".to_owned()),
        offering: None,
        slots: vec![slot("nightly", 0)],
        parent: None,
        link: None,
        ends_chain: false,
        disks: BTreeMap::new(),
        others: vec![target("vdb")],
        quiesce: Quiesce::Preferred,
        timeout: Seconds(3600),
        compression: None,
    }))
}

fn merge_op(vm: &VmRef) -> Op {
    Op::Merge(Merge {
        vm: vm.clone(),
        leave: false,
    })
}

/// Stages with so many steps each; there is no way back from the last stage on.
fn program(stages: &[usize]) -> Program {
    let step = |stage: usize, n: usize| Step::Discard {
        path: format!("/mnt/nas1/{stage}/{n}").into(),
    };
    let stages: Vec<Vec<_>> = stages
        .iter()
        .enumerate()
        .map(|(stage, steps)| (0..*steps).map(|n| step(stage, n)).collect())
        .collect();
    Program {
        no_return: stages.len().saturating_sub(1),
        stages,
    }
}

/// A backup of one disk; a parent is another one of the same VM.
fn backup(vm: &VmRef, id: &BackupId, parent: Option<&Backup>) -> Backup {
    let vda = target("vda");
    let edge = parent.map(|parent| Edge {
        backup: parent.id.clone(),
        birth: parent.disks[&vda].birth,
    });
    let digest = Digest::of(id.as_str().as_bytes());
    let disk = DiskFile {
        name: "vda.qcow2".to_owned(),
        parent: edge,
        virtual_size: Bytes(10 << 30),
        size: Bytes(u64::MAX),
        birth: digest,
        digest,
        uncompressed: None,
        becomes: None,
        delta: None,
    };
    Backup {
        format: FORMAT,
        id: id.clone(),
        vm: Arc::new(vm.clone()),
        created: at(1),
        parent: parent.map(|parent| parent.id.clone()),
        link: Some(Link {
            chain: 1,
            position: 1,
        }),
        consistency: Consistency::Filesystem,
        policy: Some("databases".to_owned()),
        offering: None,
        slots: vec![slot("nightly", 0)],
        storage: Arc::new(storage()),
        origin: Arc::new(maker()),
        disks: BTreeMap::from([(vda, Box::new(disk))]),
        files: vec!["domain.xml".to_owned()],
        sums: BTreeMap::new(),
        marks: Marks::default(),
    }
}

/// Begins an action that does nothing, and closes it with what it changed.
fn apply(
    state: &State,
    run: &RunId,
    action: &ActionId,
    changes: &[knib::model::change::Change],
) -> knib::state::Result<()> {
    let none: &[Lease] = &[];
    state.begin(run, action, &merge_op(&vm(99)), &program(&[]), none, at(0))?;
    state.close(action, true, changes, at(1))
}
