//! How much room a file system has, and what it is.

use std::fs;
use std::os::unix::fs::MetadataExt;

use camino::Utf8Path;

use crate::host::Result;
use crate::host::Space;
use crate::host::files::on;
use crate::model::bytes::Bytes;

/// Names by the magic numbers of `linux/magic.h` and of the file systems' own headers.
const KINDS: &[(u32, &str)] = &[
    (0x0000_EF53, "ext4"),
    (0x5846_5342, "xfs"),
    (0x9123_683E, "btrfs"),
    (0x2FC1_2FC1, "zfs"),
    (0xCA45_1A4E, "bcachefs"),
    (0xF2F5_2010, "f2fs"),
    (0x0102_1994, "tmpfs"),
    (0x794C_7630, "overlay"),
    (0x0000_6969, "nfs"),
    (0xFF53_4D42, "cifs"),
    (0xFE53_4D42, "smb2"),
    (0x00C3_6400, "ceph"),
    (0x0102_1997, "9p"),
    (0x6573_5546, "fuse"),
    (0x0116_1970, "gfs2"),
    (0x7461_636F, "ocfs2"),
];

/// Room on the file system of a directory.
pub(in crate::host) async fn space(dir: &Utf8Path) -> Result<Space> {
    on(dir, "measure the space of", |dir| {
        let room = rustix::fs::statvfs(dir.as_std_path())?;
        // Wider or narrower and signed or not, as the architecture has it; the number is 32 bits.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "only the low 32 bits mean something"
        )]
        let magic = rustix::fs::statfs(dir.as_std_path())?.f_type as u32;
        let known = KINDS.iter().find(|(number, _)| *number == magic);
        Ok(Space {
            free: Bytes(room.f_bavail.saturating_mul(room.f_frsize)),
            total: Bytes(room.f_blocks.saturating_mul(room.f_frsize)),
            kind: known.map_or_else(|| format!("{magic:#x}"), |(_, name)| (*name).to_owned()),
            device: fs::metadata(dir)?.dev(),
        })
    })
    .await
}
