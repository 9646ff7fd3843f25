//! Reading the index: what is on record about VMs.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::CachedStatement;
use rusqlite::Connection;
use rusqlite::params_from_iter;

use crate::model::backup::Backup;
use crate::model::backup::VmRef;
use crate::model::id::BackupId;
use crate::model::id::VmId;
use crate::model::record::Assigned;
use crate::model::record::Failed;
use crate::model::record::Record;
use crate::state::Result;
use crate::state::State;
use crate::state::error::Trouble;
use crate::state::job;
use crate::state::value::Word;
use crate::state::value::parse;
use crate::state::verified;

type Records = BTreeMap<VmId, (VmRef, Record)>;

impl State {
    /// What is on record about every VM.
    ///
    /// # Errors
    /// `Locked`, `Damaged`, `Io`.
    pub fn records(&self) -> Result<Records> {
        self.see(|db| records(db, None))
    }

    /// What is on record about one VM; reads nothing of the others.
    ///
    /// # Errors
    /// `Locked`, `Damaged`, `Io`.
    pub fn record(&self, vm: &VmId) -> Result<Option<(VmRef, Record)>> {
        self.see(|db| Ok(records(db, Some(vm))?.remove(vm)))
    }
}

fn records(db: &Connection, only: Option<&VmId>) -> Result<Records, Trouble> {
    let mut records = vms(db, only)?;
    backups(db, only, &mut records)?;
    served(db, only, &mut records)?;
    failures(db, only, &mut records)?;
    jobs(db, only, &mut records)?;
    verifications(db, only, &mut records)?;
    Ok(records)
}

/// A query for one VM or for all, `key` being where a VM's id is.
fn query<'a>(
    db: &'a Connection,
    select: &str,
    key: &str,
    only: Option<&VmId>,
) -> rusqlite::Result<CachedStatement<'a>> {
    match only {
        Some(_) => db.prepare_cached(&format!("{select} WHERE {key} = ?1")),
        None => db.prepare_cached(select),
    }
}

fn vms(db: &Connection, only: Option<&VmId>) -> Result<Records, Trouble> {
    let select = "SELECT id, name, policy, since, current, serial, snapshots, retention FROM vm";
    let mut statement = query(db, select, "id", only)?;
    let mut rows = statement.query(params_from_iter(only.map(VmId::as_str)))?;
    let mut records = Records::new();
    while let Some(row) = rows.next()? {
        let Word(uuid): Word<VmId> = row.get(0)?;
        let name: String = row.get(1)?;
        let policy: Option<String> = row.get(2)?;
        let since: Option<Word<Timestamp>> = row.get(3)?;
        let current: Option<Word<BackupId>> = row.get(4)?;
        let snapshots: Option<String> = row.get(6)?;
        let snapshots = snapshots.map(|text| parse(format_args!("the snapshots of {name}"), &text));
        let retention: Option<String> = row.get(7)?;
        let retention = retention.map(|text| parse(format_args!("the retention of {name}"), &text));
        let record = Record {
            assigned: policy
                .zip(since)
                .map(|(policy, Word(since))| Assigned { policy, since }),
            current: current.map(|Word(id)| id),
            serial: row.get(5)?,
            snapshots: snapshots.transpose()?.unwrap_or_default(),
            retention: retention.transpose()?,
            ..Record::default()
        };
        let vm = VmRef {
            name,
            uuid: uuid.clone(),
        };
        records.insert(uuid, (vm, record));
    }
    Ok(records)
}

fn backups(db: &Connection, only: Option<&VmId>, records: &mut Records) -> Result<(), Trouble> {
    let mut statement = query(db, "SELECT vm, id, spec FROM backup", "vm", only)?;
    let mut rows = statement.query(params_from_iter(only.map(VmId::as_str)))?;
    while let Some(row) = rows.next()? {
        let Word(vm) = row.get(0)?;
        let Word(id): Word<BackupId> = row.get(1)?;
        let text = row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?;
        let mut backup: Backup = parse(format_args!("backup {id}"), text)?;
        if let Some((_, record)) = records.get_mut(&vm) {
            if let Some((_, other)) = record.backups.last_key_value() {
                backup.share_with(other);
            }
            record.backups.insert(id, Arc::new(backup));
        }
    }
    Ok(())
}

fn served(db: &Connection, only: Option<&VmId>, records: &mut Records) -> Result<(), Trouble> {
    let mut statement = query(db, "SELECT vm, schedule, at FROM served", "vm", only)?;
    let mut rows = statement.query(params_from_iter(only.map(VmId::as_str)))?;
    while let Some(row) = rows.next()? {
        let Word(vm) = row.get(0)?;
        let Word(at) = row.get(2)?;
        if let Some((_, record)) = records.get_mut(&vm) {
            record.served.insert(row.get(1)?, at);
        }
    }
    Ok(())
}

fn jobs(db: &Connection, only: Option<&VmId>, records: &mut Records) -> Result<(), Trouble> {
    let select = format!("SELECT {} FROM job", job::COLUMNS);
    let mut statement = query(db, &select, "vm", only)?;
    let mut rows = statement.query(params_from_iter(only.map(VmId::as_str)))?;
    while let Some(row) = rows.next()? {
        let (vm, job) = job::read(row)?;
        if let Some((_, record)) = records.get_mut(&vm) {
            record.jobs.insert(job.id(), job);
        }
    }
    Ok(())
}

fn verifications(
    db: &Connection,
    only: Option<&VmId>,
    records: &mut Records,
) -> Result<(), Trouble> {
    let select = format!("SELECT vm, backup, {} FROM verified", verified::COLUMNS);
    let mut statement = query(db, &select, "vm", only)?;
    let mut rows = statement.query(params_from_iter(only.map(VmId::as_str)))?;
    while let Some(row) = rows.next()? {
        let Word(vm) = row.get(0)?;
        let Word(backup) = row.get(1)?;
        if let Some((_, record)) = records.get_mut(&vm) {
            record.verified.insert(backup, verified::read(row, 2)?);
        }
    }
    Ok(())
}

fn failures(db: &Connection, only: Option<&VmId>, records: &mut Records) -> Result<(), Trouble> {
    // In the order they were written: read so without a key, and for a VM by its index.
    let select = "SELECT vm, backup, at, slots, error FROM failure";
    let mut statement = query(db, select, "vm", only)?;
    let mut rows = statement.query(params_from_iter(only.map(VmId::as_str)))?;
    while let Some(row) = rows.next()? {
        let Word(vm) = row.get(0)?;
        let Word(backup): Word<BackupId> = row.get(1)?;
        let Word(at) = row.get(2)?;
        let what = format_args!("what failed backup {backup} was for");
        let slots = parse(what, &row.get::<_, String>(3)?)?;
        let what = format_args!("the error of backup {backup}");
        let error = parse(what, &row.get::<_, String>(4)?)?;
        let failed = Failed {
            backup,
            at,
            slots,
            error,
        };
        if let Some((_, record)) = records.get_mut(&vm) {
            record.failures.push(failed);
        }
    }
    Ok(())
}
