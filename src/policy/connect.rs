//! Which libvirt URIs are of this host.

use crate::model::misread::Misread;

const HINT: &str =
    "knib reads disks and storages itself and runs on the hypervisor: `qemu:///system`";

/// Refuses URIs of other hosts, from a policy, the command line or the environment.
///
/// # Errors
/// A URI with a host or with a transport other than a local socket; what is no URI at all.
pub fn local(uri: &str) -> Result<(), Misread> {
    let shape = uri.split_once("://");
    let Some((scheme, rest)) = shape.filter(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_lowercase())
            && scheme
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '+')
    }) else {
        return Err(Misread::new("not a URI", 0..uri.len()).hint("for example `qemu:///system`"));
    };
    if !rest.starts_with('/') {
        let host = rest.find('/').unwrap_or(rest.len());
        let at = scheme.len() + 3;
        return Err(Misread::new("another host", at..at + host).hint(HINT));
    }
    match scheme.split_once('+') {
        None | Some((_, "unix")) => Ok(()),
        Some(_) => Err(Misread::new("a way to another host", 0..scheme.len()).hint(HINT)),
    }
}
