//! The real guest behind a virtual machine, spoken to through its agent.

use serde_json::Value;
use serde_json::json;

use super::deadline::wait_for;
use super::tool::virsh;

/// Under emulation, with every core busy, a boot is slow.
const BOOT_SECONDS: u64 = 120;
const COMMAND_SECONDS: u64 = 120;

/// A booted guest whose agent answered.
pub(crate) struct Guest {
    vm: String,
}

/// How a command in the guest ended.
pub(crate) struct Ended {
    pub(crate) code: i64,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Guest {
    /// The guest of the VM of this name, once its agent answers.
    #[track_caller]
    pub(crate) fn answering(vm: &str) -> Self {
        let guest = Self { vm: vm.to_owned() };
        wait_for(&format!("the guest agent of {vm}"), BOOT_SECONDS, || {
            guest.ask("guest-ping", &json!({})).ok()
        });
        guest
    }

    /// One command to the agent.
    pub(crate) fn ask(&self, command: &str, arguments: &Value) -> Result<Value, String> {
        let request = json!({"execute": command, "arguments": arguments}).to_string();
        let asked = virsh(["qemu-agent-command", "--timeout", "10", &self.vm, &request]);
        if !asked.ok {
            return Err(asked.stderr);
        }
        let answer: Value =
            serde_json::from_str(&asked.stdout).map_err(|error| error.to_string())?;
        Ok(answer["return"].clone())
    }

    /// Runs a shell command in the guest and waits for its end.
    #[track_caller]
    pub(crate) fn try_run(&self, command: &str) -> Ended {
        let arguments = json!({"path": "/bin/sh", "arg": ["-c", command], "capture-output": true});
        let started = self
            .ask("guest-exec", &arguments)
            .unwrap_or_else(|error| panic!("{command}: {error}"));
        let status = wait_for(&format!("the guest's `{command}`"), COMMAND_SECONDS, || {
            let status = self.ask("guest-exec-status", &json!({"pid": started["pid"]}));
            status.ok().filter(|status| status["exited"] == true)
        });
        let text = |key: &str| base64(status[key].as_str().unwrap_or_default());
        Ended {
            code: status["exitcode"].as_i64().unwrap_or(-1),
            stdout: text("out-data"),
            stderr: text("err-data"),
        }
    }

    /// Standard output of a shell command that must succeed.
    #[track_caller]
    pub(crate) fn run(&self, command: &str) -> String {
        let Ended {
            code,
            stdout,
            stderr,
        } = self.try_run(command);
        assert_eq!(
            code, 0,
            "in the guest `{command}` failed:\n{stdout}{stderr}"
        );
        stdout
    }

    /// Writes a file of random bytes on a disk with a file system, and waits until it is on the disk.
    #[track_caller]
    pub(crate) fn write_file(&self, target: &str, name: &str, kib: u64) {
        let file = format!("/mnt/{target}/{name}");
        self.run(&format!("head -c {kib}k /dev/urandom >{file} && sync"));
    }

    /// Makes the file system of a disk read-only, so that nothing writes to the disk until [`Self::resume_writes`].
    #[track_caller]
    pub(crate) fn stop_writes(&self, target: &str) {
        self.run(&format!(
            "sync && mount -o remount,ro /mnt/{target} && sync"
        ));
    }

    /// Makes the file system of a disk writable again.
    #[track_caller]
    pub(crate) fn resume_writes(&self, target: &str) {
        self.run(&format!("mount -o remount,rw /mnt/{target}"));
    }

    /// SHA-256 of a whole disk as the guest reads it, past its caches. Stop the writes first.
    #[track_caller]
    pub(crate) fn disk_sha256(&self, target: &str) -> String {
        let fresh = format!(
            "sync && blockdev --flushbufs /dev/{target} && echo 3 >/proc/sys/vm/drop_caches"
        );
        let printed = self.run(&format!("{fresh} && sha256sum /dev/{target}"));
        printed
            .split(' ')
            .next()
            .expect("sha256sum prints a digest")
            .to_owned()
    }

    /// A name for this boot: another one after every restart, so equal names mean that the guest kept running.
    #[track_caller]
    pub(crate) fn boot_id(&self) -> String {
        self.run("cat /proc/sys/kernel/random/boot_id")
            .trim()
            .to_owned()
    }

    /// Whether its file systems are frozen now.
    #[track_caller]
    pub(crate) fn is_frozen(&self) -> bool {
        let status = self
            .ask("guest-fsfreeze-status", &json!({}))
            .expect("the agent answers this even when frozen");
        status == "frozen"
    }
}

/// Decodes the agent's base64.
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
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
