//! One guestfish and its appliance, from the start to the end: questions on its standard input, each
//! answered on its standard output and, where something failed, on its standard error.
//!
//! guestfish ends with its input: one whose knib was killed ends by itself and leaves nothing.

use std::fs;
use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::Child;
use std::process::ChildStdin;
use std::process::ChildStdout;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::mpsc;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use camino::Utf8Path;
use rustix::process::Pid;
use rustix::process::Signal;

use crate::host::HostError;
use crate::host::Result;
use crate::host::faults;
use crate::host::guestfs::frame::Answer;
use crate::host::guestfs::frame::Answers;
use crate::host::guestfs::words;
use crate::model::fault::Fault;

/// How long the appliance may take to end by itself.
const GRACE: Duration = Duration::from_secs(5);
/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(20);
/// So much of what it complains about is kept.
const WORDS: usize = 16 * 1024;

/// Ends an appliance from another thread.
#[derive(Clone, Debug, Default)]
pub struct Brake(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    pulled: bool,
    guestfish: Option<Pid>,
}

impl Brake {
    /// Ends it now. What is asked of it fails with `Stopped`.
    pub fn pull(&self) {
        let mut held = self.held();
        held.pulled = true;
        if let Some(pid) = held.guestfish {
            end(pid);
        }
    }

    pub(super) fn is_pulled(&self) -> bool {
        self.held().pulled
    }

    fn hold(&self, guestfish: Option<Pid>) {
        self.held().guestfish = guestfish;
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the virtual machine, after which guestfish tidies up and ends; without one, guestfish itself.
fn end(guestfish: Pid) {
    let id = guestfish.as_raw_nonzero();
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
    let children = children.unwrap_or_default();
    let is_qemu = |child: &&str| {
        let name = fs::read_to_string(format!("/proc/{child}/comm"));
        name.is_ok_and(|name| name.starts_with("qemu"))
    };
    let qemu = children.split_whitespace().filter(is_qemu);
    let qemu: Vec<_> = qemu
        .filter_map(|child| Pid::from_raw(child.parse().ok()?))
        .collect();
    // Whatever ended a moment ago needs no signal.
    for child in &qemu {
        let _ = rustix::process::kill_process(*child, Signal::KILL);
    }
    if qemu.is_empty() {
        let _ = rustix::process::kill_process_group(guestfish, Signal::TERM);
    }
}

/// A guestfish that runs.
pub(super) struct Session {
    child: Child,
    input: Option<ChildStdin>,
    answers: Option<Answers<ChildStdout>>,
    complaints: Receiver<String>,
    mark: String,
    brake: Brake,
}

impl Session {
    /// Starts guestfish, not yet its appliance.
    pub(super) fn start(guestfish: &Utf8Path, emulate: bool, brake: &Brake) -> Result<Self> {
        let tried = "start guestfish";
        let failed = |error: &io::Error| HostError::new(faults::of_io(error), tried, error);
        let mut command = Command::new(guestfish);
        command
            .env("LC_ALL", "C")
            // What they print would be taken for failures.
            .env_remove("LIBGUESTFS_DEBUG")
            .env_remove("LIBGUESTFS_TRACE");
        if std::env::var_os("LIBGUESTFS_BACKEND").is_none() {
            // libvirt's would run as another user, which may not read backups.
            command.env("LIBGUESTFS_BACKEND", "direct");
        }
        if emulate {
            command.env("LIBGUESTFS_BACKEND_SETTINGS", "force_tcg");
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A Ctrl-C on the terminal reaches knib first.
            .process_group(0)
            .spawn()
            .map_err(|error| failed(&error))?;
        brake.hold(Pid::from_raw(child.id().cast_signed()));
        let mark = mark().map_err(|error| failed(&error))?;
        let complaints = listen(child.stderr.take(), mark.clone());
        let ending = format!("\u{1e}{mark}\n").into_bytes();
        Ok(Self {
            input: child.stdin.take(),
            answers: child.stdout.take().map(|from| Answers::new(from, ending)),
            child,
            complaints,
            mark,
            brake: brake.clone(),
        })
    }

    /// Asks, and gives the answer to `read` as it comes. `tried` reads after "could not".
    pub(super) fn ask<T>(
        &mut self,
        command: &str,
        args: &[&[u8]],
        tried: &str,
        read: impl FnOnce(&mut Answer<'_, ChildStdout>) -> Result<T>,
    ) -> Result<T> {
        let line = words::line(command, args)?;
        self.put(&line, tried, read)
    }

    /// The same of a question that is a line already.
    pub(super) fn put<T>(
        &mut self,
        line: &str,
        tried: &str,
        read: impl FnOnce(&mut Answer<'_, ChildStdout>) -> Result<T>,
    ) -> Result<T> {
        // A command that nobody knows ends the complaints, as the mark ends the answer. A leading `-`
        // lets guestfish go on after a failure.
        let mark = &self.mark;
        let asked = format!("-{line}\n-{mark}\necho \"\\x1e{mark}\"\n");
        let written = match &mut self.input {
            Some(input) => input
                .write_all(asked.as_bytes())
                .and_then(|()| input.flush()),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        };
        let answers = self.answers.as_mut().filter(|_| written.is_ok());
        let Some(answers) = answers else {
            return Err(self.broken(tried));
        };
        let mut answer = answers.next();
        let result = read(&mut answer);
        if let Err(error) = &result
            && error.fault != Fault::Io
        {
            // What is left of the answer may be long, and nobody wants it: the session is over.
            self.answers = None;
            return result;
        }
        if io::copy(&mut answer, &mut io::sink()).is_err() {
            return Err(self.broken(tried));
        }
        let said = self.complaints.recv().unwrap_or_default();
        if said.trim().is_empty() {
            return result;
        }
        let fault = faults::of_words(&said).unwrap_or(Fault::Io);
        Err(HostError::new(fault, tried, words::cause(&said)))
    }

    /// Starts the appliance. `Timeout` when it is not there in time.
    pub(super) fn run(&mut self, limit: Duration) -> Result<()> {
        let (done, waits) = mpsc::channel::<()>();
        let guestfish = Pid::from_raw(self.child.id().cast_signed());
        let watch = thread::spawn(move || {
            let late = waits.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout);
            if let Some(pid) = guestfish.filter(|_| late) {
                end(pid);
            }
            late
        });
        let ran = self.ask("run", &[], "start libguestfs's appliance", |_| Ok(()));
        drop(done);
        let late = watch.join().unwrap_or_default();
        if late && !self.brake.is_pulled() {
            let cause = format!("it was not there after {} s", limit.as_secs());
            let tried = "start libguestfs's appliance";
            return Err(HostError::new(Fault::Timeout, tried, cause));
        }
        ran
    }

    /// Why there is no answer any more.
    fn broken(&mut self, tried: &str) -> HostError {
        if self.brake.is_pulled() {
            return HostError::new(Fault::Stopped, tried, "asked to stop");
        }
        self.input = None;
        let said: String = self.complaints.iter().collect();
        let cause = match words::cause(&said) {
            nothing if nothing.is_empty() => "the appliance ended unexpectedly".to_owned(),
            said => said,
        };
        HostError::new(Fault::Io, tried, cause)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Its input ends, and so does it; what it still writes nobody reads.
        self.input = None;
        self.answers = None;
        let since = Instant::now();
        let mut asked = false;
        while matches!(self.child.try_wait(), Ok(None)) {
            let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) else {
                break;
            };
            if since.elapsed() > 2 * GRACE {
                let _ = rustix::process::kill_process_group(pid, Signal::KILL);
            } else if since.elapsed() > GRACE && !asked {
                asked = true;
                end(pid);
            }
            thread::sleep(LOOK);
        }
        self.brake.hold(None);
    }
}

/// What no guest can have written: drawn now.
fn mark() -> io::Result<String> {
    let mut bytes = [0; 16];
    let mut filled = 0;
    while filled < bytes.len() {
        let flags = rustix::rand::GetRandomFlags::empty();
        filled += rustix::rand::getrandom(&mut bytes[filled..], flags)?;
    }
    Ok(format!("knib-{:032x}", u128::from_be_bytes(bytes)))
}

/// Reads what it complains about on a thread, so that it never waits for a reader: one text for each
/// question, and what comes before its end.
fn listen(from: Option<impl Read + Send + 'static>, mark: String) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let Some(from) = from else { return };
        let mut from = BufReader::new(from);
        let (mut said, mut line) = (String::new(), Vec::new());
        while from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&line);
            if text.contains(&mark) {
                if sender.send(std::mem::take(&mut said)).is_err() {
                    return;
                }
            } else if said.len() < WORDS {
                said += &text;
            }
            line.clear();
        }
        let _ = sender.send(said);
    });
    receiver
}
