//! What a command works from: the policy, where state and host are, and what is on record.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use camino::Utf8PathBuf;
use jiff::tz::TimeZone;

use crate::cli::clock;
use crate::cli::failure::Result;
use crate::cli::find::Guests;
use crate::cli::times;
use crate::cli::view::Known;
use crate::model::policy::Policy;
use crate::model::world::Applied;
use crate::model::world::Guest;
use crate::planner::Options;
use crate::policy::Sources;
use crate::state::State;

/// What a command works from.
pub(super) struct Basis {
    /// None: no file, and nothing was ever applied.
    pub(super) policy: Option<Policy>,
    /// The files it came from; none when it is the one last applied.
    pub(super) sources: Sources,
    /// The libvirt URI.
    pub(super) uri: String,
    /// The state file.
    pub(super) state: Utf8PathBuf,
    /// A storage that is read in the place of all others, and of the record.
    pub(super) from: Option<Utf8PathBuf>,
}

/// What is on record.
#[derive(Default)]
pub(super) struct Recalled {
    /// Without machines: nobody looked.
    pub(super) guests: Guests,
    applied: Applied,
}

impl Recalled {
    /// Reads what is on record, all of one instant.
    pub(super) fn of(state: &State) -> Result<Self> {
        let read = state.read(|state| Ok((state.records()?, state.opens()?, state.applied()?)));
        let (records, opens, applied) = read?;
        let mut guests = Guests::new();
        for (id, (vm, record)) in records {
            let guest = Guest {
                record,
                ..Guest::new(vm)
            };
            guests.insert(id, guest);
        }
        for open in opens {
            if let Some(vm) = open.op.vm().cloned() {
                let guest = guests.entry(vm.uuid.clone());
                guest.or_insert_with(|| Guest::new(vm)).open.push(open);
            }
        }
        Ok(Self { guests, applied })
    }

    pub(super) fn known(&self) -> Known<'_> {
        Known {
            guests: &self.guests,
            applied: &self.applied,
        }
    }

    /// VMs as lists have them.
    pub(super) fn by_name(&self) -> Vec<&Guest> {
        let mut guests: Vec<_> = self.guests.values().collect();
        guests.sort_by(|a, b| a.vm.cmp(&b.vm));
        guests
    }
}

impl Basis {
    /// What a plan is made under.
    pub(super) fn options(&self) -> Result<Options> {
        Ok(Options {
            id: clock::plan_id()?,
            uri: self.uri.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            clock_given: false,
            only: None,
            vm: None,
            show_kept: false,
            allowed: BTreeSet::new(),
        })
    }

    /// What is on record; the host is not asked.
    pub(super) fn recall(&self) -> Result<Recalled> {
        match State::look(&self.state)? {
            Some(state) => Recalled::of(&state),
            None => Ok(Recalled::default()),
        }
    }

    /// Storages that the policy names.
    pub(super) fn storages(&self) -> BTreeMap<String, Utf8PathBuf> {
        let storages = self.policy.iter().flat_map(|policy| &policy.storages);
        storages
            .map(|(name, storage)| (name.clone(), storage.path.clone()))
            .collect()
    }

    /// The zone that times are shown in.
    pub(super) fn zone(&self) -> TimeZone {
        let name = self.policy.as_ref().map(|policy| policy.timezone.as_str());
        name.map_or(TimeZone::UTC, times::zone)
    }

    /// The policy, of a basis in files.
    pub(super) fn policy(&self) -> &Policy {
        self.policy.as_ref().expect("a basis in files has a policy")
    }
}
