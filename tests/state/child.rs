//! Other processes: this test binary again, told what to do by its environment, killed by the test.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::process::Child;
use std::process::ChildStdout;
use std::process::Command;
use std::process::Stdio;

use camino::Utf8Path;
use knib::model::id::ActionId;
use knib::model::lease::Lease;
use knib::model::lease::Subject;
use knib::state::State;
use rusqlite::Connection;

use super::at;
use super::backup_id;
use super::backup_op;
use super::merge_op;
use super::program;
use super::vm;

/// Each line a child says begins so; the test harness says other things.
const SAYS: &str = "child: ";

/// A child that is killed when the test ends, however it ends.
pub(super) struct Other {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Other {
    pub(super) fn start(task: &str, path: &Utf8Path) -> Self {
        Self::spawn(command(task, path))
    }

    pub(super) fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        Self { child, output }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it says next; none when it has ended.
    pub(super) fn says(&mut self) -> Option<String> {
        let mut line = String::new();
        loop {
            line.clear();
            if self.output.read_line(&mut line).expect("a line") == 0 {
                return None;
            }
            if let Some((_, said)) = line.trim_end().split_once(SAYS) {
                return Some(said.to_owned());
            }
        }
    }

    /// SIGKILL; returns what it had said before and nobody had read.
    pub(super) fn kill(mut self) -> Vec<String> {
        self.child.kill().expect("killed");
        self.child.wait().expect("gone");
        std::iter::from_fn(|| self.says()).collect()
    }

    /// Waits for it to end by itself.
    pub(super) fn ends_well(mut self) -> Vec<String> {
        let said = std::iter::from_fn(|| self.says()).collect();
        assert!(self.child.wait().expect("gone").success());
        said
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // Both fail when it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command line of a child.
pub(super) fn command(task: &str, path: &Utf8Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command
        .args(["--exact", "state::child::main", "--nocapture"])
        .env("KNIB_TEST_TASK", task)
        .env("KNIB_TEST_STATE", path);
    command
}

pub(super) fn say(what: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "{SAYS}{what}").expect("said");
    out.flush().expect("said");
}

/// Until it is killed.
fn wait() {
    let _ = std::io::stdin().read(&mut [0]);
}

/// The other process: does nothing unless it is told what.
#[test]
fn main() {
    let Ok(task) = std::env::var("KNIB_TEST_TASK") else {
        return;
    };
    let path = std::env::var("KNIB_TEST_STATE").expect("a path");
    let path = Utf8Path::new(&path);
    let (task, argument) = task.split_once(' ').unwrap_or((&task, ""));
    match task {
        "hold" => hold(path),
        "spill" => spill(path),
        "make" => make(path),
        "write" => write(path, argument),
        "look" => look(path),
        "script" => super::crash::play(path),
        other => panic!("no task {other}"),
    }
}

/// Begins an action and works on it.
fn hold(path: &Utf8Path) {
    let state = State::open(path).expect("open");
    let run = state.start_run("restore", at(0)).expect("a run");
    let vm = vm(1);
    let leases = [
        Lease::exclusive(Subject::Vm(vm.uuid.clone())),
        Lease::shared(Subject::Backup(backup_id(1))),
    ];
    let action = ActionId::new("held/0");
    let op = backup_op(&vm, &backup_id(2));
    let program = program(&[1, 1]);
    state
        .begin(&run.id, &action, &op, &program, &leases, at(1))
        .expect("begun");
    state.intend(&action, 0, at(2)).expect("intended");
    say(run.id.as_str());
    wait();
}

/// Is in the middle of a transaction, part of which is in the file already.
fn spill(path: &Utf8Path) {
    let sql = Connection::open(path).expect("open");
    sql.execute_batch(
        "PRAGMA cache_size = 2; PRAGMA cache_spill = 2; BEGIN IMMEDIATE;
         DELETE FROM meta;
         INSERT INTO vm (id, name) WITH RECURSIVE n (n) AS (
             SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 20000)
         SELECT 'half written ' || n, 'x' FROM n;",
    )
    .expect("written");
    say("written");
    wait();
}

fn make(path: &Utf8Path) {
    say("making");
    let state = State::open(path).expect("open");
    say(state.id().as_str());
    wait();
}

/// Begins and closes actions of its own, fast.
fn write(path: &Utf8Path, name: &str) {
    let state = State::open(path).expect("open");
    let run = state.start_run("apply", at(0)).expect("a run");
    for n in 0..50 {
        let action = ActionId::new(format!("{name}/{n}"));
        let (op, program) = (merge_op(&vm(1)), program(&[1]));
        state
            .begin(&run.id, &action, &op, &program, &[], at(n))
            .expect("begun");
        state.intend(&action, 0, at(n)).expect("intended");
        let receipt = knib::model::receipt::Receipt::Done;
        state.done(&action, 0, 0, &receipt, at(n)).expect("done");
        state.close(&action, true, &[], at(n)).expect("closed");
    }
    run.finish(&state, at(100)).expect("finished");
}

/// Looks, and says what it sees.
fn look(path: &Utf8Path) {
    let state = State::look(path).expect("looked").expect("there");
    let records = state.records().expect("records");
    let opens = state.opens().expect("opens");
    say(state.id().as_str());
    say(&format!("{} records, {} open", records.len(), opens.len()));
}
