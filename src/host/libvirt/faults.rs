//! Turns libvirt's errors into faults: its numbers, and its words where a number says too little.

use virt::error::Error;
use virt::error::ErrorNumber;

use crate::host::HostError;
use crate::host::faults;
use crate::model::fault::Fault;

/// libvirt's words, whatever number came with them; the first that fits counts.
const WORDS: &[(&str, Fault)] = &[
    ("already in active block job", Fault::Busy),
    ("already exists and is not a block device", Fault::Conflict),
    ("already exists with uuid", Fault::Conflict),
    ("already defined with uuid", Fault::Conflict),
    ("no disk named", Fault::Conflict),
    ("too many disk snapshot requests", Fault::Conflict),
    ("not ready for pivot yet", Fault::Busy),
    ("cannot acquire state change lock", Fault::Busy),
    ("another job", Fault::Busy),
    ("client socket is closed", Fault::Busy),
    ("End of file while reading data", Fault::Busy),
    ("guest-fsfreeze-", Fault::Agent),
    ("uest agent", Fault::Agent),
];

/// libvirt's numbers.
const NUMBERS: &[(ErrorNumber, Fault)] = &[
    (ErrorNumber::NoDomain, Fault::Gone),
    (ErrorNumber::AgentUnresponsive, Fault::Agent),
    (ErrorNumber::AgentUnsynced, Fault::Agent),
    (ErrorNumber::AgentCommandTimeout, Fault::Agent),
    (ErrorNumber::AgentCommandFailed, Fault::Agent),
    (ErrorNumber::BlockCopyActive, Fault::Busy),
    (ErrorNumber::ResourceBusy, Fault::Busy),
    (ErrorNumber::OperationTimeout, Fault::Busy),
    // The daemon was stopped or is starting: it will be back, and the VMs never noticed.
    (ErrorNumber::Rpc, Fault::Busy),
    (ErrorNumber::NoConnect, Fault::Busy),
    (ErrorNumber::OperationDenied, Fault::Denied),
    (ErrorNumber::AccessDenied, Fault::Denied),
    (ErrorNumber::AuthFailed, Fault::Denied),
    (ErrorNumber::AuthCancelled, Fault::Denied),
    (ErrorNumber::AuthUnavailable, Fault::Denied),
    (ErrorNumber::NoSupport, Fault::Unsupported),
    (ErrorNumber::ConfigUnsupported, Fault::Unsupported),
    (ErrorNumber::ArgumentUnsupported, Fault::Unsupported),
    (ErrorNumber::OperationUnsupported, Fault::Unsupported),
    (ErrorNumber::OperationInvalid, Fault::Conflict),
    (ErrorNumber::InvalidArg, Fault::Conflict),
    (ErrorNumber::DomExist, Fault::Conflict),
    (ErrorNumber::DeviceMissing, Fault::Conflict),
    (ErrorNumber::XmlError, Fault::Conflict),
    (ErrorNumber::XmlDetail, Fault::Conflict),
];

/// An error of libvirt's.
pub(super) fn error(tried: impl Into<String>, error: &Error) -> HostError {
    HostError::new(fault(error), tried, error.message())
}

/// Its kind. `Gone` is said of VMs alone: a file that a call about a VM misses is a conflict.
pub(super) fn fault(error: &Error) -> Fault {
    let message = error.message();
    let words = WORDS.iter().find(|(words, _)| message.contains(words));
    let number = NUMBERS.iter().find(|(number, _)| error.code().is(*number));
    if error.code().is(ErrorNumber::NoDomain) {
        return Fault::Gone;
    }
    words
        .map(|(_, fault)| *fault)
        .or_else(|| match faults::of_words(message) {
            Some(Fault::Gone) => Some(Fault::Conflict),
            known => known,
        })
        .or_else(|| number.map(|(_, fault)| *fault))
        .unwrap_or(Fault::Io)
}
