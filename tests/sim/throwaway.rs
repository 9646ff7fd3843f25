//! VMs that a backup is booted in: they read it, write elsewhere, and end with knib.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use knib::host;
use knib::host::HostError;
use knib::host::Result;
use knib::model::fault::Fault;
use knib::model::id::Target;
use knib::model::id::VmId;
use knib::model::machine::Machine;
use serde_json::Value;
use serde_json::json;

use crate::sim::site::STORAGE;
use crate::sim::site::Site;
use crate::sim::vm::Definition;
use crate::sim::vm::Vm;

/// Four pixels, two of them white.
const SCREEN: &[u8] = b"P6 2 2 255\n\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff";

/// A VM that ends with knib.
#[derive(Clone, Debug)]
pub(crate) struct Throwaway {
    definition: Definition,
    open: BTreeMap<Target, Vec<Utf8PathBuf>>,
}

impl Throwaway {
    /// Every file that it has open.
    pub(crate) fn open(&self) -> impl Iterator<Item = &Utf8PathBuf> {
        self.open.values().flatten()
    }
}

impl Site {
    /// One that runs, as libvirt shows it.
    pub(crate) fn throwaway(&self, id: &VmId) -> Option<Machine> {
        let found = self.throwaways.get(id)?;
        let mut machine = Vm::off(found.definition.clone()).machine();
        machine.persistent = false;
        machine.power = knib::model::machine::Power::Running;
        Some(machine)
    }

    pub(crate) fn boot(&mut self, text: &str, wanted: &host::Throwaway) -> Result<Vec<String>> {
        let no = |cause: String| HostError::new(Fault::Conflict, "boot", cause);
        let mut definition: Definition =
            serde_json::from_str(text).map_err(|error| no(error.to_string()))?;
        if !self.throwaways.is_empty() {
            self.complain("two throwaway VMs run at once");
        }
        definition.id = wanted.id.clone();
        definition.name.clone_from(&wanted.name);
        definition.disks.clear();
        let mut open = BTreeMap::new();
        for head in &wanted.heads {
            let chain = self.files.chain(&head.image.path)?;
            let named = head.backing.iter().map(|image| &image.path);
            if !chain.iter().skip(1).eq(named) {
                self.complain(format!("{} is booted over other files", head.target));
            }
            if chain[0].starts_with(STORAGE) {
                self.complain(format!("{} is written to by a guest", chain[0]));
            }
            open.insert(head.target.clone(), chain);
        }
        let vm = Throwaway { definition, open };
        self.logs.insert(wanted.name.clone());
        self.throwaways.insert(wanted.id.clone(), vm);
        Ok(Vec::new())
    }

    pub(crate) fn screenshot(&self, id: &VmId) -> Result<Vec<u8>> {
        let gone = || HostError::new(Fault::Gone, "take a picture", "no such domain");
        let running = self.throwaways.get(id).ok_or_else(gone);
        running.map(|_| SCREEN.to_vec())
    }

    /// Of a guest that does well.
    pub(crate) fn answer(&self, id: &VmId, order: &Value) -> Result<Value> {
        let answers = self.throwaways.get(id);
        if answers.is_none_or(|running| !running.definition.channel) {
            return Err(HostError::new(Fault::Agent, "ask", "nobody answers"));
        }
        Ok(match order["execute"].as_str() {
            Some("guest-exec") => json!({ "pid": 1 }),
            Some("guest-exec-status") => json!({ "exited": true, "exitcode": 0 }),
            _ => json!({}),
        })
    }

    /// A log of what runs belongs to it.
    pub(crate) fn forget(&mut self, name: &str) {
        let mut running = self.throwaways.values();
        if running.any(|vm| vm.definition.name == name) {
            self.complain(format!("{name} runs, and its log is taken away"));
        }
        self.logs.remove(name);
    }
}
