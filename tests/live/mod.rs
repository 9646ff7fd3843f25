//! Tests on a real libvirt with real QEMU processes. They need the daemon at `qemu:///system` and fail without it.

mod again;
mod agent;
mod beside;
mod catalogue;
mod chain;
mod content;
mod damage;
mod deletion;
mod drift;
mod harness;
mod judge;
mod killed;
mod layers;
mod leaving;
mod orphans;
mod owners;
mod portable;
mod races;
mod readonly;
mod refusals;
mod restore;
mod since;
mod site;
mod snapshot_edges;
mod snapshots;
mod storages;
