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

use std::time::Duration;

use camino::Utf8PathBuf;

use crate::host::HostError;
use crate::host::Result;
use crate::host::command::Program;
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
        Ok(Self {
            guestfish: found.path().to_owned(),
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

    fn start(
        &self,
        disks: &[(Target, Utf8PathBuf)],
        emulate: bool,
        brake: &Brake,
    ) -> Result<Appliance> {
        let mut session = Session::start(&self.guestfish, emulate, brake)?;
        for (target, image) in disks {
            let tried = format!("open {target} ({image})");
            let image = image.as_str().as_bytes();
            let flags: [&[u8]; 2] = [b"readonly:true", b"format:qcow2"];
            session.ask(
                "add-drive",
                &[image, flags[0], flags[1]],
                &tried,
                |_| Ok(()),
            )?;
        }
        session.run(if emulate { EMULATED } else { LIMIT })?;
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
