//! What the schema wants of a value: the few words of JSON Schema that the raw types need.

use serde_json::Value as Json;

use super::node::Value;
use super::schema::SCHEMA;
use super::words::either;

/// The schemas of which a value must meet one, references followed.
pub(super) fn options(schema: &Json) -> Vec<&Json> {
    let schema = follow(schema);
    match schema["anyOf"].as_array() {
        Some(options) if schema["type"].is_null() => options.iter().map(follow).collect(),
        _ => vec![schema],
    }
}

pub(super) fn follow(schema: &Json) -> &Json {
    let target = schema["$ref"]
        .as_str()
        .and_then(|name| name.strip_prefix('#'));
    match target.and_then(|pointer| SCHEMA.pointer(pointer)) {
        Some(target) => follow(target),
        None => schema,
    }
}

/// Whether a value is of the kind that a schema wants.
pub(super) fn admits(schema: &Json, value: &Value) -> bool {
    let wanted = schema["type"].as_str().unwrap_or("string");
    match value {
        Value::Nothing => false,
        Value::Switch(_) => wanted == "boolean",
        Value::Integer(_) => matches!(wanted, "integer" | "number"),
        Value::Real(_) => wanted == "number",
        Value::Text(_) => wanted == "string",
        Value::List(_) => wanted == "array",
        Value::Map(_) => wanted == "object",
    }
}

pub(super) fn expected(schema: &Json) -> String {
    let words = words(schema);
    if !words.is_empty() {
        return either(words.iter().copied());
    }
    match (
        schema["type"].as_str(),
        schema["examples"].get(0).and_then(Json::as_str),
    ) {
        (Some("boolean"), _) => "`true` or `false`".into(),
        (Some("integer"), _) => "a whole number".into(),
        (Some("number"), _) => "a number".into(),
        (Some("array"), _) => "a list".into(),
        (Some("object"), _) => "a map".into(),
        (_, Some(example)) => format!("text such as `{example}`"),
        (_, None) => "text".into(),
    }
}

/// The words of an enumeration.
pub(super) fn words(schema: &Json) -> Vec<&str> {
    let described = schema["oneOf"].as_array().into_iter().flatten();
    let described = described.filter_map(|option| option["const"].as_str());
    described.chain(strings(&schema["enum"])).collect()
}

pub(super) fn strings(list: &Json) -> impl Iterator<Item = &str> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Json::as_str)
}

/// The key below which a key of this name is known.
pub(super) fn below(schema: &Json, name: &str) -> Option<String> {
    let properties = schema["properties"].as_object()?;
    properties.iter().find_map(|(key, schema)| {
        let inner = follow(schema);
        let named = inner["patternProperties"]
            .as_object()
            .and_then(|all| all.values().next());
        let known = |schema: &Json| !schema["properties"][name].is_null();
        match named {
            Some(each) if known(follow(each)) => Some(format!("{key}.<name>")),
            None if known(inner) => Some(key.clone()),
            _ => None,
        }
    })
}

/// An example as one line of YAML.
pub(super) fn written(example: &Json) -> String {
    match example {
        Json::Array(items) => {
            let items = items.iter().map(Json::to_string).collect::<Vec<_>>();
            format!("[{}]", items.join(", "))
        }
        Json::Object(map) => {
            let entry = |(key, value): (&String, &Json)| format!("{key}: {}", written(value));
            format!(
                "{{ {} }}",
                map.iter().map(entry).collect::<Vec<_>>().join(", ")
            )
        }
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}
