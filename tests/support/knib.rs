//! knib as a person runs it: arguments in; standard output, standard error and the exit code out.

use std::ffi::OsStr;
use std::fmt;
use std::io::Read;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::ExitStatus;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread;
use std::thread::JoinHandle;

use super::appliance;
use super::deadline::wait_for;
use super::deadline::wait_until;
use super::tool;

/// How long one run of knib may take before it counts as hanging.
const LIMIT_SECONDS: u64 = 300;

/// A run of knib that is being put together.
pub(crate) struct Knib {
    command: Command,
    root: PathBuf,
    run: String,
}

impl Knib {
    /// knib in the directory `root`, with its state there, nothing from the caller's environment, and no input.
    pub(crate) fn new(root: PathBuf, run: String) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_knib"));
        command.env_clear();
        command.env("PATH", std::env::var_os("PATH").expect("there is a PATH"));
        command
            .env("HOME", &root)
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC");
        command.current_dir(&root);
        command
            .env("KNIB_CONNECT", tool::URI)
            .env("KNIB_STATE", root.join("state.db"))
            .envs(appliance::environment())
            .envs(std::env::var_os("KNIB_FAULT").map(|fault| ("KNIB_FAULT", fault)));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Self { command, root, run }
    }

    /// One more argument.
    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// A variable of the environment, such as a crash point.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Starts it, to be killed or finished by the test.
    #[track_caller]
    pub(crate) fn start(mut self) -> Running {
        let mut child = self
            .command
            .spawn()
            .unwrap_or_else(|error| panic!("{:?}: {error}", self.command));
        Running {
            stdout: Heard::begin(child.stdout.take()),
            stderr: Heard::begin(child.stderr.take()),
            child: Some(child),
            what: format!("{:?}", self.command),
            root: self.root,
            run: self.run,
        }
    }

    /// Runs it to its end.
    #[must_use = "assert the exit code, or take a snapshot of the whole"]
    #[track_caller]
    pub(crate) fn run(self) -> Output {
        self.start().finish()
    }
}

/// A knib that was started. It is killed when the value goes.
pub(crate) struct Running {
    child: Option<Child>,
    stdout: Heard,
    stderr: Heard,
    what: String,
    root: PathBuf,
    run: String,
}

/// What comes out of a pipe. A thread reads it, so that a talkative child never waits for its reader.
struct Heard {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Heard {
    fn begin(pipe: Option<impl Read + Send + 'static>) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&bytes);
        let reader = thread::spawn(move || {
            let Some(mut pipe) = pipe else { return };
            let mut piece = [0; 8192];
            while let Ok(length @ 1..) = pipe.read(&mut piece) {
                let mut heard = heard.lock().expect("no reader panics");
                heard.extend_from_slice(&piece[..length]);
            }
        });
        Self {
            bytes,
            reader: Some(reader),
        }
    }

    fn so_far(&self) -> String {
        let bytes = self.bytes.lock().expect("no reader panics");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn end(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("it ends with the pipe");
        }
        let bytes = std::mem::take(&mut *self.bytes.lock().expect("no reader panics"));
        String::from_utf8(bytes).expect("knib prints UTF-8")
    }
}

impl Running {
    fn child(&mut self) -> &mut Child {
        self.child
            .as_mut()
            .expect("the child is there until it is finished")
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child
            .as_ref()
            .expect("the child is there until it is finished")
            .id()
    }

    /// Ends it with `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.child()
            .kill()
            .expect("the child is this process's own");
    }

    /// Sends a signal, such as `-INT`.
    #[track_caller]
    pub(crate) fn signal(&self, signal: &str) {
        tool::run("kill", [signal, &self.pid().to_string()]).must();
    }

    /// Waits until it has said this on stderr.
    #[track_caller]
    pub(crate) fn says(&self, words: &str) {
        wait_until(words, 60, || self.stderr.so_far().contains(words));
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it is still running after five minutes.
    #[must_use = "assert the exit code, or take a snapshot of the whole"]
    #[track_caller]
    pub(crate) fn finish(mut self) -> Output {
        let what = self.what.clone();
        let status = wait_for(&what, LIMIT_SECONDS, || {
            self.child()
                .try_wait()
                .expect("the child can be waited for")
        });
        self.child = None;
        Output {
            stdout: self.stdout.end(),
            stderr: self.stderr.end(),
            status,
            root: self.root.display().to_string(),
            run: self.run.clone(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What a run of knib gave. Its text, as a snapshot shows it, is everything that a person sees, with `$DIR` and `$RUN`
/// for what differs each time; the sandbox has snapshots mask the rest.
pub(crate) struct Output {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    status: ExitStatus,
    root: String,
    run: String,
}

impl Output {
    /// Fails, showing everything, unless this is the exit code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.status.code(),
            Some(code),
            "another exit code than expected, after:\n{self}"
        );
        self
    }

    /// The exit code; none when a signal ended it.
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("no JSON ({error}):\n{self}"))
    }

    fn steady(&self, text: &str) -> String {
        text.replace(&self.root, "$DIR").replace(&self.run, "$RUN")
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.steady(&self.stdout))?;
        if !self.stderr.is_empty() {
            write!(f, "------- stderr -------\n{}", self.steady(&self.stderr))?;
        }
        match self.status.code() {
            Some(0) => Ok(()),
            Some(code) => writeln!(f, "[exit status: {code}]"),
            None => writeln!(f, "[{}]", self.status),
        }
    }
}
