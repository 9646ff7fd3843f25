//! The real host, judged by what virsh, qemu-img and plain file calls say afterwards.

mod agent;
mod commit;
mod connection;
mod convert;
mod define;
mod files;
mod images;
mod lab;
mod machines;
mod snapshot;
