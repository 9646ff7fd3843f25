//! What every command starts from: the policy it works from, where state and host are, and the world.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::cli::args::Global;
use crate::cli::clock;
use crate::cli::failure::Failure;
use crate::cli::failure::Result;
use crate::cli::find;
use crate::cli::find::Guests;
use crate::cli::io::Io;
use crate::cli::render::Look;
use crate::cli::render::lists::When;
use crate::cli::render::text;
use crate::cli::sources;
use crate::cli::times;
use crate::cli::view::Known;
use crate::engine;
use crate::host::Host;
use crate::host::Local;
use crate::model::backup::Backup;
use crate::model::finding::Severity;
use crate::model::plan::Plan;
use crate::model::policy::Policy;
use crate::model::world::Applied;
use crate::model::world::Guest;
use crate::model::world::World;
use crate::planner::Options;
use crate::policy;
use crate::policy::Sources;
use crate::policy::connect;
use crate::policy::lint;
use crate::state::State;

/// Where libvirt is when nothing is said.
const CONNECT: &str = "qemu:///system";
/// Where the state is when nothing is said.
const STATE: &str = "/var/lib/knib/state.db";
/// File systems on which locks are not sure.
const NETWORK: [&str; 5] = ["nfs", "cifs", "smb2", "9p", "ceph"];

/// One command.
pub(super) struct Session {
    pub(super) global: Global,
    pub(super) io: Io,
    /// The instant that all of it is decided at.
    pub(super) now: Timestamp,
}

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
}

/// The host and what was seen of it.
pub(super) struct Seen {
    pub(super) host: Rc<Local>,
    pub(super) world: World,
}

impl Session {
    pub(super) fn new(global: Global, io: Io) -> Result<Self> {
        if let Some(uri) = &global.connect {
            connect::local(uri).map_err(|why| {
                let failure = Failure::usage(format!("--connect {uri}: {}", why.text));
                match why.hint {
                    Some(hint) => failure.hint(hint),
                    None => failure,
                }
            })?;
        }
        Ok(Self {
            global,
            io,
            now: clock::instant(),
        })
    }

    /// How text on stdout is to look.
    pub(super) fn look(&self) -> Look {
        self.io.out(self.global.color)
    }

    /// The result.
    pub(super) fn print(&self, text: &str) -> Result<()> {
        self.io
            .print(text)
            .map_err(|error| Failure::new("stdout", format!("could not write the result: {error}")))
    }

    /// Something to know that is not the result.
    pub(super) fn note(&self, text: &str) {
        if !self.global.quiet {
            self.io.tell(&format!("{text}\n"));
        }
    }

    /// The result as JSON.
    pub(super) fn print_json<T: Serialize + ?Sized>(&self, value: &T) -> Result<()> {
        let text = serde_json::to_string_pretty(value).expect("views are plain data");
        self.print(&(text + "\n"))
    }

    /// A list, as one array or as `human` draws it.
    pub(super) fn list<T: Serialize>(
        &self,
        json: bool,
        all: &[T],
        human: impl FnOnce() -> String,
    ) -> Result<()> {
        if json {
            self.print_json(all)
        } else {
            self.print(&human())
        }
    }

    /// Now, and the zone that times are shown in.
    pub(super) fn when(&self, basis: &Basis) -> When {
        When {
            now: self.now,
            zone: basis.zone(),
        }
    }

    /// The backup that was meant, said first when it was not named in full.
    pub(super) fn choose<'a>(
        &self,
        guests: &'a Guests,
        given: &str,
        basis: &Basis,
    ) -> Result<(&'a Guest, &'a Backup)> {
        let zone = basis.zone();
        let (guest, backup) = find::backup(guests, given, &zone)?;
        if backup.id.as_str() != given {
            let at = text::second(backup.created, &zone);
            let name = &guest.vm.name;
            self.note(&format!("{given} is {} of {name}, {at}", backup.id));
        }
        Ok((guest, backup))
    }

    /// Where the policy is, of commands that want one in files.
    pub(super) fn places(&self) -> Result<Vec<PathBuf>> {
        let places = sources::places(&self.global.files);
        if places.is_empty() {
            return Err(Failure::new(
                "no_policy",
                "there is no policy: neither knib.yaml nor knib.d, here or in /etc/knib",
            )
            .hint("knib init writes one to start from; -f names another place"));
        }
        Ok(places)
    }

    /// The policy in files, for commands that want one. Errors in it end the command before anything
    /// else is looked at.
    pub(super) fn basis_in_files(&self) -> Result<Basis> {
        let places = self.places()?;
        let (sources, policy) = self.load(&places)?;
        Ok(self.basis(Some(policy), sources))
    }

    /// The policy in files, or else the one last applied, or else none.
    pub(super) fn basis_anyhow(&self) -> Result<Basis> {
        if !sources::places(&self.global.files).is_empty() {
            return self.basis_in_files();
        }
        let bare = self.basis(None, Sources::default());
        let applied = match State::look(&bare.state)? {
            Some(state) => state.policy()?,
            None => None,
        };
        match &applied {
            Some(_) => self.note("no policy file: going by the policy last applied"),
            None => self.note(&format!(
                "no policy file, and none was ever applied with the state {}",
                bare.state
            )),
        }
        Ok(Basis {
            state: bare.state,
            ..self.basis(applied, Sources::default())
        })
    }

    /// What a saved plan was made from.
    pub(super) fn basis_of(&self, plan: &Plan) -> Basis {
        let policy = plan.resolved.as_deref().cloned();
        let mut basis = self.basis(policy, Sources::default());
        if self.global.connect.is_none() {
            basis.uri.clone_from(&plan.host.uri);
        }
        basis
    }

    #[expect(clippy::unused_self, reason = "a command loads one policy")]
    fn load(&self, places: &[PathBuf]) -> Result<(Sources, Policy)> {
        let (sources, mut findings) = sources::read(places);
        let (policy, more) = policy::load(&sources);
        findings.extend(more);
        match policy {
            Some(policy) if findings.iter().all(|one| one.severity < Severity::Error) => {
                Ok((sources, policy))
            }
            _ => Err(Failure::policy(findings, sources)),
        }
    }

    fn basis(&self, policy: Option<Policy>, sources: Sources) -> Basis {
        let of_policy = policy.as_ref();
        let uri = self.global.connect.clone();
        let state = self.global.state.clone();
        Basis {
            uri: uri
                .or_else(|| of_policy.map(|policy| policy.connect.clone()))
                .unwrap_or_else(|| CONNECT.to_owned()),
            state: state
                .or_else(|| of_policy.map(|policy| policy.state.clone()))
                .unwrap_or_else(|| STATE.into()),
            policy,
            sources,
        }
    }

    /// What a plan is made under.
    pub(super) fn options(&self, basis: &Basis) -> Result<Options> {
        Ok(Options {
            id: clock::plan_id()?,
            uri: basis.uri.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            clock_given: false,
            only: None,
            vm: None,
        })
    }

    /// Sees everything. Writes nothing.
    pub(super) async fn see(&self, basis: &Basis) -> Result<Seen> {
        let state = State::look(&basis.state)?;
        let host = Rc::new(Local::connect(&basis.uri).await?);
        let storages = basis.storages();
        let mut world = engine::observe(&host, state.as_ref(), &storages, self.now).await?;
        state_is_there(&world, basis)?;
        let near = basis.state.parent().unwrap_or(Utf8Path::new("/"));
        if let Some(policy) = basis.policy.as_ref().filter(|one| one.state == basis.state)
            && let Ok(space) = host.space(near).await
            && NETWORK.contains(&space.kind.as_str())
        {
            let finding = lint::state_on_network(policy, &space.kind);
            world.findings.push(finding);
        }
        Ok(Seen { host, world })
    }

    /// What is on record; the host is not asked.
    pub(super) fn recall(&self, basis: &Basis) -> Result<Recalled> {
        match State::look(&basis.state)? {
            Some(state) => recalled(&state),
            None => Ok(Recalled::default()),
        }
    }
}

/// What is on record.
#[derive(Default)]
pub(super) struct Recalled {
    /// Without machines: nobody looked.
    pub(super) guests: Guests,
    applied: Applied,
}

impl Recalled {
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

/// Reads what is on record, all of one instant.
pub(super) fn recalled(state: &State) -> Result<Recalled> {
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
    Ok(Recalled { guests, applied })
}

impl Basis {
    /// Storages that the policy names.
    fn storages(&self) -> BTreeMap<String, Utf8PathBuf> {
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

/// A state that is gone while backups of this host are there is not a first run.
fn state_is_there(world: &World, basis: &Basis) -> Result<()> {
    if world.state.is_some() {
        return Ok(());
    }
    for (name, storage) in &world.storages {
        let ours = storage.vms.values().find(|found| {
            let owner = found.owner.as_ref();
            owner.is_some_and(|owner| owner.host_uuid == world.host.id) && !found.backups.is_empty()
        });
        if ours.is_some() {
            let text = format!(
                "there is no state {}, and storage {name} ({}) holds backups of this host",
                basis.state, storage.path
            );
            return Err(Failure::new("state_missing", text).hint(
                "name the state they belong to with --state; if it is lost, knib state rebuild makes it anew from the storages; nothing was changed",
            ));
        }
    }
    Ok(())
}
