//! What the policy said when it was last applied.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use rusqlite::Connection;
use rusqlite::OptionalExtension;

use crate::model::id::PlanId;
use crate::model::policy::Policy;
use crate::model::world::Applied;
use crate::model::world::AppliedOffering;
use crate::model::world::AppliedPolicy;
use crate::model::world::AppliedStorage;
use crate::state::Result;
use crate::state::State;
use crate::state::error::Trouble;
use crate::state::job;
use crate::state::value::Word;
use crate::state::value::json;
use crate::state::value::parse;

impl State {
    /// What the policy said when it was last applied, as far as it was.
    ///
    /// # Errors
    /// `Locked`, `Damaged`, `Io`.
    pub fn applied(&self) -> Result<Applied> {
        self.see(|db| {
            Ok(Applied {
                storages: storages(db)?,
                offerings: offerings(db)?,
                policies: policies(db)?,
            })
        })
    }

    /// The policy that was last applied, whole, for a command that finds no file.
    ///
    /// # Errors
    /// `Locked`, `Damaged`, `Io`.
    pub fn policy(&self) -> Result<Option<Policy>> {
        self.see(|db| {
            let text: Option<String> = db
                .query_row("SELECT value FROM meta WHERE key = 'policy'", [], |row| {
                    row.get(0)
                })
                .optional()?;
            text.map(|text| parse(format_args!("the policy last applied"), &text))
                .transpose()
        })
    }

    /// Keeps the policy for a command that finds no file, and jobs follow its settings.
    ///
    /// # Errors
    /// As any writing call.
    pub fn set_policy(&self, policy: &Policy) -> Result<()> {
        self.write(|db| {
            db.execute(
                "INSERT OR REPLACE INTO meta (key, value) VALUES ('policy', ?1)",
                [json(policy)?],
            )?;
            job::follow(db, &policy.settings)
        })
    }

    /// Whether an action of the plan was ever begun.
    ///
    /// # Errors
    /// `Locked`, `Damaged`, `Io`.
    pub fn plan_applied(&self, plan: &PlanId) -> Result<bool> {
        self.see(|db| {
            // `0` is what comes after `/`.
            let begun = "SELECT 1 FROM action WHERE id > ?1 || '/' AND id < ?1 || '0'";
            Ok(db.prepare(begun)?.exists([plan.as_str()])?)
        })
    }
}

fn storages(db: &Connection) -> Result<BTreeMap<String, AppliedStorage>, Trouble> {
    let mut statement = db.prepare("SELECT name, id, path FROM storage")?;
    let mut rows = statement.query([])?;
    let mut storages = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let Word(id) = row.get(1)?;
        let path = Utf8PathBuf::from(row.get::<_, String>(2)?);
        storages.insert(row.get(0)?, AppliedStorage { id, path });
    }
    Ok(storages)
}

fn offerings(db: &Connection) -> Result<BTreeMap<String, AppliedOffering>, Trouble> {
    let mut statement = db.prepare("SELECT name, spec, removed FROM offering")?;
    let mut rows = statement.query([])?;
    let mut offerings = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let spec = parse(format_args!("offering {name}"), &row.get::<_, String>(1)?)?;
        let removed = row.get(2)?;
        offerings.insert(name, AppliedOffering { spec, removed });
    }
    Ok(offerings)
}

fn policies(db: &Connection) -> Result<BTreeMap<String, AppliedPolicy>, Trouble> {
    let mut statement = db.prepare("SELECT name, spec, since FROM policy")?;
    let mut rows = statement.query([])?;
    let mut policies = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let spec = parse(format_args!("policy {name}"), &row.get::<_, String>(1)?)?;
        let what = format_args!("since when policy {name} counts");
        let since = parse(what, &row.get::<_, String>(2)?)?;
        policies.insert(name, AppliedPolicy { spec, since });
    }
    Ok(policies)
}
