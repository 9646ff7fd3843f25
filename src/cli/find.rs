//! VMs and backups by the names people give them. Nothing is guessed: an unknown name is answered
//! with the nearest ones, one that fits several with all of them.

use std::collections::BTreeMap;
use std::fmt::Write;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::cli::failure::Failure;
use crate::cli::failure::Result;
use crate::cli::times;
use crate::model::backup::Backup;
use crate::model::backup::VmRef;
use crate::model::id::BackupId;
use crate::model::id::VmId;
use crate::model::world::Guest;
use crate::policy::glob::Glob;
use crate::policy::suggest;

/// All that is known, by VM.
pub(super) type Guests = BTreeMap<VmId, Guest>;

/// So many candidates are named.
const NAMED: usize = 5;

/// A VM by name or uuid. Of several with one name the one that is defined here is meant.
pub(super) fn vm<'a>(guests: &'a Guests, given: &str) -> Result<&'a Guest> {
    let uuid = VmId::new(given.to_lowercase());
    if let Some(guest) = guests.get(&uuid) {
        return Ok(guest);
    }
    let named: Vec<_> = guests
        .values()
        .filter(|guest| guest.vm.name == given)
        .collect();
    let here = named.iter().find(|guest| guest.machine.is_some());
    match (here, &named[..]) {
        (Some(guest), _) | (None, [guest]) => Ok(guest),
        (None, []) => {
            let known: Vec<_> = guests
                .values()
                .map(|guest| guest.vm.name.as_str())
                .collect();
            Err(unknown("VM", given, &known))
        }
        (None, several) => {
            let uuids = several.iter().map(|guest| guest.vm.uuid.as_str());
            let text = format!("{given} was the name of {} VMs", several.len());
            Err(Failure::new("ambiguous", text).hint(format!("say which: {}", list(uuids))))
        }
    }
}

/// Whether a VM's name is meant as a pattern.
pub(super) fn is_pattern(given: &str) -> bool {
    given.contains(['*', '?', '['])
}

/// All VMs with backups whose name fits a pattern.
pub(super) fn matching<'a>(guests: &'a Guests, pattern: &str) -> Result<Vec<&'a Guest>> {
    let glob =
        Glob::read(pattern).map_err(|why| Failure::usage(format!("{pattern}: {}", why.text)))?;
    let with_backups = guests
        .values()
        .filter(|guest| !guest.record.backups.is_empty());
    let fitting: Vec<_> = with_backups
        .clone()
        .filter(|guest| glob.matches(&guest.vm.name))
        .collect();
    if fitting.is_empty() {
        let known: Vec<_> = with_backups.map(|guest| guest.vm.name.as_str()).collect();
        return Err(unknown("VM", pattern, &known));
    }
    Ok(fitting)
}

/// A VM by name or uuid, that is defined here.
pub(super) fn defined<'a>(guests: &'a Guests, given: &str) -> Result<&'a Guest> {
    let guest = vm(guests, given)?;
    if guest.machine.is_none() {
        let VmRef { name, uuid } = &guest.vm;
        let text = format!("{name} ({uuid}) is not defined here any more");
        return Err(Failure::new("gone", text).hint("its backups stay: knib backup list"));
    }
    Ok(guest)
}

/// A backup by id, by a unique beginning of it, as `VM@latest` or as `VM@TIME`.
pub(super) fn backup<'a>(
    guests: &'a Guests,
    given: &str,
    zone: &TimeZone,
) -> Result<(&'a Guest, &'a Backup)> {
    match given.rsplit_once('@') {
        Some((name, "latest")) => newest(vm(guests, name)?, None),
        Some((name, time)) => {
            let guest = vm(guests, name)?;
            newest(guest, Some(times::instant(time, zone)?))
        }
        None => by_beginning(guests, given),
    }
}

/// The newest good one, at or before an instant.
fn newest(guest: &Guest, until: Option<Timestamp>) -> Result<(&Guest, &Backup)> {
    let record = &guest.record;
    let good = record
        .backups
        .values()
        .map(AsRef::as_ref)
        .filter(|backup: &&Backup| backup.is_good() && record.is_usable(&backup.id));
    let found = good
        .filter(|backup| until.is_none_or(|until| backup.created <= until))
        .max_by_key(|backup| (backup.created, backup.id.clone()));
    found.map(|backup| (guest, backup)).ok_or_else(|| {
        let name = &guest.vm.name;
        let text = match until {
            Some(until) => format!("{name} has no good backup of {until} or before"),
            None => format!("{name} has no good backup"),
        };
        Failure::new("no_backup", text).hint(format!(
            "knib backup list --vm {name} --all shows what there is"
        ))
    })
}

fn by_beginning<'a>(guests: &'a Guests, given: &str) -> Result<(&'a Guest, &'a Backup)> {
    let all = guests
        .values()
        .flat_map(|guest| guest.record.backups.values().map(move |one| (guest, one)));
    let fits: Vec<_> = all
        .filter(|(_, backup)| backup.id.as_str().starts_with(given) && !given.is_empty())
        .collect();
    let exact = fits.iter().find(|(_, backup)| backup.id.as_str() == given);
    match (exact, &fits[..]) {
        (Some((guest, backup)), _) | (None, [(guest, backup)]) => Ok((guest, backup)),
        (None, []) => Err(failed(guests, given).unwrap_or_else(|| {
            let ids: Vec<_> = guests
                .values()
                .flat_map(|guest| guest.record.backups.keys().map(BackupId::as_str))
                .collect();
            unknown("backup", given, &ids)
        })),
        (None, several) => {
            let ids = several
                .iter()
                .map(|(guest, backup)| format!("{} of {}", backup.id, guest.vm.name));
            let text = format!("{given} is the beginning of {} backups", several.len());
            Err(Failure::new("ambiguous", text).hint(format!("say which: {}", list(ids))))
        }
    }
}

/// Why the attempt that is meant did not become a backup, if there was one.
fn failed(guests: &Guests, given: &str) -> Option<Failure> {
    let mut attempts = guests.values().flat_map(|guest| {
        let failures = guest.record.failures.iter();
        failures.map(move |failed| (guest, failed))
    });
    let (guest, failed) = attempts.find(|(_, failed)| failed.backup.as_str() == given)?;
    let text = format!(
        "the backup {given} of {} did not come about: {}",
        guest.vm.name, failed.error.text
    );
    let hint = format!(
        "choose another one: knib backup list --vm {}",
        guest.vm.name
    );
    Some(Failure::new("no_backup", text).hint(hint))
}

/// A backup, or an attempt at one that failed.
pub(super) fn attempt<'a>(
    guests: &'a Guests,
    given: &str,
    zone: &TimeZone,
) -> Result<(&'a Guest, &'a BackupId)> {
    let of_guest = |guest: &'a Guest| {
        let failed = guest.record.failures.iter();
        let fits = failed.filter(|one| one.backup.as_str().starts_with(given));
        fits.map(move |one| (guest, &one.backup))
    };
    let failed: Vec<_> = guests.values().flat_map(of_guest).collect();
    match (backup(guests, given, zone), &failed[..]) {
        (Ok((guest, found)), _) => Ok((guest, &found.id)),
        (Err(_), [one]) if !given.is_empty() => Ok(*one),
        (Err(why), _) => Err(why),
    }
}

/// A name that nothing has.
pub(super) fn unknown(what: &str, given: &str, known: &[&str]) -> Failure {
    let failure = Failure::new("unknown", format!("there is no {what} {given:?}"));
    let nearest = suggest::nearest(given, known.iter().copied(), NAMED);
    if nearest.is_empty() {
        return match known {
            [] => failure.hint(format!("no {what} is known here")),
            few if few.len() <= NAMED => failure.hint(format!("there is {}", list(few))),
            _ => failure,
        };
    }
    failure.hint(format!("did you mean {}?", list(nearest)))
}

/// The first few, and how many more.
fn list(names: impl IntoIterator<Item = impl ToString>) -> String {
    let names: Vec<_> = names.into_iter().map(|name| name.to_string()).collect();
    let more = names.len().saturating_sub(NAMED);
    let mut text = names[..names.len() - more].join(", ");
    if more > 0 {
        let _ = write!(text, " and {more} more");
    }
    text
}
