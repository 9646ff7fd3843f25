//! The seam, over the simulated site: every call with its ticks.

use std::collections::BTreeMap;
use std::time::Duration;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use knib::host::Convert;
use knib::host::Definition;
use knib::host::Entry;
use knib::host::Exchange;
use knib::host::Head;
use knib::host::Host;
use knib::host::Neighbour;
use knib::host::NewOverlay;
use knib::host::ReadFrom;
use knib::host::Renewal;
use knib::host::Result;
use knib::host::Task;
use knib::host::Throwaway;
use knib::model::bytes::Bytes;
use knib::model::digest::Digest;
use knib::model::fault::Fault;
use knib::model::id::HostId;
use knib::model::id::Target;
use knib::model::id::VmId;
use knib::model::machine::Job;
use knib::model::machine::Layer;
use knib::model::machine::Machine;
use knib::model::machine::Note;
use knib::model::step::Image;
use knib::model::world::Identity;
use knib::model::world::Space;
use serde_json::Value;

use crate::sim::clockwork::Sim;
use crate::sim::jobs::BlockJob;
use crate::sim::qemu_img::Half;
use crate::sim::site::STORAGE;
use crate::sim::site::Site;
use crate::sim::trouble::Place;
use crate::sim::vm::Vm;

impl Sim {
    async fn look<T>(
        &self,
        what: &'static str,
        look: impl FnOnce(&Site) -> Result<T>,
    ) -> Result<T> {
        self.tick(Place::Look, what).await?;
        look(&self.site.borrow())
    }

    async fn act<T>(
        &self,
        what: &'static str,
        act: impl FnOnce(&mut Site) -> Result<T>,
    ) -> Result<T> {
        self.tick(Place::Before, what).await?;
        let done = act(&mut self.site.borrow_mut())?;
        self.tick(Place::After, what).await?;
        Ok(done)
    }
}

impl Host for Sim {
    async fn identity(&self) -> Result<Identity> {
        Ok(Identity {
            id: HostId::new("10000000-0000-4000-8000-000000000001"),
            hostname: "hv1".to_owned(),
            libvirt: "9.0.0".to_owned(),
            qemu: "7.2.0".to_owned(),
            uri: "qemu:///system".to_owned(),
        })
    }

    async fn machines(&self) -> Result<Vec<Machine>> {
        self.look("machines", |site| {
            let lasting = site.vms.values().map(Vm::machine);
            let throwaways = site.throwaways.keys().filter_map(|id| site.throwaway(id));
            Ok(lasting.chain(throwaways).collect())
        })
        .await
    }

    async fn machine(&self, vm: &VmId) -> Result<Machine> {
        self.look("machine", |site| match site.throwaway(vm) {
            Some(machine) => Ok(machine),
            None => Ok(site.vm(vm)?.machine()),
        })
        .await
    }

    async fn neighbours(&self, _vm: &VmId) -> Result<Vec<Neighbour>> {
        self.look("neighbours", |_| Ok(Vec::new())).await
    }

    async fn definition(&self, vm: &VmId, which: Definition) -> Result<String> {
        self.look("definition", |site| {
            let vm = site.vm(vm)?;
            let running = vm.running.as_ref().map(|running| &running.definition);
            let text = match (which, running) {
                (Definition::Live, Some(running)) => running,
                _ => &vm.stored,
            };
            Ok(serde_json::to_string(text).expect("a definition is JSON"))
        })
        .await
    }

    async fn snapshot(
        &self,
        vm: &VmId,
        overlays: &[NewOverlay],
        others: &[Target],
        freeze: Option<Duration>,
    ) -> Result<()> {
        self.act("snapshot", |site| {
            site.snapshot(vm, overlays, others, freeze)
        })
        .await
    }

    async fn is_frozen(&self, vm: &VmId) -> Result<bool> {
        self.look("is frozen", |site| site.is_frozen(vm)).await
    }

    async fn thaw(&self, vm: &VmId) -> Result<()> {
        self.act("thaw", |site| site.thaw(vm)).await
    }

    async fn note(&self, vm: &VmId, note: Option<&Note>) -> Result<()> {
        self.act("note", |site| site.note(vm, note)).await
    }

    async fn tag(&self, vm: &VmId, _tags: &BTreeMap<String, String>) -> Result<()> {
        // The simulated host's policies select by name.
        self.act("tag", |site| site.vm(vm).map(drop)).await
    }

    async fn point(&self, vm: &VmId, heads: &[Head]) -> Result<()> {
        self.act("point", |site| site.point(vm, heads)).await
    }

    async fn described(&self, vm: &VmId, heads: &[Head]) -> Result<String> {
        self.look("described", |site| site.described(vm, heads))
            .await
    }

    async fn stored(&self, definition: &str) -> Result<Machine> {
        Site::stored(definition)
    }

    async fn missing(&self, definition: &str) -> Result<Vec<String>> {
        Site::missing(definition)
    }

    async fn attach(&self, vm: &VmId, definition: &str, from: &Target, head: &Head) -> Result<()> {
        self.act("attach", |site| site.attach(vm, definition, from, head))
            .await
    }

    async fn swap(&self, vm: &VmId, exchange: &Exchange) -> Result<()> {
        self.act("swap", |site| site.swap(vm, exchange)).await
    }

    async fn start(&self, vm: &VmId) -> Result<()> {
        self.act("start", |site| site.started(vm)).await
    }

    async fn run(&self, vm: &VmId) -> Result<Option<u32>> {
        self.look("run", |site| {
            Ok(site.vm(vm)?.running.as_ref().map(|running| running.number))
        })
        .await
    }

    async fn shutdown(&self, vm: &VmId) -> Result<()> {
        self.act("shutdown", |site| site.shut_down(vm)).await
    }

    async fn destroy(&self, vm: &VmId) -> Result<()> {
        self.act("destroy", |site| match site.throwaways.remove(vm) {
            Some(_) => Ok(()),
            None => site.destroyed(vm),
        })
        .await
    }

    async fn pull(&self, vm: &VmId, target: &Target) -> Result<()> {
        self.act("pull", |site| site.pull(vm, target)).await
    }

    async fn flush(&self, vm: &VmId, target: &Target) -> Result<()> {
        self.act("flush", |site| site.flush(vm, target)).await
    }

    async fn commit(
        &self,
        vm: &VmId,
        target: &Target,
        top: &Utf8Path,
        base: &Utf8Path,
    ) -> Result<()> {
        self.act("commit", |site| site.commit(vm, target, top, base))
            .await
    }

    async fn job(&self, vm: &VmId, target: &Target) -> Result<Option<Job>> {
        self.look("job", |site| {
            let running = site.vm(vm)?.running.as_ref();
            let job = running.and_then(|running| running.jobs.get(target));
            Ok(job.map(BlockJob::seen))
        })
        .await
    }

    async fn end_job(&self, vm: &VmId, target: &Target, pivot: bool) -> Result<()> {
        self.act("end job", |site| site.end_job(vm, target, pivot))
            .await
    }

    async fn boot(&self, definition: &str, throwaway: &Throwaway) -> Result<Vec<String>> {
        self.act("boot", |site| site.boot(definition, throwaway))
            .await
    }

    async fn ask(&self, vm: &VmId, order: &Value, _limit: Duration) -> Result<Value> {
        self.look("ask", |site| site.answer(vm, order)).await
    }

    async fn screenshot(&self, vm: &VmId) -> Result<Vec<u8>> {
        self.look("screenshot", |site| site.screenshot(vm)).await
    }

    async fn last_words(&self, _name: &str) -> Result<String> {
        self.look("last words", |_| Ok("reason=destroyed".to_owned()))
            .await
    }

    async fn forget(&self, name: &str) -> Result<()> {
        self.act("forget", |site| {
            site.forget(name);
            Ok(())
        })
        .await
    }

    async fn define(&self, definition: &str, renewal: &Renewal) -> Result<()> {
        self.act("define", |site| site.define(definition, renewal))
            .await
    }

    async fn undefine(&self, vm: &VmId) -> Result<()> {
        self.act("undefine", |site| site.undefine(vm)).await
    }

    async fn layers(&self, image: &Image) -> Result<Vec<Layer>> {
        self.look("layers", |site| site.layers(image)).await
    }

    async fn is_blank(&self, image: &Image) -> Result<bool> {
        self.look("is blank", |site| site.is_blank(image)).await
    }

    async fn lacks(&self, image: &Image, from: &Image) -> Result<Bytes> {
        self.look("lacks", |site| site.lacks(image, from)).await
    }

    async fn create(&self, path: &Utf8Path, on: &Image) -> Result<()> {
        self.act("create", |site| site.create(path, on)).await
    }

    async fn idle(&self, image: &Image) -> Result<()> {
        self.look("idle", |site| site.idle(image)).await
    }

    async fn convert(&self, convert: &Convert, task: &Task<'_>) -> Result<()> {
        self.tick(Place::Before, "convert").await?;
        let [read, open] = self.site.borrow_mut().open_for_convert(convert)?;
        let first = self.site.borrow_mut().convert(convert, &read, Half::First);
        (task.report)(Bytes(1), Bytes(2));
        let middle = match first {
            Ok(()) => self.tick(Place::Middle, "convert").await,
            failed => failed,
        };
        let second =
            middle.and_then(|()| self.site.borrow_mut().convert(convert, &read, Half::Second));
        self.site.borrow_mut().close(&open);
        second?;
        self.tick(Place::After, "convert").await
    }

    async fn compare(&self, one: &Image, other: &Image, task: &Task<'_>) -> Result<bool> {
        let files = [one.path.clone(), other.path.clone()];
        self.tick(Place::Before, "compare").await?;
        let read = self.site.borrow_mut().open_for_compare(&files)?;
        (task.report)(Bytes(1), Bytes(2));
        let middle = self.tick(Place::Middle, "compare").await;
        let same = middle.and_then(|()| self.site.borrow().compare(&files[0], &files[1]));
        self.site.borrow_mut().close(&read);
        let same = same?;
        self.tick(Place::After, "compare").await?;
        Ok(same)
    }

    async fn commit_offline(&self, top: &Image, base: &Image, task: &Task<'_>) -> Result<()> {
        let (top, base) = (&top.path, &base.path);
        self.tick(Place::Before, "commit offline").await?;
        self.site.borrow_mut().open_for_commit(top, base)?;
        self.commit_is_at_work(Some((top.clone(), base.clone())));
        let first = self
            .site
            .borrow_mut()
            .commit_offline(top, base, Half::First);
        (task.report)(Bytes(1), Bytes(2));
        let middle = match first {
            Ok(()) => self.tick(Place::Middle, "commit offline").await,
            failed => failed,
        };
        let second = middle.and_then(|()| {
            self.site
                .borrow_mut()
                .commit_offline(top, base, Half::Second)
        });
        self.commit_is_at_work(None);
        self.site.borrow_mut().close(&[top.clone(), base.clone()]);
        second?;
        self.tick(Place::After, "commit offline").await
    }

    async fn rebase(&self, image: &Image, backing: &Image) -> Result<()> {
        self.act("rebase", |site| site.rebase(image, backing)).await
    }

    async fn flatten(&self, image: &Image, task: &Task<'_>) -> Result<()> {
        let path = &image.path;
        self.tick(Place::Before, "flatten").await?;
        self.site.borrow_mut().open_for_flatten(path)?;
        let first = self.site.borrow_mut().flatten(path, Half::First);
        (task.report)(Bytes(1), Bytes(2));
        let middle = match first {
            Ok(()) => self.tick(Place::Middle, "flatten").await,
            failed => failed,
        };
        let second = middle.and_then(|()| self.site.borrow_mut().flatten(path, Half::Second));
        self.site.borrow_mut().close(std::slice::from_ref(path));
        second?;
        self.tick(Place::After, "flatten").await
    }

    async fn readable(&self, image: &Image) -> Result<()> {
        self.look("readable", |site| site.readable_by_qemu(image))
            .await
    }

    async fn finds(&self, vm: &VmId, _files: &[Utf8PathBuf]) -> Result<()> {
        // One mount namespace for all.
        match self.look("finds", |site| site.vm(vm).map(drop)).await {
            Err(error) if error.fault == Fault::Gone => Ok(()),
            found => found,
        }
    }

    async fn shrink(&self, image: &Image, size: Bytes) -> Result<()> {
        self.act("shrink", |site| site.shrink(image, size)).await
    }

    async fn digest(
        &self,
        path: &Utf8Path,
        _from: ReadFrom,
        _task: &Task<'_>,
    ) -> Result<(Digest, Bytes)> {
        self.look("digest", |site| site.files.digest(path)).await
    }

    async fn list(&self, dir: &Utf8Path) -> Result<Vec<Entry>> {
        self.look("list", |site| site.files.list(dir)).await
    }

    async fn lengths(&self, paths: &[Utf8PathBuf]) -> Result<Vec<Option<Bytes>>> {
        self.look("lengths", |site| {
            let length =
                |path: &Utf8PathBuf| site.files.digest(path).ok().map(|(_, length)| length);
            Ok(paths.iter().map(length).collect())
        })
        .await
    }

    async fn read(&self, path: &Utf8Path) -> Result<Vec<u8>> {
        self.look("read", |site| site.files.read(path)).await
    }

    async fn write(&self, path: &Utf8Path, content: &[u8]) -> Result<()> {
        self.act("write", |site| site.write_text(path, content))
            .await
    }

    async fn copy(&self, from: &Utf8Path, to: &Utf8Path) -> Result<()> {
        self.act("copy file", |site| {
            let content = site.files.read(from)?;
            site.refuse_final_names(to, "written");
            site.files.write(to, &content)
        })
        .await
    }

    async fn archive(&self, _dir: &Utf8Path, to: &Utf8Path) -> Result<()> {
        self.act("archive", |site| site.files.write(to, b"")).await
    }

    async fn unpack(&self, _archive: &Utf8Path, to: &Utf8Path) -> Result<()> {
        self.act("unpack", |site| site.files.make_dir(to)).await
    }

    async fn sync(&self, path: &Utf8Path) -> Result<()> {
        self.act("sync", |site| site.files.sync(path)).await
    }

    async fn make_dir(&self, dir: &Utf8Path) -> Result<()> {
        self.act("make dir", |site| site.files.make_dir(dir)).await
    }

    async fn make_dirs(&self, dir: &Utf8Path) -> Result<()> {
        self.act("make dirs", |site| {
            let above: Vec<_> = dir.ancestors().collect();
            let mut above = above.into_iter().rev();
            above.try_for_each(|dir| site.files.make_dir(dir))
        })
        .await
    }

    async fn rename(&self, from: &Utf8Path, to: &Utf8Path) -> Result<()> {
        self.act("rename", |site| site.rename(from, to)).await
    }

    async fn replace(&self, from: &Utf8Path, to: &Utf8Path) -> Result<()> {
        self.act("replace", |site| site.replace(from, to)).await
    }

    async fn remove(&self, path: &Utf8Path) -> Result<()> {
        self.act("remove", |site| {
            site.remove(path);
            Ok(())
        })
        .await
    }

    async fn space(&self, dir: &Utf8Path) -> Result<Space> {
        self.look("space", |site| {
            site.files.list(dir)?;
            Ok(Space {
                free: Bytes(1 << 40),
                total: Bytes(1 << 40),
                kind: "ext4".to_owned(),
                device: u64::from(dir.starts_with(STORAGE)),
            })
        })
        .await
    }
}
