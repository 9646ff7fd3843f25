//! What every command starts from: the policy it works from, where state and host are, and the world.

use std::cell::OnceCell;
use std::path::PathBuf;
use std::rc::Rc;

use camino::Utf8Path;
use jiff::Timestamp;
use serde::Serialize;

use crate::cli::args::Global;
use crate::cli::basis::Basis;
use crate::cli::clock;
use crate::cli::failure::Failure;
use crate::cli::failure::Result;
use crate::cli::find;
use crate::cli::find::Guests;
use crate::cli::io::Io;
use crate::cli::render::Look;
use crate::cli::render::lists::When;
use crate::cli::render::text;
use crate::cli::signals::Signals;
use crate::cli::sources;
use crate::engine;
use crate::host::Host;
use crate::host::Local;
use crate::model::backup::Backup;
use crate::model::plan::Plan;
use crate::model::policy::Policy;
use crate::model::world::Guest;
use crate::model::world::World;
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
    signals: OnceCell<Signals>,
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
            signals: OnceCell::new(),
        })
    }

    /// Whoever asks the command to stop is heard from the first call on.
    pub(super) fn signals(&self) -> Result<&Signals> {
        if let Some(signals) = self.signals.get() {
            return Ok(signals);
        }
        let signals = Signals::listen(self.io.clone())?;
        Ok(self.signals.get_or_init(|| signals))
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

    /// The backups that were meant: of all VMs whose name fits a pattern, or of one.
    pub(super) fn choose_some<'a>(
        &self,
        guests: &'a Guests,
        given: &str,
        basis: &Basis,
    ) -> Result<Vec<(&'a Guest, &'a Backup)>> {
        let Some((pattern, when)) = given
            .rsplit_once('@')
            .filter(|(vm, _)| find::is_pattern(vm))
        else {
            return Ok(vec![self.choose(guests, given, basis)?]);
        };
        let mut chosen = Vec::new();
        for guest in find::matching(guests, pattern)? {
            let of_it = format!("{}@{when}", guest.vm.uuid);
            if find::backup(guests, &of_it, &basis.zone()).is_ok() {
                chosen.push(self.choose(guests, &of_it, basis)?);
            } else {
                self.note(&format!(
                    "{} is passed over: it has no such backup",
                    guest.vm.name
                ));
            }
        }
        if chosen.is_empty() {
            return Err(find::unknown("VM with such a backup", given, &[]));
        }
        Ok(chosen)
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
        match sources::load(&places) {
            (sources, Some(policy), _) => Ok(self.basis(Some(policy), sources)),
            (sources, None, findings) => Err(Failure::policy(findings, sources)),
        }
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
            from: None,
        }
    }

    /// Sees everything at the command's instant. Writes nothing.
    pub(super) async fn see(&self, basis: &Basis) -> Result<Seen> {
        self.see_at(basis, self.now).await
    }

    /// Sees everything as if there had never been a state.
    pub(super) async fn see_without_state(&self, basis: &Basis) -> Result<Seen> {
        let host = Rc::new(Local::connect(&basis.uri).await?);
        let world = engine::observe(&host, None, &basis.storages(), self.now).await?;
        Ok(Seen { host, world })
    }

    /// Sees everything at a later instant.
    pub(super) async fn see_at(&self, basis: &Basis, now: Timestamp) -> Result<Seen> {
        let state = State::look(&basis.state)?;
        let host = Rc::new(Local::connect(&basis.uri).await?);
        if let Some(dir) = &basis.from {
            let world = engine::observe_only(&host, state.as_ref(), dir, now).await?;
            let world = world.ok_or_else(|| no_storage(dir))?;
            return Ok(Seen { host, world });
        }
        let storages = basis.storages();
        let mut world = engine::observe(&host, state.as_ref(), &storages, now).await?;
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
}

fn no_storage(dir: &Utf8Path) -> Failure {
    let text = format!("{dir} is not a storage: it has no marker .knib-storage");
    Failure::new("no_storage", text).hint("name the directory that holds the marker")
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
