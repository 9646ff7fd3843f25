//! Files in disk images, by way of libguestfs: a small virtual machine of its own (the appliance)
//! reads them, so that whatever a guest wrote meets a kernel that has nothing else.
//!
//! Nothing is mounted on this host and no volume group is seen here. Images are opened for reading;
//! what a file system's own repair writes at mounting goes to a scratch file. All calls block.
//!
//! ```text
//! words    quoting, parsing        session  the process, questions and answers
//! frame    where an answer ends    browse   file systems, mounting, finding a path
//! list     what a directory holds  take     files and directories as they come
//! ```

mod browse;
mod frame;
mod list;
mod session;
mod stream;
mod take;
mod words;

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use schemars::JsonSchema;
use serde::Serialize;

use crate::host::HostError;
use crate::host::Result;
use crate::host::command::Program;
use crate::host::faults;
pub use crate::host::guestfs::browse::Filesystem;
pub use crate::host::guestfs::browse::View;
pub use crate::host::guestfs::list::About;
pub use crate::host::guestfs::list::Listed;
pub use crate::host::guestfs::session::Brake;
use crate::host::guestfs::session::Session;
use crate::model::fault::Fault;
use crate::model::id::Target;

/// With the processor's help an appliance is there in seconds. Some hosts offer that help and hang.
const LIMIT: Duration = Duration::from_secs(60);
/// Emulated it takes longer, the more so on a busy host.
const EMULATED: Duration = Duration::from_secs(600);

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Kind {
    File,
    Directory,
    Symlink,
    CharDevice,
    BlockDevice,
    Fifo,
    Socket,
}

impl Kind {
    /// Of a mode's upper bits.
    fn of(mode: u32) -> Option<Self> {
        Some(match mode & 0o170_000 {
            0o100_000 => Self::File,
            0o040_000 => Self::Directory,
            0o120_000 => Self::Symlink,
            0o020_000 => Self::CharDevice,
            0o060_000 => Self::BlockDevice,
            0o010_000 => Self::Fifo,
            0o140_000 => Self::Socket,
            _ => return None,
        })
    }
}

/// libguestfs as it is installed here.
#[derive(Clone, Debug)]
pub struct Guestfs {
    guestfish: Utf8PathBuf,
    qemu_img: Utf8PathBuf,
}

impl Guestfs {
    /// Looks for it.
    ///
    /// # Errors
    /// `Gone`: it is not installed.
    pub fn find() -> Result<Self> {
        let found = Program::find("guestfish").ok_or_else(|| {
            HostError::new(
                Fault::Gone,
                "find guestfish, which reads files in backups",
                "it is not in PATH",
            )
            .hinted("install it: guestfish on Debian and Ubuntu, libguestfs and libguestfs-xfs on Fedora")
        })?;
        let qemu_img = Program::find("qemu-img")
            .ok_or_else(|| HostError::new(Fault::Gone, "find qemu-img", "it is not in PATH"))?;
        Ok(Self {
            guestfish: found.path().to_owned(),
            qemu_img: qemu_img.path().to_owned(),
        })
    }

    /// Starts an appliance over the disks of one backup. Where the host's help for virtual machines is
    /// of no use it is emulated, and `say` tells so.
    ///
    /// # Errors
    /// An image cannot be read, or the appliance does not start.
    pub fn open(
        &self,
        disks: &[(Target, Utf8PathBuf)],
        brake: &Brake,
        say: &dyn Fn(&str),
    ) -> Result<Appliance> {
        let forced = std::env::var("LIBGUESTFS_BACKEND_SETTINGS")
            .is_ok_and(|settings| settings.contains("force_tcg"));
        if !forced {
            match self.start(disks, false, brake) {
                Err(error) if error.fault == Fault::Timeout => {
                    say("the processor's help for virtual machines does not work here: emulating");
                }
                other => return other,
            }
        }
        self.start(disks, true, brake)
    }

    /// A scratch file over an image, which takes what the appliance writes. libguestfs can do that
    /// itself (`readonly:true`), and then lets QEMU guess a format from what the guest wrote: a guest
    /// could name any file of this host as its backing file.
    fn lay(&self, image: &Utf8Path, scratch: &Path, tried: &str) -> Result<()> {
        let made = Command::new(&self.qemu_img)
            .args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"])
            .args([image.as_std_path(), scratch])
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| HostError::new(faults::of_io(&error), tried, error))?;
        if made.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&made.stderr);
        let fault = faults::of_words(&said).unwrap_or(Fault::Io);
        Err(HostError::new(fault, tried, said.trim()))
    }

    fn start(
        &self,
        disks: &[(Target, Utf8PathBuf)],
        emulate: bool,
        brake: &Brake,
    ) -> Result<Appliance> {
        let mut session = Session::start(&self.guestfish, emulate, brake)?;
        let dir = tempfile::Builder::new().prefix("knib-files.").tempdir();
        let dir = dir.map_err(|error| {
            HostError::new(faults::of_io(&error), "make a temporary directory", error)
        })?;
        for (number, (target, image)) in disks.iter().enumerate() {
            let tried = format!("open {target} ({image})");
            let scratch = dir.path().join(number.to_string());
            self.lay(image, &scratch, &tried)?;
            let path = scratch.as_os_str().as_bytes();
            let args: [&[u8]; 3] = [path, b"format:qcow2", b"cachemode:unsafe"];
            session.ask("add-drive", &args, &tried, |_| Ok(()))?;
        }
        session.run(if emulate { EMULATED } else { LIMIT })?;
        // QEMU has opened them; nothing is left behind by whoever kills knib from here on.
        drop(dir);
        Ok(Appliance {
            session,
            disks: disks.iter().map(|(target, _)| target.clone()).collect(),
        })
    }
}

/// An appliance over the disks of one backup. It ends with the value.
pub struct Appliance {
    session: Session,
    /// The first is `/dev/sda` in there, the second `/dev/sdb`.
    disks: Vec<Target>,
}
