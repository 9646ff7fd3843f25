//! Every example, and what `knib init` writes, is sound and agrees with the schema.

use std::fs;

use camino::Utf8PathBuf;
use knib::cli::render::findings;
use knib::policy;
use knib::policy::Sources;

/// The example files, and directories as one policy.
fn examples() -> Vec<(String, Sources)> {
    let mut all = Vec::new();
    let root = Utf8PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/examples"));
    let yaml = |directory: &Utf8PathBuf| {
        let mut files = directory
            .read_dir_utf8()
            .expect("a directory")
            .map(|entry| entry.expect("an entry").into_path())
            .filter(|path| path.extension() == Some("yaml"))
            .collect::<Vec<_>>();
        files.sort();
        files
    };
    for file in yaml(&root) {
        let mut sources = Sources::default();
        sources.add(
            file.file_name().expect("a name"),
            fs::read(&file).expect("readable"),
        );
        all.push((file.to_string(), sources));
    }
    let mut site = Sources::default();
    for file in yaml(&root.join("site")) {
        site.add(
            file.file_name().expect("a name"),
            fs::read(&file).expect("readable"),
        );
    }
    all.push(("site".into(), site));
    all
}

fn assert_clean(name: &str, sources: &Sources) {
    let (policy, found) = policy::load(sources);
    assert!(
        found.is_empty(),
        "{name}:\n{}",
        findings::human(&found, sources, 100, false)
    );
    let now = "2026-11-23T09:00:00Z".parse().expect("an instant");
    let lints = policy::lint::lint(&policy.expect("sound"), sources, now);
    assert!(
        lints.is_empty(),
        "{name}:\n{}",
        findings::human(&lints, sources, 100, false)
    );
}

#[test]
fn examples_load_without_a_word() {
    let examples = examples();
    assert!(examples.len() >= 5);
    for (name, sources) in &examples {
        assert_clean(name, sources);
    }
}

#[test]
fn every_file_of_the_examples_is_valid_by_the_schema() {
    let validator = jsonschema::validator_for(&policy::schema()).expect("a schema");
    for (name, sources) in examples() {
        for file in sources.files() {
            let value: serde_json::Value = serde_yaml::from_slice(&file.bytes).expect("YAML");
            let errors = validator
                .iter_errors(&value)
                .map(|e| e.to_string())
                .collect::<Vec<_>>();
            assert!(errors.is_empty(), "{name} {}: {errors:?}", file.name);
        }
    }
}

#[test]
fn the_starter_loads_without_a_word_and_names_its_schema() {
    let mut sources = Sources::default();
    sources.add("knib.yaml", policy::starter());
    assert_clean("the starter", &sources);
    let modeline = format!(
        "# yaml-language-server: $schema={}\n",
        policy::STARTER_SCHEMA
    );
    assert!(policy::starter().starts_with(&modeline));
}
