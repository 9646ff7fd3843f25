//! A simulated host: images as maps of cells, block jobs as libvirt's really behave, files with what
//! a power cut leaves of them, and guests that write at every tick.
//!
//! It is held to what `qemu-img` and libvirt did when they were asked, and judges by what guests
//! wrote, never by what images hold. It is no part of the product, and it decides nothing.

mod clockwork;
mod dice;
mod files;
mod guest;
mod host;
mod image;
mod jobs;
mod libvirt;
mod qemu_img;
mod site;
mod throwaway;
mod trouble;
mod vm;

pub(crate) use crate::sim::clockwork::Sim;
pub(crate) use crate::sim::dice::Dice;
pub(crate) use crate::sim::files::Node;
pub(crate) use crate::sim::image::Image;
pub(crate) use crate::sim::site::PRIMARY;
pub(crate) use crate::sim::site::STORAGE;
pub(crate) use crate::sim::site::Site;
pub(crate) use crate::sim::trouble::Tick;
pub(crate) use crate::sim::trouble::Trouble;
pub(crate) use crate::sim::vm::Definition;
pub(crate) use crate::sim::vm::DiskDef;
pub(crate) use crate::sim::vm::Vm;
