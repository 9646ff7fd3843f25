//! What a policy asks for and nothing carries out: said, never passed over.

use crate::model::finding::Finding;
use crate::model::finding::Severity;
use crate::model::policy::Policy;
use crate::planner::draft::Draft;

pub(super) fn tell(draft: &mut Draft<'_>, policy: &Policy) {
    let mut say = |key: String, what: &str| {
        let text = format!("{what}: not built yet");
        let origin = policy.origins.get(&key);
        draft.findings.push(
            Finding::new(Severity::Warning, "not_built", text)
                .at(origin, "accepted and kept on record"),
        );
    };
    for (name, storage) in &policy.storages {
        if storage.verify.is_some() {
            say(
                format!("storage.{name}.verify"),
                &format!("storage {name}: regular verification"),
            );
        }
    }
}
