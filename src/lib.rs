//! Backups for KVM virtual machines, as code.
//!
//! A policy says which VMs get which backups, when and for how long; `knib plan` shows what follows
//! from it on this host, `knib apply` does that or less. This page is for who changes the code.
//!
//! # The map
//!
//! Modules import those with a lower number only; `tests/tidy.rs` sees to it.
//!
//! | module | | what it is for |
//! | --- | --- | --- |
//! | [`model`] | 0 | the nouns: VM, backup, policy, step, plan, world. Neither I/O nor a clock |
//! | [`policy`] | 1 | YAML to a policy, with every problem at its place |
//! | [`action`] | 1 | the verbs, pure: what must hold still, what is done file by file, what the record learns |
//! | [`planner`] | 2 | policy and world to a plan, decided on the world that earlier actions will leave |
//! | [`state`] | 2 | sqlite: the journal, the leases, the index |
//! | [`host`] | 2 | libvirt, `qemu-img` and files, behind one trait of primitive calls |
//! | [`engine`] | 3 | sees the world, carries actions out by the journal's rules |
//! | [`cli`] | 4 | what can be typed, what is drawn, what it exits with |
//!
//! A command goes through them once: `cli` reads files, `policy` understands them, `engine` sees the
//! world, `planner` makes a [plan](model::plan::Plan) of [actions](model::op::Op), `engine` carries
//! out the [steps](model::step::Step) that `action` drew up for each, `state` remembers every one.
//! `knib backup run` is the same with a plan of one action.
//!
//! To read on: `model/step/mod.rs`, `action/backup.rs`, `planner/draft.rs`, `engine/run.rs`,
//! `engine/perform/merge.rs`.
//!
//! # What there is not
//!
//! - Nothing is executed but a plan, and no action does more than its plan said: its program is drawn
//!   up again when it starts, and another one is not carried out.
//! - No code recovers. An interrupted action is carried on by the code that began it, entered with the
//!   marks in its journal.
//! - No effect precedes its intention in the journal, and none in it is done twice with another
//!   result: a step looks, does one thing, and looks again.
//! - No layer that may hold guest writes is deleted. It is committed into the file below it, seen to
//!   be absent from the live and the inactive chain, and unlinked last.
//! - No file has its final name before it is whole and on stable storage.
//! - No parent is known by name, order or time: files name each other by the digest at their birth.
//! - No status is stored that can be derived: whether a backup is current, good or the end of its
//!   chain is read off its edges.
//! - No decision looks at a clock, a file, the environment or a map without order.
//! - No lock spans a run, and none survives a process: what must hold still is a lease in the journal.
//! - Nothing that only looks writes: no state, no marker, no lock file.
//! - No `unsafe` outside of one file of [`host`], no SQL outside of [`state`], no YAML outside of one
//!   file of [`policy`].
//!
//! # Leases
//!
//! What an action holds from its beginning to its close, across crashes and reboots. Readers share; one
//! that changes is alone. A backup's ancestors are shared with every reader of it, so nobody's files
//! are swapped under a reader of a descendant. The table is compared with [`action::leases`] by a test.
//!
//! | action | the VM | the backup | what it continues |
//! | --- | --- | --- | --- |
//! | `backup` | exclusive | - | shared |
//! | `merge` | exclusive | - | - |
//! | `expire` | - | shared, sole writer | - |
//! | `delete` | exclusive | exclusive | - |
//! | `pin` | - | shared, sole writer | - |
//! | `unpin` | - | shared, sole writer | - |
//! | `clear` | exclusive | - | - |
//! | `compress start` | - | shared | shared |
//! | `compress finalize` | - | exclusive | - |
//! | `validate` | exclusive | shared, sole writer | shared |
//! | `job_retry` | - | - | - |
//! | `job_cancel` | - | exclusive | - |
//! | `mark_unusable` | - | shared, sole writer | - |
//! | `verify` | - | shared | - |
//! | `restore_vm` | exclusive | shared | shared |
//! | `restore_disk` | exclusive | shared | shared |
//! | `restore_new` | exclusive | shared | shared |
//! | `files` | - | shared | shared |
//! | `discard` | exclusive | - | - |
//! | `consolidate` | exclusive | shared | shared |
//! | `snapshot_create` | exclusive | - | - |
//! | `snapshot_revert` | exclusive | - | - |
//! | `snapshot_delete` | exclusive | - | - |
//! | `storage_create` | - | - | - |
//! | `offering_create` | - | - | - |
//! | `offering_update` | - | - | - |
//! | `offering_delete` | - | - | - |
//! | `policy_create` | - | - | - |
//! | `policy_update` | - | - | - |
//! | `policy_delete` | - | - | - |
//! | `assign` | - | - | - |
//! | `unassign` | - | - | - |
//! | `retain` | - | - | - |
//! | `adopt` | exclusive | - | - |
//! | `tag` | exclusive | - | - |
//! | `recover` | - | - | - |
//! | `abandon` | - | - | - |
//!
//! The VM of `restore_new` is the new one, that of `validate` the throwaway one, and the backup of
//! `backup` is not there yet. `delete` takes the VM only while it writes to the delta that the backup
//! left, `job_cancel` the backup only where compressed files wait beside its own. A sole writer has what
//! the record says of the backup to itself, beside those who read its disks. `recover` takes nothing:
//! what it carries on holds its leases already. Nor does `abandon`, which gives such leases up.

pub mod action;
pub mod cli;
mod crash;
pub mod engine;
pub mod host;
pub mod model;
pub mod planner;
pub mod policy;
mod sabotage;
pub mod state;
