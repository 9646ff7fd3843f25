//! The published schemas of the output are the generated ones, and say what is printed.

use std::fs;
use std::path::PathBuf;

use knib::cli::view::backup::BackupView;
use knib::cli::view::chain::ChainView;
use knib::cli::view::explain::BackupExplained;
use knib::cli::view::explain::PolicyView;
use knib::cli::view::explain::VmExplained;
use knib::cli::view::file::FileView;
use knib::cli::view::file::FilesystemView;
use knib::cli::view::file::TakenView;
use knib::cli::view::job::JobView;
use knib::cli::view::offering::OfferingView;
use knib::cli::view::rebuilt::RebuiltView;
use knib::cli::view::run::RunView;
use knib::cli::view::snapshot::SnapshotView;
use knib::cli::view::storage::StorageView;
use knib::cli::view::verified::VerifiedView;
use knib::cli::view::vm::VmView;
use knib::model::finding::Finding;
use knib::model::orphan::Orphan;
use knib::model::plan::Plan;
use knib::planner::forecast::Forecast;
use schemars::Schema;
use schemars::schema_for;
use serde_json::Value;

fn schemas() -> [(&'static str, Schema); 20] {
    [
        ("plan", schema_for!(Plan)),
        ("backup", schema_for!(BackupView)),
        ("chain", schema_for!(ChainView)),
        ("job", schema_for!(JobView)),
        ("vm", schema_for!(VmView)),
        ("storage", schema_for!(StorageView)),
        ("verified", schema_for!(VerifiedView)),
        ("offering", schema_for!(OfferingView)),
        ("run", schema_for!(RunView)),
        ("snapshot", schema_for!(SnapshotView)),
        ("filesystem", schema_for!(FilesystemView)),
        ("file", schema_for!(FileView)),
        ("taken", schema_for!(TakenView)),
        ("finding", schema_for!(Finding)),
        ("orphan", schema_for!(Orphan)),
        ("forecast", schema_for!(Forecast)),
        ("explain-policy", schema_for!(PolicyView)),
        ("explain-vm", schema_for!(VmExplained)),
        ("explain-backup", schema_for!(BackupExplained)),
        ("rebuilt", schema_for!(RebuiltView)),
    ]
}

fn published(name: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.join(format!("schemas/output/{name}.json"))
}

#[test]
fn the_published_schemas_are_the_generated_ones() {
    for (name, schema) in schemas() {
        let generated = serde_json::to_string_pretty(&schema).expect("JSON") + "\n";
        let path = published(name);
        if std::env::var_os("UPDATE_SCHEMAS").is_some() {
            fs::create_dir_all(path.parent().expect("a directory")).expect("writable");
            fs::write(&path, &generated).expect("writable");
        }
        let published = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            published == generated,
            "{name}: run this test again with UPDATE_SCHEMAS=1"
        );
    }
}

/// Fails unless the value is what the published schema of that name says.
#[track_caller]
pub(crate) fn assert_valid(name: &str, value: &Value) {
    let schema = fs::read_to_string(published(name)).expect("a published schema");
    let schema: Value = serde_json::from_str(&schema).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let errors: Vec<_> = validator
        .iter_errors(value)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{name}: {errors:#?}\n{value:#}");
}

/// The same for each of a list.
#[track_caller]
pub(crate) fn assert_all_valid(name: &str, list: &Value) {
    let list = list
        .as_array()
        .unwrap_or_else(|| panic!("{name}: no array: {list:#}"));
    assert!(!list.is_empty(), "{name}: an empty list shows nothing");
    for one in list {
        assert_valid(name, one);
    }
}
