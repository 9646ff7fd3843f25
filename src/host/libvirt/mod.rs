//! Virtual machines, by way of libvirt.
//!
//! libvirt's calls block, so each runs on a thread of its own, with its error read there. No event
//! loop: whoever waits asks again. A daemon that was restarted is connected to again.

mod definitions;
mod faults;
mod ffi;
mod jobs;
mod machines;
mod metadata;
mod neighbours;
mod power;
mod snapshot;
mod throwaway;
mod xml;

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use tokio::task::spawn_blocking;
use virt::connect::Connect;
use virt::domain::Domain;

use crate::host::HostError;
use crate::host::Identity;
use crate::host::Result;
use crate::model::fault::Fault;
use crate::model::id::HostId;
use crate::model::id::VmId;

/// The oldest versions whose behaviour knib was held against.
const FLOOR: [(&str, u32); 2] = [("libvirt", 9_000_000), ("QEMU", 7_002_000)];

/// A connection to the daemon.
#[derive(Clone, Debug)]
pub(super) struct Libvirt {
    uri: Arc<str>,
    open: Arc<Mutex<Connect>>,
}

/// A VM that was looked up.
struct Vm {
    domain: Domain,
    name: String,
}

impl Libvirt {
    /// Connects to a daemon of this host.
    pub(super) async fn connect(uri: &str) -> Result<Self> {
        virt::error::clear_error_callback();
        let tried = format!("connect to libvirt at {uri}");
        if !is_local(uri) {
            let cause = "the address is another host's, and knib runs on the hypervisor itself";
            return Err(HostError::new(Fault::Unsupported, tried, cause));
        }
        let uri: Arc<str> = uri.into();
        blocking(tried, move |tried| {
            let open = reach(&uri, Fault::Io)?;
            check(&open, tried)?;
            Ok(Self {
                uri,
                open: Arc::new(Mutex::new(open)),
            })
        })
        .await
    }

    /// Who the hypervisor is.
    pub(super) async fn identity(&self) -> Result<Identity> {
        self.call(
            "ask libvirt who this host is".to_owned(),
            |connect, tried| {
                let fail = |error: &virt::error::Error| faults::error(tried, error);
                let capabilities = connect.capabilities().map_err(|error| fail(&error))?;
                let id = xml::host_id(&capabilities)
                    .map_err(|cause| HostError::new(Fault::Unsupported, tried, cause))?;
                Ok(Identity {
                    id: HostId::new(id),
                    hostname: connect.hostname().map_err(|error| fail(&error))?,
                    libvirt: version(connect.lib_version().map_err(|error| fail(&error))?),
                    qemu: version(connect.hyp_version().map_err(|error| fail(&error))?),
                    uri: connect.uri().map_err(|error| fail(&error))?,
                })
            },
        )
        .await
    }

    /// What confines VMs: `apparmor`, `dac`.
    pub(super) async fn confined_by(&self) -> Result<Vec<String>> {
        self.capable("ask libvirt what confines VMs", xml::confined_by)
            .await
    }

    /// The user and the group that VMs run as; none where they run as whoever asks.
    pub(super) async fn qemu_user(&self) -> Result<Option<(u32, u32)>> {
        self.capable("ask libvirt who VMs run as", xml::qemu_user)
            .await
    }

    /// What can be read in libvirt's capabilities.
    async fn capable<T: Send + 'static>(
        &self,
        tried: &str,
        read: fn(&str) -> std::result::Result<T, String>,
    ) -> Result<T> {
        self.call(tried.to_owned(), move |connect, tried| {
            let capabilities = connect.capabilities();
            let capabilities = capabilities.map_err(|error| faults::error(tried, &error))?;
            read(&capabilities).map_err(|cause| HostError::new(Fault::Unsupported, tried, cause))
        })
        .await
    }

    /// Runs blocking calls where they may block.
    async fn call<T: Send + 'static>(
        &self,
        tried: String,
        work: impl FnOnce(&Connect, &str) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let libvirt = self.clone();
        blocking(tried, move |tried| work(&libvirt.alive()?, tried)).await
    }

    /// Runs blocking calls on one VM. `what` reads before "of NAME".
    async fn on<T: Send + 'static>(
        &self,
        vm: &VmId,
        what: String,
        work: impl FnOnce(&Connect, &Vm, &str) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let vm = vm.clone();
        self.call(format!("find VM {vm}"), move |connect, tried| {
            let vm = connect
                .lookup_domain_by_uuid_string(vm.as_str())
                .and_then(|domain| {
                    Ok(Vm {
                        name: domain.name()?,
                        domain,
                    })
                })
                .map_err(|error| faults::error(tried, &error))?;
            let tried = format!("{what} of {}", vm.name);
            work(connect, &vm, &tried)
        })
        .await
    }

    /// The connection, opened again if the daemon went away meanwhile.
    fn alive(&self) -> Result<Connect> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // Asks the daemon; a connection does not notice by itself that its other end is gone.
        if open.lib_version().is_err() {
            *open = reach(&self.uri, Fault::Busy)?;
        }
        Ok(open.clone())
    }
}

async fn blocking<T: Send + 'static>(
    tried: String,
    work: impl FnOnce(&str) -> Result<T> + Send + 'static,
) -> Result<T> {
    let asked = tried.clone();
    let done = spawn_blocking(move || work(&tried)).await;
    done.unwrap_or_else(|stopped| Err(HostError::new(Fault::Io, asked, stopped)))
}

/// Opens a connection. `absent` is what it means that nobody answers.
fn reach(uri: &str, absent: Fault) -> Result<Connect> {
    Connect::open(Some(uri)).map_err(|error| {
        let mut failed = faults::error(format!("connect to libvirt at {uri}"), &error);
        if failed.fault != Fault::Denied {
            failed.fault = absent;
        }
        failed.hinted("is libvirtd running, and may this user connect to it?")
    })
}

/// Whether it is the QEMU of this host, and new enough.
fn check(connect: &Connect, tried: &str) -> Result<()> {
    let unfit = |cause: String| Err(HostError::new(Fault::Unsupported, tried, cause));
    let fail = |error: virt::error::Error| faults::error(tried, &error);
    let uri = connect.uri().map_err(fail)?;
    if !is_local(&uri) {
        return unfit(format!(
            "it leads to {uri}, and knib runs on the hypervisor itself"
        ));
    }
    let driver = connect.driver_type().map_err(fail)?;
    if driver != "QEMU" {
        return unfit(format!(
            "it is libvirt's {driver} driver, and knib knows QEMU alone"
        ));
    }
    let found = [connect.lib_version(), connect.hyp_version()];
    for ((name, floor), found) in FLOOR.into_iter().zip(found) {
        let found = found.map_err(fail)?;
        if found < floor {
            let (found, floor) = (version(found), version(floor));
            return unfit(format!(
                "{name} is {found}, and knib needs {floor} or newer"
            ));
        }
    }
    Ok(())
}

/// Whether a URI names no other host: `qemu:///system`, or an alias of libvirt's configuration.
fn is_local(uri: &str) -> bool {
    uri.split_once("://").is_none_or(|(scheme, rest)| {
        rest.starts_with('/') && matches!(scheme.split_once('+'), None | Some((_, "unix")))
    })
}

/// `9.0.0`, from libvirt's number.
fn version(number: u32) -> String {
    let (major, minor, release) = (number / 1_000_000, number / 1000 % 1000, number % 1000);
    format!("{major}.{minor}.{release}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_hosts_address_is_told() {
        for uri in [
            "qemu:///system",
            "qemu:///session",
            "qemu+unix:///system?socket=/s",
            "home",
        ] {
            assert!(is_local(uri), "{uri}");
        }
        for uri in [
            "qemu+ssh://hv2/system",
            "qemu://hv2/system",
            "qemu+ssh:///system",
            "qemu+tcp:///system",
        ] {
            assert!(!is_local(uri), "{uri}");
        }
        assert_eq!(version(9_000_001), "9.0.1");
    }
}
