//! Names of things, one type each, so that a backup is never taken for a VM.

use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes the text as it is.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    )*};
}

ids! {
    /// A VM: libvirt's uuid in lower case. A name can change hands, a uuid does not.
    VmId;
    /// A backup: `20261123-020000-3fa9c1d2`, the instant it was planned in UTC and eight digits of
    /// a digest; ids sort by time.
    BackupId;
    /// A disk of a VM: libvirt's target, `vda`.
    Target;
    /// A storage: the uuid in its marker file.
    StorageId;
    /// A hypervisor: the host uuid that libvirt reports.
    HostId;
    /// A plan: random, used once.
    PlanId;
    /// An action: `<plan>/<n>`, so that a plan's action is begun once.
    ActionId;
    /// A run of the program that may change something.
    RunId;
    /// A job: `<backup>.<kind>`.
    JobId;
    /// A state file: written into it when it is made, and into each owner file.
    StateId;
}

impl VmId {
    /// The throwaway VM in which backups of this one are booted: always the same, so that there is one at
    /// a time.
    #[must_use]
    pub fn throwaway(&self) -> Self {
        let hash = blake3::hash(format!("throwaway {self}").as_bytes()).to_hex();
        let hex = hash.as_str();
        // Version 8, variant 1: of our own making, as RFC 9562 has it.
        Self(format!(
            "{}-{}-8{}-8{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[13..16],
            &hex[17..20],
            &hex[20..32]
        ))
    }
}

impl BackupId {
    /// The id of a backup that is planned at `now`. `attempt` tells apart ids of one VM that would
    /// otherwise be the same.
    #[must_use]
    pub fn allot(now: Timestamp, vm: &VmId, attempt: u32) -> Self {
        let seed = format!("{now} {vm} {attempt}");
        let digest = blake3::hash(seed.as_bytes()).to_hex();
        Self(format!(
            "{}-{}",
            now.strftime("%Y%m%d-%H%M%S"),
            &digest[..8]
        ))
    }

    /// Whether `text` has the shape of a backup id, as file names on primary are told from others.
    #[must_use]
    pub fn is_one(text: &str) -> bool {
        let mut parts = text.split('-');
        let mut digits = |length: usize, allowed: fn(&u8) -> bool| {
            parts
                .next()
                .is_some_and(|part| part.len() == length && part.as_bytes().iter().all(allowed))
        };
        digits(8, u8::is_ascii_digit)
            && digits(6, u8::is_ascii_digit)
            && digits(8, u8::is_ascii_hexdigit)
            && parts.next().is_none()
    }
}

impl ActionId {
    /// The `n`th action of a plan.
    #[must_use]
    pub fn of(plan: &PlanId, n: usize) -> Self {
        Self(format!("{plan}/{n}"))
    }
}

impl JobId {
    /// The job of a kind about a backup.
    #[must_use]
    pub fn of(backup: &BackupId, kind: &str) -> Self {
        Self(format!("{backup}.{kind}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backup_ids_sort_by_time_and_are_recognised() {
        let vm = VmId::new("7f1f5d5e-5b1c-4f0a-9a55-1d0f3a1e9b01");
        let early = BackupId::allot(
            Timestamp::from_second(1_700_000_000).expect("in range"),
            &vm,
            9,
        );
        let late = BackupId::allot(
            Timestamp::from_second(1_700_000_001).expect("in range"),
            &vm,
            0,
        );
        assert!(early < late);
        assert!(BackupId::is_one(early.as_str()));
        assert!(!BackupId::is_one("20261123-020000"));
        assert!(!BackupId::is_one("20261123-020000-3fa9c1d2-1"));
    }
}
