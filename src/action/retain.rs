//! The retention in force of a VM moves to what its policy says.
//!
//! It never runs ahead: while there is a backup that the retention in force keeps and the other would
//! not, it stays. So whatever comes between a plan and its apply, no later plan takes for rotation what
//! nobody allowed.

use crate::model::op::Retain;
use crate::model::program::Program;
use crate::model::program::Refusal;
use crate::model::record::Record;
use crate::model::world::Guest;

/// Only the record changes.
pub(super) fn program(op: &Retain, guest: Option<&Guest>) -> Result<Program, Refusal> {
    let spared = guest.map_or(0, |guest| spared(op, &guest.record));
    if spared == 0 {
        return Ok(Program::default());
    }
    let name = &op.vm.name;
    let text = match spared {
        1 => format!(
            "1 backup of {name} is kept now and would go by {}",
            op.rules.policy
        ),
        n => format!(
            "{n} backups of {name} are kept now and would go by {}",
            op.rules.policy
        ),
    };
    let hint = "knib plan shows them; knib apply --allow-destructive lets them go";
    Err(Refusal::new("retention_spares", text, hint))
}

/// How many backups are kept now and would go. While nothing let any go, all are kept.
fn spared(op: &Retain, record: &Record) -> usize {
    if let Some(in_force) = &record.retention {
        return in_force.spares(&op.rules, record, op.at).len();
    }
    let verdicts = op.rules.judge(record, op.at).into_values();
    verdicts.filter(|verdict| !verdict.stays()).count()
}
