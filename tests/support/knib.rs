//! knib as a person runs it: arguments in; standard output, standard error and the exit code out.

use std::ffi::OsStr;
use std::fmt;
use std::io::Read;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::ExitStatus;
use std::process::Stdio;
use std::thread;

use super::appliance;
use super::deadline::wait_for;
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
        let child = self
            .command
            .spawn()
            .unwrap_or_else(|error| panic!("{:?}: {error}", self.command));
        Running {
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
    what: String,
    root: PathBuf,
    run: String,
}

/// Reads a pipe to its end on a thread, so that a talkative child never waits for its reader.
fn collect(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8(bytes).expect("knib prints UTF-8")
    })
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

    /// Waits for its end.
    ///
    /// # Panics
    /// When it is still running after five minutes.
    #[must_use = "assert the exit code, or take a snapshot of the whole"]
    #[track_caller]
    pub(crate) fn finish(mut self) -> Output {
        let stdout = collect(self.child().stdout.take());
        let stderr = collect(self.child().stderr.take());
        let what = self.what.clone();
        let status = wait_for(&what, LIMIT_SECONDS, || {
            self.child()
                .try_wait()
                .expect("the child can be waited for")
        });
        self.child = None;
        Output {
            stdout: stdout.join().expect("the reader ends with the pipe"),
            stderr: stderr.join().expect("the reader ends with the pipe"),
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
