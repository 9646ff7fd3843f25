//! What a guest is put through: its agent answers, its screen shows something, a program in it does well.

use std::time::Duration;

use camino::Utf8PathBuf;
use serde_json::Value;
use serde_json::json;
use tokio::time::Instant;

use crate::engine::Engine;
use crate::engine::perform::conflict;
use crate::engine::perform::picture::Picture;
use crate::host::Host;
use crate::host::HostError;
use crate::model::fault::Fault;
use crate::model::id::VmId;
use crate::model::machine::Power;
use crate::model::op::Command;
use crate::model::op::Trial;
use crate::model::op::Wait;
use crate::model::program::StepError;

/// From one look at a guest to the next.
const LOOK: Duration = Duration::from_millis(500);
/// How long an agent may take for a single answer.
const ANSWER: Duration = Duration::from_secs(5);

/// A guest that is tried.
pub(super) struct Guest<'a, H> {
    pub(super) engine: &'a Engine<H>,
    pub(super) vm: &'a VmId,
    pub(super) name: &'a str,
    pub(super) trial: &'a Trial,
    /// Where the picture goes.
    pub(super) screenshot: Utf8PathBuf,
}

/// What a trial showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shown {
    /// What the guest failed at; empty: nothing.
    pub(super) reasons: Vec<String>,
    /// Its agent is one thing of that.
    pub(super) unanswered: bool,
    /// There is a picture.
    pub(super) pictured: bool,
}

/// Why a trial ends before its end.
enum End {
    /// The guest did not live to see it.
    Failed(String),
    /// It cannot be held.
    Error(StepError),
}

impl<E: Into<StepError>> From<E> for End {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

impl<H: Host> Guest<'_, H> {
    /// Boot, picture, program; what cannot follow is left out.
    pub(super) async fn judge(&self, knows_agent: bool) -> Result<Shown, StepError> {
        let mut shown = Shown::default();
        match self.steps(knows_agent, &mut shown).await {
            Ok(()) => {}
            Err(End::Failed(reason)) => shown.reasons.push(reason),
            Err(End::Error(error)) => return Err(error),
        }
        Ok(shown)
    }

    async fn steps(&self, knows_agent: bool, shown: &mut Shown) -> Result<(), End> {
        let trial = self.trial;
        let waits = trial.command.is_some()
            || match trial.boot {
                Wait::Never => false,
                Wait::WhereKnown => knows_agent,
                Wait::Always => true,
            };
        if waits && !self.answers().await? {
            shown.unanswered = true;
            let within = trial.boot_timeout;
            let reason = format!("no guest agent answered within {within}");
            shown.reasons.push(reason);
        }
        if let Some(wait) = trial.screenshot {
            // One that did not boot by now shows what there is to see.
            if !shown.unanswered {
                tokio::time::sleep(wait.duration()).await;
            }
            let flat = self.picture().await?;
            shown.pictured = true;
            if flat {
                let reason = "its screen shows nothing: one colour fills more than 98 % of it";
                shown.reasons.push(reason.to_owned());
            }
        }
        if let Some(command) = trial.command.as_ref().filter(|_| !shown.unanswered) {
            shown.reasons.extend(self.run(command).await?);
        }
        self.lives().await
    }

    /// Whether the agent answers in time.
    async fn answers(&self) -> Result<bool, End> {
        let deadline = Instant::now() + self.trial.boot_timeout.duration();
        loop {
            let ping = json!({ "execute": "guest-ping" });
            if self.engine.host.ask(self.vm, &ping, ANSWER).await.is_ok() {
                return Ok(true);
            }
            self.lives().await?;
            if Instant::now() >= deadline {
                return Ok(false);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Takes a picture; whether it shows nothing.
    async fn picture(&self) -> Result<bool, End> {
        self.lives().await?;
        let taken = self.engine.host.screenshot(self.vm).await?;
        let odd = |why: String| StepError {
            fault: Fault::Io,
            text: format!("the picture of its screen makes no sense: {why}"),
            hint: None,
        };
        let picture = Picture::read(&taken).map_err(odd)?;
        let file = picture.png().map_err(odd)?;
        self.engine.host.write(&self.screenshot, &file).await?;
        Ok(picture.is_flat())
    }

    /// Runs a program in the guest; what it did wrong.
    async fn run(&self, command: &Command) -> Result<Option<String>, End> {
        let path = &command.path;
        let deadline = Instant::now() + command.timeout.duration();
        let arguments = json!({ "path": path, "arg": command.arguments, "capture-output": true });
        let order = json!({ "execute": "guest-exec", "arguments": arguments });
        let begun = match self.engine.host.ask(self.vm, &order, ANSWER).await {
            Ok(begun) => begun,
            Err(error) if is_refusal(&error) => {
                return Ok(Some(format!("{path} could not be run: {}", error.cause)));
            }
            Err(error) => {
                self.lives().await?;
                return Err(error.into());
            }
        };
        let arguments = json!({ "pid": begun["pid"] });
        let order = json!({ "execute": "guest-exec-status", "arguments": arguments });
        loop {
            match self.engine.host.ask(self.vm, &order, ANSWER).await {
                Ok(status) if status["exited"] == true => return Ok(wrong(command, &status)),
                _ => self.lives().await?,
            }
            if Instant::now() >= deadline {
                let within = command.timeout;
                return Ok(Some(format!("{path} did not end within {within}")));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Goes on while the VM runs.
    async fn lives(&self) -> Result<(), End> {
        match self.engine.host.machine(self.vm).await {
            Ok(machine) if machine.power == (Power::Paused { io_error: true }) => {
                let hint = "is primary full, or the storage gone?";
                Err(conflict("QEMU paused it for an I/O error", hint).into())
            }
            Ok(_) => Ok(()),
            Err(error) if error.fault == Fault::Gone => {
                let words = self.engine.host.last_words(self.name).await?;
                if words.contains("reason=shutdown") {
                    return Err(End::Failed("its guest shut itself down".to_owned()));
                }
                let text = format!("its VM ended by itself: {words}");
                Err(conflict(text, "journalctl -u libvirtd may say more").into())
            }
            // The daemon may be away for a moment.
            Err(error) if error.fault.is_transient() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// The agent carried an order out, and it failed: not one that knows no such order, or must not do it.
fn is_refusal(error: &HostError) -> bool {
    let cause = &error.cause;
    let unable = ["disabled", "not been found", "not allowed", "not enabled"];
    cause.contains("agent command failed") && !unable.iter().any(|word| cause.contains(word))
}

/// What a program that ended did wrong.
fn wrong(command: &Command, status: &Value) -> Option<String> {
    let path = &command.path;
    let text = |key: &str| base64(status[key].as_str().unwrap_or_default());
    let said = |text: &str| shortened(text.trim());
    if let Some(signal) = status["signal"].as_i64() {
        return Some(format!("{path} was killed by signal {signal}"));
    }
    let code = status["exitcode"].as_i64().unwrap_or(-1);
    if code != i64::from(command.exit_code) {
        let expected = command.exit_code;
        let mut reason = format!("{path} exited with {code}, {expected} was expected");
        let told = [text("err-data"), text("out-data")];
        if let Some(told) = told.iter().find(|text| !text.trim().is_empty()) {
            reason += &format!(": {}", said(told));
        }
        return Some(reason);
    }
    let expected = command.output.as_deref()?;
    let found = text("out-data");
    (found.trim_end() != expected.trim_end()).then(|| {
        let (found, expected) = (said(&found), said(expected));
        format!("{path} printed {found:?}, {expected:?} was expected")
    })
}

/// The end of a long text, where what went wrong is said.
fn shortened(text: &str) -> String {
    const LONGEST: usize = 200;
    let characters = text.chars().count();
    if characters <= LONGEST {
        return text.to_owned();
    }
    let end: String = text.chars().skip(characters - LONGEST).collect();
    format!("…{end}")
}

/// What an agent sends; whatever is not of its alphabet says nothing.
fn base64(text: &str) -> String {
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0u32, 0);
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => continue,
        };
        bits = (bits << 6 | u32::from(value)) & 0xff_ffff;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).expect("it is masked"));
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::seconds::Seconds;

    fn command(exit_code: i32, output: Option<&str>) -> Command {
        Command {
            path: "/bin/health".to_owned(),
            arguments: Vec::new(),
            timeout: Seconds(1),
            exit_code,
            output: output.map(str::to_owned),
        }
    }

    #[test]
    fn a_program_is_judged_by_its_exit_code_and_what_it_prints() {
        // "all well\n" and "no such table\n"
        let ended = |code: i64| json!({ "exited": true, "exitcode": code, "out-data": "YWxsIHdlbGwK", "err-data": "bm8gc3VjaCB0YWJsZQo=" });
        let silent = json!({ "exited": true, "exitcode": 0 });
        let killed = json!({ "exited": true, "signal": 9 });
        assert_eq!(wrong(&command(0, None), &ended(0)), None);
        assert_eq!(wrong(&command(3, None), &ended(3)), None);
        assert_eq!(wrong(&command(0, Some("all well")), &ended(0)), None);
        assert_eq!(
            wrong(&command(0, Some("")), &silent),
            None,
            "no output is some"
        );
        let told = |command: Command, status: &Value| wrong(&command, status).expect("wrong");
        assert_eq!(
            told(command(0, None), &ended(1)),
            "/bin/health exited with 1, 0 was expected: no such table"
        );
        assert_eq!(
            told(command(0, Some("all good")), &ended(0)),
            r#"/bin/health printed "all well", "all good" was expected"#
        );
        assert_eq!(
            told(command(0, Some("ok")), &silent),
            r#"/bin/health printed "", "ok" was expected"#
        );
        assert_eq!(
            told(command(0, None), &killed),
            "/bin/health was killed by signal 9"
        );
    }

    #[test]
    fn an_agent_that_may_not_is_no_guest_that_failed() {
        let said = |words: &str| {
            let cause = format!(
                "internal error: unable to execute QEMU agent command 'guest-exec': Guest agent command failed, error was '{words}'"
            );
            is_refusal(&HostError::new(Fault::Agent, "ask", cause))
        };
        assert!(said(
            "Failed to execute child process “/bin/health” (No such file or directory)"
        ));
        assert!(!said(
            "The command guest-exec has been disabled for this instance"
        ));
        assert!(!said("The command guest-exec has not been found"));
        let silent = HostError::new(Fault::Agent, "ask", "Guest agent is not responding");
        assert!(!is_refusal(&silent));
    }
}
