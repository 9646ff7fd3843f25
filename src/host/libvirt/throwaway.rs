//! VMs that are there for a short while: started, asked, looked at, forgotten.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use virt::connect::Connect;
use virt::error::Error;
use virt::stream::Stream;
use virt::sys;

use crate::host::HostError;
use crate::host::Result;
use crate::host::Throwaway;
use crate::host::libvirt::Libvirt;
use crate::host::libvirt::faults;
use crate::host::libvirt::snapshot::unheard;
use crate::host::libvirt::xml;
use crate::model::bytes::Bytes;
use crate::model::fault::Fault;
use crate::model::id::VmId;

/// Where the system's libvirt keeps what QEMU says.
const LOGS: &str = "/var/log/libvirt/qemu";
/// The end of a log that is read, in bytes.
const LAST: usize = 4096;
/// A picture takes that many bytes at most: a screen of 8192 by 8192, uncompressed.
const PICTURE: usize = 200 << 20;

impl Libvirt {
    /// Starts a transient VM that libvirt destroys when this connection ends.
    pub(in crate::host) async fn boot(
        &self,
        definition: &str,
        throwaway: &Throwaway,
    ) -> Result<Vec<String>> {
        let tried = format!("start {}", throwaway.name);
        let made = xml::throwaway(definition, throwaway)
            .map_err(|cause| HostError::new(Fault::Unsupported, &tried, cause))?;
        self.call(tried, move |connect, tried| {
            if let Some(free) = available().filter(|free| *free < made.memory) {
                let cause = format!("it needs {} of memory, {free} is free", made.memory);
                return Err(HostError::new(Fault::Busy, tried, cause)
                    .hinted("settings: backup.validation.max.memory bounds what it gets"));
            }
            let flags = sys::VIR_DOMAIN_START_AUTODESTROY;
            let started = connect.create_domain_xml(&made.xml, flags);
            started.map_err(|error| faults::error(tried, &error))?;
            Ok(made.lacks)
        })
        .await
    }

    /// Asks a guest's agent.
    pub(in crate::host) async fn ask(
        &self,
        vm: &VmId,
        order: &Value,
        limit: Duration,
    ) -> Result<Value> {
        let order = order.to_string();
        let seconds = i32::try_from(limit.as_secs().max(1)).unwrap_or(i32::MAX);
        self.on(vm, "ask the guest agent".to_owned(), move |_, vm, tried| {
            let answer = vm.domain.qemu_agent_command(&order, seconds, 0);
            let answer = answer.map_err(|error| unheard(tried, &error))?;
            let parsed: Option<Value> = serde_json::from_str(&answer).ok();
            let found = parsed.and_then(|mut answer| Some(answer.get_mut("return")?.take()));
            found.ok_or_else(|| HostError::new(Fault::Agent, tried, format!("it said {answer}")))
        })
        .await
    }

    /// What a VM's screen shows.
    pub(in crate::host) async fn screenshot(&self, vm: &VmId) -> Result<Vec<u8>> {
        let what = "take a picture of the screen".to_owned();
        self.on(vm, what, |connect, vm, tried| {
            let fail = |error: Error| faults::error(tried, &error);
            let stream = Stream::new(connect, 0).map_err(fail)?;
            vm.domain.screenshot(&stream, 0, 0).map_err(fail)?;
            let mut picture = Vec::new();
            let mut buffer = vec![0; 1 << 16];
            loop {
                let read = stream.recv(&mut buffer).map_err(fail)?;
                match usize::try_from(read) {
                    Ok(0) => break,
                    Ok(read) if picture.len() + read <= PICTURE => {
                        picture.extend_from_slice(&buffer[..read]);
                    }
                    _ => return Err(HostError::new(Fault::Io, tried, "it has no end")),
                }
            }
            stream.finish().map_err(fail)?;
            Ok(picture)
        })
        .await
    }

    /// The last line of a VM's log.
    pub(in crate::host) async fn last_words(&self, name: &str) -> Result<String> {
        let name = name.to_owned();
        self.call(format!("read the log of {name}"), move |connect, tried| {
            let path = log(connect, &name, tried)?;
            let text = match fs::read(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
                text => text.map_err(|error| HostError::new(Fault::Io, tried, error))?,
            };
            let end = &text[text.len().saturating_sub(LAST)..];
            let end = String::from_utf8_lossy(end);
            Ok(end.trim_end().lines().last().unwrap_or_default().to_owned())
        })
        .await
    }

    /// Removes a VM's log, and what it was before it was rotated.
    pub(in crate::host) async fn forget(&self, name: &str) -> Result<()> {
        let name = name.to_owned();
        self.call(
            format!("remove the log of {name}"),
            move |connect, tried| {
                let path = log(connect, &name, tried)?;
                let rotated = (0..10).map(|n| PathBuf::from(format!("{}.{n}", path.display())));
                for file in rotated.chain([path.clone()]) {
                    match fs::remove_file(file) {
                        Err(error) if error.kind() != ErrorKind::NotFound => {
                            return Err(HostError::new(Fault::Io, tried, error));
                        }
                        _ => {}
                    }
                }
                Ok(())
            },
        )
        .await
    }
}

/// Where a VM's log is: the system's, or that of the user whose libvirt it is.
fn log(connect: &Connect, name: &str, tried: &str) -> Result<PathBuf> {
    let uri = connect
        .uri()
        .map_err(|error| faults::error(tried, &error))?;
    let file = format!("{name}.log");
    if !uri.contains("/session") {
        return Ok(Path::new(LOGS).join(file));
    }
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(home).ok_or_else(|| {
        HostError::new(
            Fault::Unsupported,
            tried,
            "neither HOME nor XDG_CACHE_HOME is set",
        )
    })?;
    Ok(cache.join("libvirt/qemu/log").join(file))
}

/// Memory that can be given to a VM without taking it from another, as far as the kernel tells.
fn available() -> Option<Bytes> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(Bytes(kib.saturating_mul(1024)))
}
