//! Tests on a real libvirt with real QEMU processes. They need the daemon at `qemu:///system` and fail without it.

mod harness;
