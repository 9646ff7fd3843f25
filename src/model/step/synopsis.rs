//! Steps in words, for people.

use camino::Utf8Path;

use crate::model::backup::Remark;
use crate::model::id::Target;
use crate::model::layout;
use crate::model::step::Step;

impl Step {
    /// In words, for a plan with details, a log and an error: `merge vda: a into b`.
    #[must_use]
    #[expect(clippy::too_many_lines, reason = "one arm a step")]
    pub fn synopsis(&self) -> String {
        let file = |path: &Utf8Path| path.file_name().unwrap_or(path.as_str()).to_owned();
        match self {
            Self::Mark { storage, .. } => format!("mark {storage} as a storage"),
            Self::Note {
                note: Some(note), ..
            } => match &note.current {
                Some(current) => format!(
                    "note in the domain: change {}, current {current}",
                    note.serial
                ),
                None => format!("note in the domain: change {}", note.serial),
            },
            Self::Note { note: None, .. } => "take the note out of the domain".to_owned(),
            Self::Stage { dir, .. } => format!("make {dir}"),
            Self::Overlay { disks, .. } => {
                let names: Vec<_> = disks.keys().map(Target::as_str).collect();
                format!("freeze {} under new overlays", names.join(" and "))
            }
            Self::Copy {
                target,
                layers,
                to,
                compression,
                ..
            } => {
                let from: Vec<_> = layers.iter().map(|layer| file(&layer.path)).collect();
                let how = compression.map_or_else(String::new, |how| format!(", {how}"));
                format!("copy {target}: {} to {to}{how}", from.join(", "))
            }
            Self::Capture { dir, .. } => format!("write the definitions to {dir}"),
            Self::Thaw { .. } => "see the guest thawed".to_owned(),
            Self::Seal { dir } => format!("complete and sync {dir}"),
            Self::Publish { to, .. } => format!("publish {to}"),
            Self::Merge {
                target, top, base, ..
            }
            | Self::Fold {
                target, top, base, ..
            } => {
                format!(
                    "merge {target}: {} into {}",
                    file(&top.path),
                    file(&base.path)
                )
            }
            Self::Create {
                target, path, on, ..
            } => format!("lay {} on {target}'s {}", file(path), file(&on.path)),
            Self::Point { heads, .. } => {
                let names = heads
                    .iter()
                    .map(|(target, turn)| format!("{target} to {}", file(&turn.to.path)));
                format!("point {}", names.collect::<Vec<_>>().join(" and "))
            }
            Self::Stop { ask: None, .. } => "pull the plug".to_owned(),
            Self::Stop {
                ask: Some(limit),
                pull,
                ..
            } => {
                let else_pull = if *pull { ", else pull the plug" } else { "" };
                format!("ask the guest to shut down within {limit}{else_pull}")
            }
            Self::Describe { to, .. } => format!("write the way back to {to}"),
            Self::Swap { turns, added, .. } => {
                let turns = turns.iter().map(|(target, turn)| (target, &turn.to));
                let names = turns
                    .chain(added)
                    .map(|(target, image)| format!("{target} to {}", file(&image.path)));
                format!("point {}", names.collect::<Vec<_>>().join(" and "))
            }
            Self::Keep {
                target,
                files,
                restore,
                ..
            } => {
                let names: Vec<_> = files.iter().map(|image| file(&image.path)).collect();
                format!(
                    "keep {target}'s {} as .before-{restore}",
                    names.join(" and ")
                )
            }
            Self::Inspect { target, files, .. } => {
                format!(
                    "see that QEMU can read the {} of {target}",
                    counted(files.len())
                )
            }
            Self::Audit { target, files } => {
                format!("read the {} of {target} meanwhile", counted(files.len()))
            }
            Self::Lend { of, .. } => format!("mark {} as read by the VM", of.backup),
            Self::Release { of, .. } => format!("mark {} as read no longer", of.backup),
            Self::Lay { target, on, path } => format!("lay {target}: {} on {on}", file(path)),
            Self::Start { .. } => "start the VM".to_owned(),
            Self::Pull { target, head, .. } => {
                format!("bring all of {target} into {}", file(&head.path))
            }
            Self::Check { target, files } => {
                format!("read the {} of {target}", counted(files.len()))
            }
            Self::Verify { of, files, .. } => {
                format!("read the {} of {}", counted(files.len()), of.backup)
            }
            Self::Consult { of, .. } => format!("read the record of {}", of.backup),
            Self::Drop { target, path, .. } => format!("drop {target}'s {}", file(path)),
            Self::Own { storage, vm, .. } => format!("take over {}", layout::vm_dir(storage, vm)),
            Self::Disown {
                storage, vm, to, ..
            } => {
                format!(
                    "give {} back to {}",
                    layout::vm_dir(storage, vm),
                    to.hostname
                )
            }
            Self::Tag { tags, .. } => {
                let tags: Vec<_> = tags.iter().map(|(k, v)| format!("{k}={v}")).collect();
                format!("set the tags: {}", tags.join(" "))
            }
            Self::Discard { path } | Self::Clear { path, .. } => format!("remove {path}"),
            Self::Remark { of, remark } => {
                let what = match remark {
                    Remark::Pinned { pinned: true } => "pinned",
                    Remark::Pinned { pinned: false } => "not pinned",
                    Remark::Removed { at: Some(_) } => "removed",
                    Remark::Removed { at: None } => "not removed",
                    Remark::Unusable { why: Some(_) } => "unusable",
                    Remark::Unusable { why: None } => "usable",
                    Remark::Becomes { .. } => "being compressed",
                    Remark::Compressed { .. } => "compressed",
                    Remark::Validated { how: Some(how) } if how.is_valid() => "valid",
                    Remark::Validated { how: Some(_) } => "invalid",
                    Remark::Validated { how: None } => "not validated",
                };
                format!("note in {}: {what}", of.dir())
            }
            Self::Remove { of } => format!("remove {}", of.dir()),
            Self::Room { of, .. } => format!("see that there is room beside {}", of.dir()),
            Self::Compress {
                target, to, how, ..
            } => format!("compress {target} to {to}, {how}"),
            Self::Compare { target, other, .. } => {
                format!("see that {} shows the same {target}", file(other))
            }
            Self::Announce { of } => format!("note in {}: being compressed", of.dir()),
            Self::Recant { of } => format!("note in {}: not compressed", of.dir()),
            Self::Replace { from, to, .. } => format!("put {} in the place of {to}", file(from)),
            Self::Settle { of } => format!("note in {}: compressed", of.dir()),
            Self::Boot {
                of, name, trial, ..
            } => format!("boot {} as {name}: {trial}", of.backup),
            Self::Bury { name, .. } => format!("see that {name} is gone"),
            Self::Attest { of } => format!("note in {}: how it went", of.dir()),
            Self::Fetch { target, to, .. } => format!("write {target} to {}", to.path),
            Self::Place { from, to } => format!("copy {from} to {to}"),
            Self::Rename { from, to } => format!("rename {} to {to}", file(from)),
            Self::Unname { from, to } => format!("rename {} back to {from}", file(to)),
            Self::Define { name, .. } => format!("define {name}"),
            Self::Attach { target, image, .. } => format!("attach {} as {target}", image.path),
            Self::Unpack { from, to } => format!("unpack {from} to {to}"),
            Self::Undefine { vm } => format!("undefine {vm}"),
        }
    }
}

fn counted(files: usize) -> String {
    match files {
        1 => "file".to_owned(),
        n => format!("{n} files"),
    }
}
