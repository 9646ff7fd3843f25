//! What an offering allows of the backups that were made under it.

use crate::model::backup::Backup;
use crate::model::policy::Offering;
use crate::model::policy::Policy;
use crate::model::world::Applied;

/// The offering of a backup as it counts now: as the policy has it, a removed one as it was last
/// applied, one that is not on record as the backup has kept it. None: it was made under none.
#[must_use]
pub fn in_force<'a>(
    backup: &'a Backup,
    policy: Option<&'a Policy>,
    applied: &'a Applied,
) -> Option<(&'a str, &'a Offering)> {
    let kept = backup.offering.as_deref()?;
    let name = kept.name.as_str();
    let wanted = policy.and_then(|policy| policy.offerings.get(name));
    let on_record = || applied.offerings.get(name).map(|one| &one.spec);
    Some((name, wanted.or_else(on_record).unwrap_or(&kept.spec)))
}
