//! `offerings`, and how backups are validated.

use std::collections::BTreeMap;

use super::Check;
use super::DAY;
use super::HOUR;
use super::YEAR;
use crate::model::policy::Offering;
use crate::model::policy::Validation;
use crate::model::policy::ValidationStep;
use crate::policy::node::Node;
use crate::policy::node::Value;
use crate::policy::raw;
use crate::policy::raw::Step;
use crate::policy::raw::ValidateSwitch;

impl Check<'_, '_> {
    pub(super) fn offerings(&mut self) -> BTreeMap<String, Offering> {
        let entries = self.section::<raw::Offering>("offerings").into_iter();
        entries
            .map(|(name, entry, raw)| {
                let validate = match (&raw.validate, entry.node.at(&["validate"])) {
                    (Some(ValidateSwitch::Switch(true)), _) => Some(Validation::default()),
                    (Some(ValidateSwitch::How(how)), Some(node)) => Some(self.how(how, node)),
                    _ => None,
                };
                let offering = Offering {
                    description: raw.description,
                    compress: raw.compress.unwrap_or_default(),
                    compression_library: raw.compression_library.unwrap_or_default(),
                    compress_mode: raw.compress_mode.unwrap_or_default(),
                    validate: validate.map(Box::new),
                    allow_quick_restore: raw.allow_quick_restore.unwrap_or_default(),
                    allow_extract_file: raw.allow_extract_file.unwrap_or_default(),
                    backup_chain_size: raw.backup_chain_size,
                };
                (name, offering)
            })
            .collect()
    }

    /// How to validate, as an offering or a policy says it.
    pub(super) fn how(&mut self, raw: &raw::Validate, node: &Node) -> Validation {
        Validation {
            steps: raw.steps.as_ref().map(|steps| self.steps(steps, node)),
            boot_timeout: self.length(raw.boot_timeout.as_ref(), node, "bootTimeout", 1..=DAY),
            screenshot_wait: self.length(
                raw.screenshot_wait.as_ref(),
                node,
                "screenshotWait",
                0..=HOUR,
            ),
            command: raw.command.clone(),
            arguments: raw.arguments.clone(),
            command_timeout: self.length(
                raw.command_timeout.as_ref(),
                node,
                "commandTimeout",
                1..=DAY,
            ),
            expected_exit_code: raw.expected_exit_code,
            expected_output: raw.expected_output.clone(),
            interval: self.length(raw.interval.as_ref(), node, "interval", 0..=YEAR),
            end_chain_on_failure: raw.end_chain_on_failure,
        }
    }

    fn steps(&mut self, steps: &[Step], node: &Node) -> Vec<ValidationStep> {
        for (index, step) in steps.iter().enumerate() {
            let places = match node.at(&["steps"]).map(|node| &node.value) {
                Some(Value::List(items)) => items.get(index).map(|item| item.place),
                _ => None,
            };
            if let (true, Some(place)) = (steps[..index].contains(step), places) {
                self.refuse(
                    "twice",
                    "a step of a validation is named twice",
                    place,
                    "again here",
                    "name each step once",
                );
            }
        }
        steps.iter().copied().map(ValidationStep::from).collect()
    }

    /// What a policy makes of its offering's validation. `node` is the policy's.
    pub(super) fn how_for_policy(
        &mut self,
        raw: Option<&raw::Validate>,
        node: &Node,
        offering: Option<(&str, &Offering)>,
    ) -> Option<Validation> {
        let own_node = node.at(&["validate"]);
        let own = raw.zip(own_node).map(|(raw, node)| self.how(raw, node));
        let (name, offering) = offering?;
        let Some(base) = &offering.validate else {
            if let Some(entry) = node.entry("validate") {
                let text = format!("offering `{name}` does not validate");
                let hint =
                    format!("write `validate: true` in offering `{name}`, or leave this out");
                self.refuse(
                    "contradiction",
                    text,
                    entry.key,
                    "this has no effect",
                    &hint,
                );
            }
            return own;
        };
        let said = |by: Option<&Validation>| by.and_then(|how| how.steps.clone());
        let steps = said(own.as_ref()).or_else(|| base.steps.clone());
        let command = own
            .as_ref()
            .and_then(|own| own.command.as_ref())
            .or(base.command.as_ref());
        let runs = steps.is_some_and(|steps| steps.contains(&ValidationStep::ExecuteCommand));
        if runs && command.is_none() {
            let theirs = self.whole.at(&["offerings", name, "validate"]);
            let by_policy = own_node.and_then(|node| node.at(&["steps"]));
            let by_offering = theirs.and_then(|node| node.at(&["steps"]));
            if let Some(steps) = by_policy.or(by_offering) {
                let hint = "write `command`, the path of a program in the guest";
                let place = steps.place;
                self.refuse(
                    "missing_key",
                    "`executeCommand` has no command",
                    place,
                    "asked for here",
                    hint,
                );
            }
        }
        own
    }
}
