//! The calls of libvirt that the `virt` crate lacks, one function each, and the only `unsafe`.
//!
//! libvirt keeps its last error per thread: each function reads it where it made the call, before
//! anything else can.

#![expect(unsafe_code, reason = "calls into libvirt's C library")]

use std::ffi::CStr;
use std::ffi::CString;
use std::ffi::c_int;
use std::ffi::c_ulong;
use std::mem::MaybeUninit;
use std::ptr;

use virt::domain::Domain;
use virt::error::Error;
use virt::sys;

/// A domain's state and the reason for it, as libvirt numbers them.
pub(super) struct State {
    pub(super) state: sys::virDomainState,
    pub(super) reason: sys::virDomainPausedReason,
}

/// `virDomainGetState`, whose failure `virt` 0.5 does not report.
pub(super) fn state(domain: &Domain) -> Result<State, Error> {
    let (mut state, mut reason): (c_int, c_int) = (0, 0);
    // SAFETY: `domain` holds a reference on its pointer, both numbers outlive the call.
    let code =
        unsafe { sys::virDomainGetState(domain.as_ptr(), &raw mut state, &raw mut reason, 0) };
    checked(code)?;
    Ok(State {
        state: state.cast_unsigned(),
        reason: reason.cast_unsigned(),
    })
}

/// `virDomainBlockCommit`, at so many bytes a second; at full speed where that is 0.
pub(super) fn block_commit(
    domain: &Domain,
    disk: &CStr,
    base: &CStr,
    top: &CStr,
    pace: c_ulong,
    flags: sys::virDomainBlockCommitFlags,
) -> Result<(), Error> {
    let flags = flags | sys::VIR_DOMAIN_BLOCK_COMMIT_BANDWIDTH_BYTES;
    // SAFETY: `domain` holds a reference on its pointer, the texts outlive the call.
    let code = unsafe {
        sys::virDomainBlockCommit(
            domain.as_ptr(),
            disk.as_ptr(),
            base.as_ptr(),
            top.as_ptr(),
            pace,
            flags,
        )
    };
    checked(code).map(drop)
}

/// `virDomainBlockPull`, at so many bytes a second; at full speed where that is 0.
pub(super) fn block_pull(domain: &Domain, disk: &CStr, pace: c_ulong) -> Result<(), Error> {
    let flags = sys::VIR_DOMAIN_BLOCK_PULL_BANDWIDTH_BYTES;
    // SAFETY: `domain` holds a reference on its pointer, the text outlives the call.
    let code = unsafe { sys::virDomainBlockPull(domain.as_ptr(), disk.as_ptr(), pace, flags) };
    checked(code).map(drop)
}

/// `virDomainBlockJobAbort`.
pub(super) fn block_job_abort(
    domain: &Domain,
    disk: &CStr,
    flags: sys::virDomainBlockJobAbortFlags,
) -> Result<(), Error> {
    // SAFETY: `domain` holds a reference on its pointer, the text outlives the call.
    let code = unsafe { sys::virDomainBlockJobAbort(domain.as_ptr(), disk.as_ptr(), flags) };
    checked(code).map(drop)
}

/// `virDomainGetBlockJobInfo`; None where there is no job.
pub(super) fn block_job_info(
    domain: &Domain,
    disk: &CStr,
) -> Result<Option<sys::virDomainBlockJobInfo>, Error> {
    let mut info = MaybeUninit::<sys::virDomainBlockJobInfo>::zeroed();
    // SAFETY: `domain` holds a reference on its pointer, text and struct outlive the call.
    let code = unsafe {
        sys::virDomainGetBlockJobInfo(domain.as_ptr(), disk.as_ptr(), info.as_mut_ptr(), 0)
    };
    let found = checked(code)? > 0;
    // SAFETY: four plain numbers, valid as the zeroes they began as.
    Ok(found.then(|| unsafe { info.assume_init() }))
}

/// `virDomainAgentSetResponseTimeout`: in seconds, or one of libvirt's negative values.
pub(super) fn agent_set_response_timeout(domain: &Domain, timeout: c_int) -> Result<(), Error> {
    // SAFETY: `domain` holds a reference on its pointer.
    let code = unsafe { sys::virDomainAgentSetResponseTimeout(domain.as_ptr(), timeout, 0) };
    checked(code).map(drop)
}

/// `virDomainFSThaw` of every file system.
pub(super) fn fs_thaw(domain: &Domain) -> Result<(), Error> {
    // SAFETY: `domain` holds a reference on its pointer; no mount points means all of them.
    let code = unsafe { sys::virDomainFSThaw(domain.as_ptr(), ptr::null_mut(), 0, 0) };
    checked(code).map(drop)
}

/// A text for C. One with a zero byte inside cannot be a disk's name or a path.
pub(super) fn text(text: &str) -> Result<CString, Error> {
    CString::new(text).map_err(Error::from)
}

fn checked(code: c_int) -> Result<c_int, Error> {
    if code < 0 {
        Err(Error::last_error())
    } else {
        Ok(code)
    }
}
