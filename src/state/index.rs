//! The record learns what actions changed: `Change` in SQL. `World::learn` says the same in memory.

use jiff::Timestamp;
use rusqlite::Connection;
use rusqlite::OptionalExtension;
use rusqlite::params;

use crate::model::backup::Backup;
use crate::model::backup::Remark;
use crate::model::backup::VmRef;
use crate::model::change::Change;
use crate::model::id::BackupId;
use crate::model::op::BackupOp;
use crate::state::error::Trouble;
use crate::state::job;
use crate::state::value::json;
use crate::state::value::parse;
use crate::state::value::time;
use crate::state::verified;

/// So many failed backups of a VM stay on record.
const FAILURES: u32 = 50;

/// Writes one change.
pub(super) fn learn(db: &Connection, change: &Change) -> Result<(), Trouble> {
    match change {
        Change::Storage { storage, path } => {
            db.execute(
                "INSERT OR REPLACE INTO storage (name, id, path) VALUES (?1, ?2, ?3)",
                params![storage.name, storage.id.as_str(), path.as_str()],
            )?;
        }
        Change::Offering { name, spec } => {
            db.execute(
                "INSERT OR REPLACE INTO offering (name, spec, removed) VALUES (?1, ?2, 0)",
                params![name, json(spec)?],
            )?;
        }
        Change::OfferingRemoved { name } => {
            db.execute("UPDATE offering SET removed = 1 WHERE name = ?1", [name])?;
        }
        Change::Policy { name, spec, since } => {
            db.execute(
                "INSERT OR REPLACE INTO policy (name, spec, since) VALUES (?1, ?2, ?3)",
                params![name, json(spec)?, json(since)?],
            )?;
        }
        Change::PolicyRemoved { name } => {
            db.execute("DELETE FROM policy WHERE name = ?1", [name])?;
        }
        Change::Assigned { vm, policy, since } => {
            name(db, vm)?;
            db.execute(
                "UPDATE vm SET policy = ?2, since = ?3 WHERE id = ?1",
                params![vm.uuid.as_str(), policy, time(*since)],
            )?;
        }
        Change::Unassigned { vm } => {
            name(db, vm)?;
            db.execute(
                "UPDATE vm SET policy = NULL, since = NULL WHERE id = ?1",
                [vm.uuid.as_str()],
            )?;
        }
        Change::Retained { vm, rules } => {
            name(db, vm)?;
            db.execute(
                "UPDATE vm SET retention = ?2 WHERE id = ?1",
                params![vm.uuid.as_str(), json(rules)?],
            )?;
        }
        Change::Published(backup) => published(db, backup)?,
        Change::Remarked { vm, backup, remark } => remarked(db, vm, backup, remark)?,
        Change::Verified {
            vm,
            backup,
            at,
            found,
        } => verified::learn(db, vm, backup, *at, found)?,
        Change::Deleted { vm, backup } => deleted(db, vm, backup)?,
        Change::Touched {
            vm,
            serial,
            current,
        } => {
            name(db, vm)?;
            let current = current.as_ref().map(BackupId::as_str);
            db.execute(
                "UPDATE vm SET serial = ?2, current = ?3 WHERE id = ?1",
                params![vm.uuid.as_str(), serial, current],
            )?;
        }
        Change::Snapshots { vm, snapshots } => {
            name(db, vm)?;
            db.execute(
                "UPDATE vm SET snapshots = ?2 WHERE id = ?1",
                params![
                    vm.uuid.as_str(),
                    Some(snapshots)
                        .filter(|all| !all.is_empty())
                        .map(json)
                        .transpose()?
                ],
            )?;
        }
        Change::Wished { vm, job } => job::wished(db, vm, job)?,
        Change::Job {
            vm,
            job,
            state,
            not_before,
        } => job::stands(db, vm, job, *state, *not_before)?,
        Change::Served { vm, slots } => {
            name(db, vm)?;
            let mut insert = db.prepare_cached(
                "INSERT INTO served (vm, schedule, at) VALUES (?1, ?2, ?3)
                 ON CONFLICT DO UPDATE SET at = max(at, excluded.at)",
            )?;
            for slot in slots {
                insert.execute(params![vm.uuid.as_str(), slot.schedule, time(slot.at)])?;
            }
        }
    }
    Ok(())
}

/// A backup did not come about; `error` is JSON already.
pub(super) fn failed(
    db: &Connection,
    op: &BackupOp,
    error: &str,
    now: Timestamp,
) -> Result<(), Trouble> {
    name(db, &op.vm)?;
    let vm = op.vm.uuid.as_str();
    db.execute(
        "INSERT INTO failure (vm, backup, at, slots, error) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![vm, op.id.as_str(), time(now), json(&op.slots)?, error],
    )?;
    db.execute(
        "DELETE FROM failure WHERE vm = ?1 AND n NOT IN (
             SELECT n FROM failure WHERE vm = ?1 ORDER BY n DESC LIMIT ?2)",
        params![vm, FAILURES],
    )?;
    Ok(())
}

fn published(db: &Connection, backup: &Backup) -> Result<(), Trouble> {
    let (vm, id) = (backup.vm.uuid.as_str(), backup.id.as_str());
    // A backup keeps the name that the VM had; the VM may have another by now.
    db.prepare_cached("INSERT INTO vm (id, name) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
        .execute(params![vm, backup.vm.name])?;
    db.prepare_cached(
        "INSERT INTO backup (vm, id, spec) VALUES (?1, ?2, ?3)
         ON CONFLICT DO UPDATE SET spec = excluded.spec",
    )?
    .execute(params![vm, id, json(backup)?])?;
    db.prepare_cached("DELETE FROM backup_disk WHERE vm = ?1 AND backup = ?2")?
        .execute(params![vm, id])?;
    let mut insert = db.prepare_cached(
        "INSERT INTO backup_disk (vm, backup, target, birth, parent, parent_birth)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for (target, disk) in &backup.disks {
        let parent = disk.parent.as_ref();
        insert.execute(params![
            vm,
            id,
            target.as_str(),
            disk.birth.to_string(),
            parent.map(|edge| edge.backup.as_str()),
            parent.map(|edge| edge.birth.to_string()),
        ])?;
    }
    Ok(())
}

fn remarked(db: &Connection, vm: &VmRef, id: &BackupId, remark: &Remark) -> Result<(), Trouble> {
    let Some(mut backup) = backup(db, vm, id)? else {
        return Ok(());
    };
    backup.learn(remark);
    rewrite(db, vm, &backup)?;
    verified::noted(db, vm, id, remark)
}

/// What is on record of a backup.
pub(super) fn backup(
    db: &Connection,
    vm: &VmRef,
    id: &BackupId,
) -> Result<Option<Backup>, Trouble> {
    let text: Option<String> = db
        .prepare_cached("SELECT spec FROM backup WHERE vm = ?1 AND id = ?2")?
        .query_row([vm.uuid.as_str(), id.as_str()], |row| row.get(0))
        .optional()?;
    text.map(|text| parse(format_args!("backup {id}"), &text))
        .transpose()
}

/// The same says something else of it from now on.
pub(super) fn rewrite(db: &Connection, vm: &VmRef, backup: &Backup) -> Result<(), Trouble> {
    db.prepare_cached("UPDATE backup SET spec = ?3 WHERE vm = ?1 AND id = ?2")?
        .execute(params![vm.uuid.as_str(), backup.id.as_str(), json(backup)?])?;
    Ok(())
}

/// The file's own rules refuse it while another backup continues this one.
fn deleted(db: &Connection, vm: &VmRef, id: &BackupId) -> Result<(), Trouble> {
    for sql in [
        "UPDATE vm SET current = NULL WHERE id = ?1 AND current = ?2",
        "DELETE FROM backup WHERE vm = ?1 AND id = ?2",
        "DELETE FROM failure WHERE vm = ?1 AND backup = ?2",
    ] {
        db.prepare_cached(sql)?
            .execute(params![vm.uuid.as_str(), id.as_str()])?;
    }
    Ok(())
}

/// A VM is on record, by the name it has now.
fn name(db: &Connection, vm: &VmRef) -> Result<(), Trouble> {
    db.prepare_cached(
        "INSERT INTO vm (id, name) VALUES (?1, ?2)
         ON CONFLICT DO UPDATE SET name = excluded.name WHERE name <> excluded.name",
    )?
    .execute(params![vm.uuid.as_str(), vm.name])?;
    Ok(())
}
