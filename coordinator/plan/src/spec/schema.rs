//! The table of fields as a JSON Schema, so that editors complete and check a job.

use serde_json::{Map, Value as Json, json};

use ds_arch::PRESETS;

use super::field::{Absent, Field};
use super::fields::{Child, PRESET, Section, VERSION, section};
use super::kind::{Kind, Range, Word};
use super::tree::Scalar;
use super::value::Value;

/// The JSON Schema (2020-12) of a job.
pub fn schema() -> Json {
    let whole = section("").expect("the table has the whole file");
    let mut schema = Map::from_iter([
        ("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema")),
        ("title".to_owned(), json!("dsctl job")),
    ]);
    schema.extend(object(whole, true));
    Json::Object(schema)
}

/// A section's own schema; `is_whole` asks for what must be written.
fn object(section: &Section, is_whole: bool) -> Map<String, Json> {
    let mut properties = Map::new();
    if section.path == "model" {
        properties.insert(PRESET.to_owned(), preset());
    }
    for child in section.children() {
        properties.insert(child.key().to_owned(), of_child(child));
    }
    let mut object = Map::from_iter([
        ("description".to_owned(), json!(section.doc)),
        ("type".to_owned(), json!("object")),
        ("properties".to_owned(), Json::Object(properties)),
        ("additionalProperties".to_owned(), json!(false)),
    ]);
    let required = required(section);
    if is_whole && !required.is_empty() {
        object.insert("required".to_owned(), json!(required));
    }
    if section.path == "model" {
        object.insert("anyOf".to_owned(), json!([{ "required": [PRESET] }, needs(section)]));
    }
    let conditions = conditions(section);
    if !conditions.is_empty() {
        object.insert("allOf".to_owned(), Json::Array(conditions));
    }
    object
}

fn of_child(child: Child) -> Json {
    match child {
        Child::Field(field) => property(field),
        Child::Section(section) => match &section.list {
            // Whether a part of the model is needed depends on the preset.
            None => Json::Object(object(section, !section.path.starts_with("model"))),
            Some(list) => json!({
                "description": section.doc,
                "type": "array",
                "minItems": list.least,
                "maxItems": list.most,
                "items": object(section, true),
            }),
        },
    }
}

/// Keys without which a section is not whole.
fn required(section: &Section) -> Vec<&'static str> {
    let is_required = |child: &Child| match child {
        Child::Field(field) => field.absent == Absent::Required && field.when.is_none(),
        Child::Section(section) => match &section.list {
            None => !required(section).is_empty(),
            Some(list) => list.least > 0,
        },
    };
    section.children().into_iter().filter(is_required).map(Child::key).collect()
}

/// What a model without a preset needs, down to the fields of its parts.
fn needs(section: &Section) -> Json {
    let parts = section.children().into_iter().filter_map(|child| match child {
        Child::Section(part) if !required(part).is_empty() => Some((child.key().to_owned(), needs(part))),
        _ => None,
    });
    json!({ "required": required(section), "properties": parts.collect::<Map<_, _>>() })
}

/// Fields that stand only beside certain words.
fn conditions(section: &Section) -> Vec<Json> {
    let condition = |child: Child| {
        let Child::Field(field) = child else { return None };
        let when = field.when?;
        let decider = field.decider()?;
        let beside = json!({ "properties": { (when.key): { "enum": when.is } } });
        let idle = json!({ "properties": { (field.key()): false } });
        let needed = json!({ "required": [field.key()] });
        // A decider that is left out says its default.
        let mut when_idle = Map::from_iter([("if".to_owned(), beside), ("else".to_owned(), idle)]);
        if field.absent == Absent::Required && decider.absent == Absent::Required {
            when_idle.insert("then".to_owned(), needed);
        }
        Some(Json::Object(when_idle))
    };
    section.children().into_iter().filter_map(condition).collect()
}

fn property(field: &Field) -> Json {
    let mut own = of_kind(field);
    own.insert("description".to_owned(), json!(field.doc));
    match field.absent {
        Absent::Default(written) => {
            let scalar = Scalar { text: written.to_owned(), is_quoted: false };
            let value = if scalar.is_null() { Ok(Value::Null) } else { field.kind.read(&scalar) };
            own.insert("default".to_owned(), value.map_or(Json::Null, |value| json_of(&value)));
        }
        Absent::Required | Absent::SameAs(_) => {}
    }
    Json::Object(own)
}

fn json_of(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Whole(n) => whole(*n),
        Value::Real(x) => json!(x),
        Value::Flag(flag) => json!(flag),
        Value::Text(_) | Value::Path(_) | Value::Time(_) => json!(value.to_string()),
    }
}

fn whole(n: i128) -> Json {
    i64::try_from(n).map(|n| json!(n)).or_else(|_| u64::try_from(n).map(|n| json!(n))).unwrap_or(Json::Null)
}

/// The keys that say what may stand there.
fn of_kind(field: &Field) -> Map<String, Json> {
    let typed = |name: &str| if field.is_nullable { json!([name, "null"]) } else { json!(name) };
    let kind = match field.kind {
        _ if field.path == "version" => json!({ "const": whole(VERSION) }),
        Kind::Whole { least, most } => {
            json!({ "type": typed("integer"), "minimum": whole(least), "maximum": whole(most) })
        }
        Kind::Real(Range::Positive) => json!({ "type": typed("number"), "exclusiveMinimum": 0 }),
        Kind::Real(Range::NotNegative) => json!({ "type": typed("number"), "minimum": 0 }),
        Kind::Real(Range::Share) => json!({ "type": typed("number"), "minimum": 0, "exclusiveMaximum": 1 }),
        Kind::Flag => json!({ "type": typed("boolean") }),
        Kind::Text | Kind::Path | Kind::WordOrPath(_) => json!({ "type": typed("string"), "minLength": 1 }),
        Kind::Word(words) => json!({ "oneOf": words.iter().map(of_word).collect::<Vec<_>>() }),
        Kind::Time { .. } => json!({ "type": typed("string"), "pattern": "^[0-9]+ *(ms|s|m|h)$" }),
    };
    match kind {
        Json::Object(keys) => keys,
        _ => Map::new(),
    }
}

fn of_word(word: &Word) -> Json {
    json!({ "const": word.word, "description": word.doc })
}

fn preset() -> Json {
    json!({
        "description": "A model by name, which gives every number that is not written beside it.",
        "enum": PRESETS,
    })
}
