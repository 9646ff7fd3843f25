//! A state that was made anew, or would be.

use camino::Utf8PathBuf;
use schemars::JsonSchema;
use serde::Serialize;

use crate::model::finding::Finding;
use crate::model::id::StateId;
use crate::planner::rebuild::Rebuilt;
use crate::planner::rebuild::RebuiltVm;

/// What `knib state rebuild` made.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct RebuiltView {
    /// The state file.
    #[schemars(with = "String")]
    pub path: Utf8PathBuf,
    /// The id that the backups know it by; null: a new one, for there are none.
    pub id: Option<StateId>,
    /// It was written.
    pub written: bool,
    /// The file that was there before, where it is kept.
    #[schemars(with = "Option<String>")]
    pub kept: Option<Utf8PathBuf>,
    /// What it knows of each VM.
    pub vms: Vec<RebuiltVm>,
    /// What it does not take, and why. With an error among them it is not written.
    pub findings: Vec<Finding>,
}

/// As it is before anything is written.
#[must_use]
pub fn view(path: &Utf8PathBuf, rebuilt: &Rebuilt) -> RebuiltView {
    RebuiltView {
        path: path.clone(),
        id: rebuilt.id.clone(),
        written: false,
        kept: None,
        vms: rebuilt.vms.clone(),
        findings: rebuilt.findings.clone(),
    }
}
