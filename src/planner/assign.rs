//! Which VM has which policy: by identity, the higher priority first; a tie is for a person.

use serde_json::json;

use crate::model::backup::VmRef;
use crate::model::finding::Finding;
use crate::model::finding::Severity;
use crate::model::id::BackupId;
use crate::model::layout;
use crate::model::machine::Machine;
use crate::model::op::Assign;
use crate::model::op::Merge;
use crate::model::op::Op;
use crate::model::op::Unassign;
use crate::model::plan::Class;
use crate::model::policy::Policy;
use crate::model::policy::VmPolicy;
use crate::model::reason::Reason;
use crate::planner::draft::Draft;
use crate::planner::draft::Key;
use crate::planner::draft::Wish;
use crate::policy::select;

/// Assigns and takes away. Returns the names of VMs that no policy selects.
pub(super) fn plan(draft: &mut Draft<'_>, policy: &Policy) -> Vec<String> {
    let mut unprotected = Vec::new();
    let mut selected = std::collections::BTreeSet::new();
    for guest in draft.now.guests.values() {
        let choice = match &guest.machine {
            Some(machine) => choose(policy, machine),
            None => Choice::Nobody,
        };
        let ahead = draft.ahead.guests.get(&guest.vm.uuid);
        let assigned = ahead.and_then(|guest| guest.record.assigned.as_ref());
        let before = assigned.map(|assigned| assigned.policy.clone());
        match choice {
            Choice::One { name, by, also } => {
                selected.insert(name.clone());
                if before.as_ref() != Some(&name) {
                    assign(
                        draft,
                        &guest.vm,
                        name,
                        Reason::Selected { by, also, before },
                    );
                }
            }
            Choice::Tie(tied) => {
                draft.findings.push(tie(policy, &guest.vm, &tied));
                selected.extend(tied);
            }
            Choice::Nobody => {
                if before.is_some() {
                    leave(draft, &guest.vm);
                }
                if guest.machine.is_some() {
                    unprotected.push(guest.vm.name.clone());
                }
            }
        }
    }
    for name in policy
        .policies
        .keys()
        .filter(|name| !selected.contains(*name))
    {
        let text = format!("policy {name} selects no VM here");
        let origin = policy.origins.get(&format!("policies.{name}"));
        draft
            .findings
            .push(Finding::new(Severity::Note, "selects_nothing", text).at(origin, ""));
    }
    unprotected.sort();
    unprotected
}

enum Choice {
    One {
        name: String,
        by: String,
        also: Vec<String>,
    },
    Tie(Vec<String>),
    Nobody,
}

fn choose(policy: &Policy, machine: &Machine) -> Choice {
    let mut matched: Vec<(&String, &VmPolicy, String)> = policy
        .policies
        .iter()
        .filter_map(|(name, spec)| {
            let by = select::matched(
                &spec.select,
                &machine.name,
                machine.id.as_str(),
                &machine.tags,
            )?;
            Some((name, spec, by.to_string()))
        })
        .collect();
    matched.sort_by_key(|(_, spec, _)| std::cmp::Reverse(spec.priority));
    let Some((name, best, by)) = matched.first() else {
        return Choice::Nobody;
    };
    let tied: Vec<_> = matched
        .iter()
        .filter(|(_, spec, _)| spec.priority == best.priority)
        .map(|(name, _, _)| (*name).clone())
        .collect();
    if tied.len() > 1 {
        return Choice::Tie(tied);
    }
    let also = matched[1..]
        .iter()
        .map(|(name, _, _)| (*name).clone())
        .collect();
    Choice::One {
        name: (*name).clone(),
        by: by.clone(),
        also,
    }
}

fn assign(draft: &mut Draft<'_>, vm: &VmRef, policy: String, reason: Reason) {
    let op = Assign {
        vm: vm.clone(),
        policy: policy.clone(),
        since: draft.now.now,
    };
    let mut wish = Wish::new(
        format!("assign.{}", vm.name),
        Op::Assign(op),
        Class::Config,
        reason,
    );
    wish.change.before = match &wish.reason {
        Reason::Selected {
            before: Some(before),
            ..
        } => json!({ "policy": before }),
        _ => json!(null),
    };
    wish.change.after = json!({ "policy": policy });
    wish.needs = vec![Key::Vm(vm.uuid.clone()), Key::Policy(policy)];
    wish.gives = vec![Key::Vm(vm.uuid.clone())];
    draft.add(wish);
}

/// A VM that leaves has its deltas merged and keeps its backups.
fn leave(draft: &mut Draft<'_>, vm: &VmRef) {
    let guest = draft.ahead.guests.get(&vm.uuid);
    let touched = guest.is_some_and(|guest| {
        let Some(machine) = &guest.machine else {
            return false;
        };
        let mut layers = machine.disks.iter().flat_map(|disk| &disk.layers);
        let ours = |id: &BackupId| guest.record.backups.contains_key(id);
        machine.note.is_some()
            || layers.any(|layer| layout::delta_of(&layer.path).is_some_and(|id| ours(&id)))
    });
    if touched {
        let op = Op::Merge(Merge {
            vm: vm.clone(),
            leave: true,
        });
        let mut wish = Wish::new(
            format!("merge.{}", vm.name),
            op,
            Class::Routine,
            Reason::NotSelected,
        );
        wish.estimate = draft.merge_estimate(vm);
        wish.needs = vec![Key::Vm(vm.uuid.clone())];
        wish.gives = vec![Key::Vm(vm.uuid.clone())];
        if !draft.add(wish) {
            return;
        }
    }
    let op = Op::Unassign(Unassign { vm: vm.clone() });
    let mut wish = Wish::new(
        format!("assign.{}", vm.name),
        op,
        Class::Config,
        Reason::NotSelected,
    );
    wish.change.before = draft
        .ahead
        .guests
        .get(&vm.uuid)
        .and_then(|guest| guest.record.assigned.as_ref())
        .map_or(json!(null), |assigned| json!({ "policy": assigned.policy }));
    wish.needs = vec![Key::Vm(vm.uuid.clone())];
    wish.gives = vec![Key::Vm(vm.uuid.clone())];
    draft.add(wish);
}

fn tie(policy: &Policy, vm: &VmRef, tied: &[String]) -> Finding {
    let text = format!(
        "policies {} select {} at the same priority",
        tied.join(" and "),
        vm.name
    );
    let mut finding = Finding::new(Severity::Error, "tie", text)
        .vm(vm.name.clone())
        .hint("give one of them a higher `priority`, or exclude the VM from the other");
    for name in tied {
        let origin = policy.origins.get(&format!("policies.{name}.select"));
        finding = finding.at(origin, format!("{name} selects it here"));
    }
    finding
}
