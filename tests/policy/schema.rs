//! The published schema is the generated one, and it says what the parser says.

use std::fs;

use knib::policy;
use knib::policy::Sources;
use serde_json::Value;

const PUBLISHED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/policy.json");

#[test]
fn the_published_schema_is_the_generated_one() {
    let generated = serde_json::to_string_pretty(&policy::schema()).expect("JSON") + "\n";
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        fs::write(PUBLISHED, &generated).expect("writable");
    }
    let published = fs::read_to_string(PUBLISHED).expect("schemas/policy.json");
    assert!(
        published == generated,
        "run this test again with UPDATE_SCHEMAS=1"
    );
}
