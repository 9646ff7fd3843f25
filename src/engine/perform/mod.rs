//! Steps made true: look, do one thing, look again, from wherever it got to before.
//!
//! A step may find itself not begun, half done or done, and the VM started or stopped meanwhile. It
//! knows nothing of the steps around it beyond their receipts.

mod boot;
mod branch;
mod clear;
mod compress;
mod copy;
mod freeze;
mod lend;
mod merge;
mod note;
mod overlay;
mod owner;
mod picture;
mod place;
mod point;
mod pull;
mod remark;
mod replace;
mod restore;
mod seal;
mod stage;
mod start;
mod stop;
mod swap;
mod trial;
mod verify;

use std::collections::BTreeMap;
use std::rc::Rc;

use camino::Utf8Path;
use jiff::Timestamp;

use crate::engine::Engine;
use crate::engine::perform::owner::Place;
use crate::host::Head;
use crate::host::Host;
use crate::host::Renewal;
use crate::model::event::Event;
use crate::model::fault::Fault;
use crate::model::id::ActionId;
use crate::model::id::Target;
use crate::model::machine::Machine;
use crate::model::op::Op;
use crate::model::program::Program;
use crate::model::program::StepError;
use crate::model::receipt::Receipt;
use crate::model::step::Image;
use crate::model::step::Step;
use crate::sabotage;
use crate::sabotage::Sabotage;

/// What a step may know of its action.
pub(super) struct Scene {
    pub(super) action: ActionId,
    pub(super) op: Rc<Op>,
    pub(super) program: Rc<Program>,
    pub(super) receipts: Vec<Vec<Option<Receipt>>>,
    /// When the step was first intended.
    pub(super) since: Timestamp,
    /// An earlier run intended it.
    pub(super) again: bool,
}

type Performed = Result<Receipt, StepError>;

/// Makes a step true.
#[expect(clippy::too_many_lines, reason = "one arm a step")]
pub(super) async fn perform<H: Host>(engine: &Engine<H>, scene: &Scene, step: &Step) -> Performed {
    match step {
        Step::Mark { storage, marker } => stage::mark(engine, storage, marker).await,
        Step::Note {
            vm,
            claim,
            claims,
            note,
        } => note::perform(engine, vm, *claim, *claims, note.as_ref()).await,
        Step::Stage {
            storage,
            id,
            vm,
            dir,
        } => stage::stage(engine, storage, id, vm, dir).await,
        Step::Overlay {
            vm,
            claim,
            disks,
            others,
            quiesce,
        } => {
            let overlay = overlay::Overlay {
                vm,
                claim: *claim,
                disks,
                others,
                quiesce: *quiesce,
            };
            overlay.perform(engine, scene).await
        }
        Step::Copy {
            target,
            layers,
            parent,
            to,
            limit,
            compression,
        } => {
            let copy = copy::Copy {
                target,
                layers,
                parent: parent.as_deref(),
                to,
                limit: *limit,
                compression: *compression,
            };
            copy::copy(engine, scene, &copy).await
        }
        Step::Room {
            of,
            files,
            thousandths,
        } => compress::room(engine, of, files, *thousandths).await,
        Step::Compress {
            target,
            from,
            parent,
            to,
            how,
            limit,
        } => {
            let files = compress::Files {
                target,
                from,
                to,
                limit: *limit,
            };
            files.compress(engine, scene, parent.as_deref(), *how).await
        }
        Step::Compare {
            target,
            one,
            other,
            limit,
        } => {
            let files = compress::Files {
                target,
                from: one,
                to: other,
                limit: *limit,
            };
            files.compare(engine, scene).await
        }
        Step::Announce { of } => replace::announce(engine, of).await,
        Step::Recant { of } => remark::remark(engine, of, &replace::NONE).await,
        Step::Replace { target, from, to } => {
            replace::replace(engine, scene, target, from, to).await
        }
        Step::Settle { of } => replace::settle(engine, scene, of).await,
        Step::Boot {
            of,
            ancestors,
            vm,
            name,
            dir,
            heads,
            backing,
            trial,
        } => {
            let boot = boot::Boot {
                of,
                ancestors,
                vm,
                name,
                dir,
                heads,
                backing,
                trial,
            };
            boot.perform(engine, scene).await
        }
        Step::Bury { of, vm, name, dir } => boot::bury(engine, of, vm, name, dir).await,
        Step::Attest { of } => boot::attest(engine, scene, of).await,
        Step::Capture { vm, dir } => seal::capture(engine, scene, vm, dir).await,
        Step::Thaw { vm } => freeze::thaw(engine, scene, vm).await,
        Step::Seal { dir } => seal::seal(engine, scene, dir).await,
        Step::Publish { from, to } | Step::Rename { from, to } => {
            place::rename(engine, from, to).await
        }
        Step::Unname { from, to } => place::unname(engine, from, to).await,
        Step::Merge {
            vm,
            claim,
            target,
            top,
            base,
            above,
            branches,
        } => {
            let merge = merge::Merge {
                vm,
                claim: *claim,
                target,
                top,
                base,
                above: above.as_ref(),
                branches,
            };
            merge.perform(engine, scene).await
        }
        Step::Fold {
            vm,
            claim,
            target,
            top,
            base,
            branches,
        } => {
            let merge = merge::Merge {
                vm,
                claim: *claim,
                target,
                top,
                base,
                above: None,
                branches,
            };
            branch::fold(engine, scene, &merge).await
        }
        Step::Create { path, on, .. } => branch::create(engine, path, on).await,
        Step::Point {
            vm,
            claim,
            heads,
            back,
        } => point::perform(engine, scene, vm, *claim, heads, *back).await,
        Step::Stop { vm, ask, pull } => stop::stop(engine, scene, vm, *ask, *pull).await,
        Step::Describe {
            vm,
            claim,
            heads,
            to,
        } => swap::describe(engine, vm, *claim, heads, to).await,
        Step::Swap {
            vm,
            claim,
            turns,
            added,
            definition,
            backing,
        } => {
            let swap = swap::Swap {
                vm,
                claim: *claim,
                turns,
                added,
                definition,
                backing,
            };
            swap.perform(engine).await
        }
        Step::Keep {
            vm,
            claim,
            target,
            files,
            restore,
        } => swap::keep(engine, vm, *claim, target, files, restore).await,
        Step::Drop {
            vm,
            claim,
            target,
            path,
            blank,
        } => {
            let layer = branch::Unneeded {
                vm,
                claim: *claim,
                target,
                path,
                blank: *blank,
            };
            layer.drop(engine, scene).await
        }
        Step::Remark { of, remark } => remark::remark(engine, of, remark).await,
        Step::Clear { path, kind } => clear::clear(engine, scene, path, *kind).await,
        Step::Remove { of } => remark::remove(engine, of).await,
        Step::Own {
            storage,
            id,
            vm,
            from,
            backups,
        } => {
            let place = Place { storage, id, vm };
            place.take_over(engine, from, backups).await
        }
        Step::Disown {
            storage,
            id,
            vm,
            to,
        } => Place { storage, id, vm }.give_back(engine, to).await,
        Step::Tag { vm, tags } => note::tag(engine, vm, tags).await,
        Step::Discard { path } => place::discard(engine, path).await,
        Step::Place { from, to } => place::place(engine, from, to).await,
        Step::Check { target, files } => {
            restore::check(engine, scene, "verify", target, files).await?;
            Ok(Receipt::Done)
        }
        Step::Verify { of, files, rate } => verify::verify(engine, scene, of, files, *rate).await,
        Step::Consult { of, imprint } => verify::consult(engine, scene, of, *imprint).await,
        Step::Inspect { by, target, files } => restore::inspect(engine, by, target, files).await,
        Step::Audit { target, files } => restore::audit(engine, scene, target, files).await,
        Step::Lend { of, to } => lend::lend(engine, scene, of, to).await,
        Step::Release { of, to } => lend::release(engine, of, to).await,
        Step::Lay { on, path, .. } => restore::lay(engine, on, path).await,
        Step::Start { vm, heads } => start::start(engine, scene, vm, heads).await,
        Step::Pull {
            vm,
            target,
            head,
            below,
        } => {
            let below = below.as_ref();
            let pull = pull::Pull {
                vm,
                target,
                head,
                below,
            };
            pull.perform(engine, scene).await
        }
        Step::Fetch { target, chain, to } => restore::fetch(engine, scene, target, chain, to).await,
        Step::Define {
            definition,
            vm,
            name,
            disks,
            backing,
            nvram,
            manner,
        } => {
            let renewal = Renewal {
                id: vm.clone(),
                name: name.clone(),
                heads: heads(disks, backing),
                nvram: nvram.clone(),
                manner: manner.clone(),
            };
            restore::define(engine, definition, &renewal).await
        }
        Step::Attach {
            vm,
            claim,
            definition,
            disk,
            target,
            image,
            backing,
        } => {
            let attach = swap::Attach {
                vm,
                claim: *claim,
                definition,
                disk,
                target,
                image,
                backing,
            };
            attach.perform(engine).await
        }
        Step::Unpack { from, to } => place::unpack(engine, from, to).await,
        Step::Undefine { vm } => restore::undefine(engine, vm).await,
    }
}

impl<H: Host> Engine<H> {
    /// Reports how a long step goes on.
    fn reporter<'a>(
        &'a self,
        scene: &'a Scene,
        what: &'static str,
        target: &'a Target,
    ) -> impl Fn(crate::model::bytes::Bytes, crate::model::bytes::Bytes) + 'a {
        move |done, total| {
            self.say(&Event::Progress {
                action: scene.action.clone(),
                what,
                target: Some(target.clone()),
                done,
                total,
            });
        }
    }

    fn tell(&self, scene: &Scene, text: impl Into<String>) {
        self.say(&Event::Said {
            action: scene.action.clone(),
            text: text.into(),
        });
    }
}

/// Disks as a definition is to have them.
fn heads<'a>(
    images: impl IntoIterator<Item = (&'a Target, &'a Image)>,
    backing: &BTreeMap<Target, Vec<Image>>,
) -> Vec<Head> {
    let head = |(target, image): (&Target, &Image)| Head {
        target: target.clone(),
        image: image.clone(),
        backing: backing.get(target).cloned().unwrap_or_default(),
    };
    images.into_iter().map(head).collect()
}

/// A new file is on stable storage, its name as well: a step that is done is not looked at again.
async fn settled<H: Host>(engine: &Engine<H>, file: &Utf8Path) -> Result<(), StepError> {
    if sabotage::is(Sabotage::NoSync) {
        return Ok(());
    }
    engine.host.sync(file).await?;
    if let Some(dir) = file.parent() {
        engine.host.sync(dir).await?;
    }
    Ok(())
}

/// A domain that does not carry the program's claim was defined again from an older XML, or was
/// touched by another state: nothing about it is what the program was made for.
fn claimed(machine: &Machine, claim: u64) -> Result<(), StepError> {
    let found = machine.note.as_ref().map_or(0, |note| note.serial);
    if found == claim {
        return Ok(());
    }
    let name = &machine.name;
    Err(conflict(
        format!(
            "the definition of {name} is not the one this action claimed (change {claim}, found {found}): it was defined again meanwhile"
        ),
        format!(
            "define the newest XML again (virsh edit {name} keeps it), then apply; nothing was touched"
        ),
    ))
}

fn conflict(text: impl Into<String>, hint: impl Into<String>) -> StepError {
    StepError {
        fault: Fault::Conflict,
        text: text.into(),
        hint: Some(hint.into()),
    }
}

/// The call that cannot be taken back did not take effect.
fn untouched(error: StepError) -> StepError {
    StepError {
        fault: Fault::Untouched,
        ..error
    }
}
