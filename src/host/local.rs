//! The host that knib runs on.

use std::collections::BTreeMap;
use std::time::Duration;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use serde_json::Value;

use crate::crash;
use crate::host::Convert;
use crate::host::Definition;
use crate::host::Entry;
use crate::host::Exchange;
use crate::host::Head;
use crate::host::Host;
use crate::host::Identity;
use crate::host::Image;
use crate::host::Neighbour;
use crate::host::NewOverlay;
use crate::host::ReadFrom;
use crate::host::Renewal;
use crate::host::Result;
use crate::host::Space;
use crate::host::Task;
use crate::host::Throwaway;
use crate::host::files;
use crate::host::libvirt::Libvirt;
use crate::host::namespace;
use crate::host::qemu_img::QemuImg;
use crate::model::bytes::Bytes;
use crate::model::digest::Digest;
use crate::model::id::Target;
use crate::model::id::VmId;
use crate::model::machine::Job;
use crate::model::machine::Layer;
use crate::model::machine::Machine;
use crate::model::machine::Note;

/// libvirt, qemu-img and the files of this host.
#[derive(Clone, Debug)]
pub struct Local {
    pub(super) libvirt: Libvirt,
    pub(super) qemu_img: QemuImg,
}

impl Local {
    /// Connects to libvirt and looks for qemu-img.
    ///
    /// # Errors
    /// Nobody answers at the address, it is not this host's QEMU, or one of the two is missing or
    /// too old.
    pub async fn connect(uri: &str) -> Result<Self> {
        Ok(Self {
            libvirt: Libvirt::connect(uri).await?,
            qemu_img: QemuImg::find()?,
        })
    }
}

impl Host for Local {
    async fn identity(&self) -> Result<Identity> {
        self.libvirt.identity().await
    }

    async fn machines(&self) -> Result<Vec<Machine>> {
        self.libvirt.machines().await
    }

    async fn neighbours(&self, vm: &VmId) -> Result<Vec<Neighbour>> {
        self.libvirt.neighbours(vm).await
    }

    async fn machine(&self, vm: &VmId) -> Result<Machine> {
        self.libvirt.machine(vm).await
    }

    async fn definition(&self, vm: &VmId, which: Definition) -> Result<String> {
        self.libvirt.definition(vm, which).await
    }

    async fn snapshot(
        &self,
        vm: &VmId,
        overlays: &[NewOverlay],
        others: &[Target],
        freeze: Option<Duration>,
    ) -> Result<()> {
        crash::after(
            "snapshot",
            self.libvirt.snapshot(vm, overlays, others, freeze),
        )
        .await
    }

    async fn is_frozen(&self, vm: &VmId) -> Result<bool> {
        self.libvirt.is_frozen(vm).await
    }

    async fn thaw(&self, vm: &VmId) -> Result<()> {
        crash::after("thaw", self.libvirt.thaw(vm)).await
    }

    async fn note(&self, vm: &VmId, note: Option<&Note>) -> Result<()> {
        crash::after("note", self.libvirt.note(vm, note)).await
    }

    async fn tag(&self, vm: &VmId, tags: &BTreeMap<String, String>) -> Result<()> {
        crash::after("tag", self.libvirt.tag(vm, tags)).await
    }

    async fn point(&self, vm: &VmId, heads: &[Head]) -> Result<()> {
        crash::after("point", self.libvirt.point(vm, heads)).await
    }

    async fn described(&self, vm: &VmId, heads: &[Head]) -> Result<String> {
        self.libvirt.described(vm, heads).await
    }

    async fn stored(&self, definition: &str) -> Result<Machine> {
        Libvirt::stored(definition)
    }

    async fn missing(&self, definition: &str) -> Result<Vec<String>> {
        self.libvirt.missing(definition).await
    }

    async fn attach(&self, vm: &VmId, definition: &str, from: &Target, head: &Head) -> Result<()> {
        crash::after("attach", self.libvirt.attach(vm, definition, from, head)).await
    }

    async fn swap(&self, vm: &VmId, exchange: &Exchange) -> Result<()> {
        crash::after("swap", self.libvirt.swap(vm, exchange)).await
    }

    async fn start(&self, vm: &VmId) -> Result<()> {
        crash::after("start", self.libvirt.start(vm)).await
    }

    async fn run(&self, vm: &VmId) -> Result<Option<u32>> {
        self.libvirt.run(vm).await
    }

    async fn shutdown(&self, vm: &VmId) -> Result<()> {
        crash::after("shutdown", self.libvirt.shutdown(vm)).await
    }

    async fn destroy(&self, vm: &VmId) -> Result<()> {
        crash::after("destroy", self.libvirt.destroy(vm)).await
    }

    async fn pull(&self, vm: &VmId, target: &Target) -> Result<()> {
        crash::after("pull", self.libvirt.pull(vm, target)).await
    }

    async fn flush(&self, vm: &VmId, target: &Target) -> Result<()> {
        self.libvirt.flush(vm, target).await
    }

    async fn commit(
        &self,
        vm: &VmId,
        target: &Target,
        top: &Utf8Path,
        base: &Utf8Path,
    ) -> Result<()> {
        crash::after("commit", self.libvirt.commit(vm, target, top, base)).await
    }

    async fn job(&self, vm: &VmId, target: &Target) -> Result<Option<Job>> {
        self.libvirt.job(vm, target).await
    }

    async fn end_job(&self, vm: &VmId, target: &Target, pivot: bool) -> Result<()> {
        crash::after("end job", self.libvirt.end_job(vm, target, pivot)).await
    }

    async fn boot(&self, definition: &str, throwaway: &Throwaway) -> Result<Vec<String>> {
        crash::after("boot", self.libvirt.boot(definition, throwaway)).await
    }

    async fn ask(&self, vm: &VmId, order: &Value, limit: Duration) -> Result<Value> {
        self.libvirt.ask(vm, order, limit).await
    }

    async fn screenshot(&self, vm: &VmId) -> Result<Vec<u8>> {
        self.libvirt.screenshot(vm).await
    }

    async fn last_words(&self, name: &str) -> Result<String> {
        self.libvirt.last_words(name).await
    }

    async fn forget(&self, name: &str) -> Result<()> {
        crash::after("forget", self.libvirt.forget(name)).await
    }

    async fn define(&self, definition: &str, renewal: &Renewal) -> Result<()> {
        crash::after("define", self.libvirt.define(definition, renewal)).await
    }

    async fn undefine(&self, vm: &VmId) -> Result<()> {
        crash::after("undefine", self.libvirt.undefine(vm)).await
    }

    async fn layers(&self, image: &Image) -> Result<Vec<Layer>> {
        self.qemu_img.layers(image).await
    }

    async fn is_blank(&self, image: &Image) -> Result<bool> {
        self.qemu_img.is_blank(image).await
    }

    async fn lacks(&self, image: &Image, from: &Image) -> Result<Bytes> {
        self.qemu_img.lacks(image, from).await
    }

    async fn create(&self, path: &Utf8Path, on: &Image) -> Result<()> {
        crash::after("create", self.qemu_img.create(path, on)).await
    }

    async fn idle(&self, image: &Image) -> Result<()> {
        self.qemu_img.idle(image).await
    }

    async fn convert(&self, convert: &Convert, task: &Task<'_>) -> Result<()> {
        crash::after("convert", self.qemu_img.convert(convert, task)).await
    }

    async fn compare(&self, one: &Image, other: &Image, task: &Task<'_>) -> Result<bool> {
        self.qemu_img.compare(one, other, task).await
    }

    async fn commit_offline(&self, top: &Image, base: &Image, task: &Task<'_>) -> Result<()> {
        crash::after("commit offline", self.qemu_img.commit(top, base, task)).await
    }

    async fn rebase(&self, image: &Image, backing: &Image) -> Result<()> {
        crash::after("rebase", self.qemu_img.rebase(image, backing)).await
    }

    async fn flatten(&self, image: &Image, task: &Task<'_>) -> Result<()> {
        crash::after("flatten", self.qemu_img.flatten(image, task)).await
    }

    async fn readable(&self, image: &Image) -> Result<()> {
        match self.libvirt.qemu_user().await? {
            Some(user) => self.qemu_img.readable_by(user, image).await,
            None => Ok(()),
        }
    }

    async fn finds(&self, vm: &VmId, files: &[Utf8PathBuf]) -> Result<()> {
        namespace::finds(vm, files).await
    }

    async fn shrink(&self, image: &Image, size: Bytes) -> Result<()> {
        crash::after("shrink", self.qemu_img.shrink(image, size)).await
    }

    async fn digest(
        &self,
        path: &Utf8Path,
        from: ReadFrom,
        task: &Task<'_>,
    ) -> Result<(Digest, Bytes)> {
        files::digest(path, from, task).await
    }

    async fn list(&self, dir: &Utf8Path) -> Result<Vec<Entry>> {
        files::list(dir).await
    }

    async fn lengths(&self, paths: &[Utf8PathBuf]) -> Result<Vec<Option<Bytes>>> {
        files::lengths(paths).await
    }

    async fn read(&self, path: &Utf8Path) -> Result<Vec<u8>> {
        files::read(path).await
    }

    async fn write(&self, path: &Utf8Path, content: &[u8]) -> Result<()> {
        crash::after("write", files::write(path, content)).await
    }

    async fn copy(&self, from: &Utf8Path, to: &Utf8Path) -> Result<()> {
        crash::after("copy file", files::copy(from, to)).await
    }

    async fn archive(&self, dir: &Utf8Path, to: &Utf8Path) -> Result<()> {
        crash::after("archive", files::archive(dir, to)).await
    }

    async fn unpack(&self, archive: &Utf8Path, to: &Utf8Path) -> Result<()> {
        crash::after("unpack", files::unpack(archive, to)).await
    }

    async fn sync(&self, path: &Utf8Path) -> Result<()> {
        crash::after("sync", files::sync(path)).await
    }

    async fn make_dir(&self, dir: &Utf8Path) -> Result<()> {
        crash::after("make dir", files::make_dir(dir)).await
    }

    async fn make_dirs(&self, dir: &Utf8Path) -> Result<()> {
        crash::after("make dirs", files::make_dirs(dir)).await
    }

    async fn rename(&self, from: &Utf8Path, to: &Utf8Path) -> Result<()> {
        crash::after("rename", files::rename(from, to)).await
    }

    async fn replace(&self, from: &Utf8Path, to: &Utf8Path) -> Result<()> {
        crash::after("replace", files::replace(from, to)).await
    }

    async fn remove(&self, path: &Utf8Path) -> Result<()> {
        crash::after("remove", files::remove(path)).await
    }

    async fn space(&self, dir: &Utf8Path) -> Result<Space> {
        files::space(dir).await
    }
}
