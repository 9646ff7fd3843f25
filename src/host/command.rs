//! One way to run a program: without a shell, in a plain locale, in a process group of its own, so
//! that a Ctrl-C on the terminal reaches knib first. Knows nothing of what a program's output means.

use std::env;
use std::io;
use std::pin::pin;
use std::process::ExitStatus;
use std::process::Stdio;
use std::time::Duration;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use rustix::process::Pid;
use rustix::process::Signal;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::process::Child;
use tokio::process::Command;
use tokio::time::sleep;

use crate::host::HostError;
use crate::host::Result;
use crate::host::StopLevel;
use crate::host::Task;
use crate::host::faults;
use crate::model::fault::Fault;

/// How much of a program's last words is kept.
const TAIL: usize = 4096;
/// How long a program that was asked to end may take before it is killed.
const GRACE: Duration = Duration::from_secs(10);

/// A program, found once.
#[derive(Clone, Debug)]
pub(super) struct Program {
    path: Utf8PathBuf,
}

impl Program {
    /// Looks for `name` in `PATH`.
    pub(super) fn find(name: &str) -> Option<Self> {
        let path = env::var_os("PATH")?;
        env::split_paths(&path)
            .filter_map(|dir| Utf8PathBuf::from_path_buf(dir.join(name)).ok())
            .find(|path| path.is_absolute() && may_run(path))
            .map(|path| Self { path })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// Runs it to its end and returns what it printed.
    pub(super) async fn output(&self, args: &[&str], tried: &str) -> Result<Vec<u8>> {
        let mut printed = Vec::new();
        let mut child = self.start(args, tried)?;
        let end = watch(&mut child, |piece| printed.extend_from_slice(piece)).await;
        self.judge(end, tried)?;
        Ok(printed)
    }

    /// Runs it to its end, or until the task says otherwise; `on_output` gets what it prints,
    /// piece by piece.
    pub(super) async fn follow(
        &self,
        args: &[&str],
        tried: &str,
        task: &Task<'_>,
        on_output: impl FnMut(&[u8]),
    ) -> Result<()> {
        let mut child = self.start(args, tried)?;
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let mut work = pin!(watch(&mut child, on_output));
        let (fault, why) = tokio::select! {
            end = &mut work => return self.judge(end, tried),
            () = task.stop.reached(StopLevel::Now) => (Fault::Stopped, "asked to stop"),
            () = expired(task.limit) => (Fault::Timeout, "it took too long"),
        };
        signal(group, Signal::TERM);
        tokio::select! {
            _ = &mut work => {}
            () = sleep(GRACE) => {
                signal(group, Signal::KILL);
                let _ = work.await;
            }
        }
        Err(HostError::new(fault, tried, why))
    }

    fn start(&self, args: &[&str], tried: &str) -> Result<Child> {
        tracing::debug!(command = %shown(&self.path, args), "run");
        Command::new(&self.path)
            .args(args)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| self.failed(&error, tried))
    }

    fn judge(&self, end: io::Result<(ExitStatus, String)>, tried: &str) -> Result<()> {
        let (status, words) = end.map_err(|error| self.failed(&error, tried))?;
        if status.success() {
            return Ok(());
        }
        let fault = faults::of_words(&words).unwrap_or(Fault::Io);
        let cause = match words.trim() {
            "" => format!("{} ended with {status}", self.path),
            words => words.to_owned(),
        };
        Err(HostError {
            exit: status.code(),
            ..HostError::new(fault, tried, cause)
        })
    }

    fn failed(&self, error: &io::Error, tried: &str) -> HostError {
        let cause = format!("{}: {error}", self.path);
        HostError::new(faults::of_io(error), tried, cause)
    }
}

/// Waits until a limit has passed; for ever where there is none.
pub(super) async fn expired(limit: Option<Duration>) {
    match limit {
        Some(limit) => sleep(limit).await,
        None => std::future::pending().await,
    }
}

/// Reads both outputs to their ends. Returns how it ended and its last words on stderr.
async fn watch(
    child: &mut Child,
    on_output: impl FnMut(&[u8]),
) -> io::Result<(ExitStatus, String)> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let mut tail = Vec::new();
    let (printed, warned, status) = tokio::join!(
        drain(stdout, on_output),
        drain(stderr, |piece| {
            tail.extend_from_slice(piece);
            tail.drain(..tail.len().saturating_sub(TAIL));
        }),
        child.wait(),
    );
    printed.and(warned)?;
    Ok((status?, String::from_utf8_lossy(&tail).into_owned()))
}

async fn drain(
    from: Option<impl AsyncRead + Unpin>,
    mut on_piece: impl FnMut(&[u8]),
) -> io::Result<()> {
    let Some(mut from) = from else { return Ok(()) };
    let mut buffer = vec![0; 8192];
    loop {
        match from.read(&mut buffer).await? {
            0 => return Ok(()),
            length => on_piece(&buffer[..length]),
        }
    }
}

fn signal(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        // It may have ended by itself a moment ago.
        let _ = rustix::process::kill_process_group(group, signal);
    }
}

fn may_run(path: &Utf8Path) -> bool {
    path.is_file() && rustix::fs::access(path.as_std_path(), rustix::fs::Access::EXEC_OK).is_ok()
}

/// As it could be typed into a shell.
fn shown(program: &Utf8Path, args: &[&str]) -> String {
    let quoted = |word: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
        if !word.is_empty() && word.chars().all(plain) {
            word.to_owned()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    };
    let words: Vec<_> = std::iter::once(program.as_str())
        .chain(args.iter().copied())
        .map(quoted)
        .collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_shown_as_they_could_be_typed() {
        let args = ["-f", "qcow2", "/d/it's here", ""];
        assert_eq!(
            shown("/usr/bin/qemu-img".into(), &args),
            r"/usr/bin/qemu-img -f qcow2 '/d/it'\''s here' ''"
        );
    }

    #[tokio::test]
    async fn the_last_words_of_a_failure_are_its_cause() {
        let sh = Program::find("sh").expect("a shell is installed");
        let args = ["-c", "echo x: No space left on device >&2; exit 3"];
        let error = sh.output(&args, "try").await.expect_err("it exits with 3");
        assert_eq!(error.fault, Fault::NoSpace);
        assert_eq!(error.cause, "x: No space left on device");
    }
}
