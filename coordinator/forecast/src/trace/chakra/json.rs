//! The JSON form: `{"nodes": [..]}`, a list of nodes, or a node a line; names of fields as in et_def.proto, or as
//! protobuf's own JSON writes them (`dataDeps`, numbers of 64 bits as text).

use serde_json::Value as Json;

use super::node::{Attributes, ChakraError, Node, Value, node};

pub(super) fn read(bytes: &[u8]) -> Result<Vec<Node>, ChakraError> {
    let form = |error: serde_json::Error| ChakraError::Form { reason: error.to_string() };
    let values: Vec<Json> =
        serde_json::Deserializer::from_slice(bytes).into_iter::<Json>().collect::<Result<_, _>>().map_err(form)?;
    let mut nodes = Vec::new();
    for value in values {
        let listed = match value {
            Json::Array(list) => list,
            Json::Object(mut object) => match object.remove("nodes") {
                Some(Json::Array(list)) => list,
                // A line of metadata has no id.
                _ if object.contains_key("id") => vec![Json::Object(object)],
                _ => Vec::new(),
            },
            _ => Vec::new(),
        };
        for json in &listed {
            nodes.push(one(json)?);
        }
    }
    Ok(nodes)
}

fn one(json: &Json) -> Result<Node, ChakraError> {
    let get = |snake: &str, camel: &str| json.get(snake).or_else(|| json.get(camel));
    let whole = |json: &Json| json.as_u64().or_else(|| json.as_str()?.parse().ok());
    let missing = || ChakraError::Form { reason: format!("a node without id: {json}") };
    let id = get("id", "id").and_then(whole).ok_or_else(missing)?;
    let name = get("name", "name").and_then(Json::as_str).unwrap_or_default().to_owned();
    let kind = match get("type", "type") {
        Some(Json::String(text)) => kind(text),
        Some(json) => whole(json).unwrap_or(0),
        None => 0,
    };
    let list = |snake, camel| -> Vec<u64> {
        get(snake, camel).and_then(Json::as_array).into_iter().flatten().filter_map(whole).collect()
    };
    let mut deps = list("data_deps", "dataDeps");
    deps.extend(list("ctrl_deps", "ctrlDeps"));
    let micros = get("duration_micros", "durationMicros").and_then(number).unwrap_or(0.0);
    node(id, name, kind, deps, micros, &attributes(json))
}

fn kind(name: &str) -> u64 {
    match name {
        "COMP_NODE" => 4,
        "COMM_SEND_NODE" => 5,
        "COMM_RECV_NODE" => 6,
        "COMM_COLL_NODE" => 7,
        _ => 1,
    }
}

fn number(json: &Json) -> Option<f64> {
    json.as_f64().or_else(|| json.as_str()?.parse().ok())
}

fn value(json: &Json) -> Option<Value> {
    match json {
        Json::Number(number) => number.as_f64().map(Value::Number),
        Json::String(text) => Some(Value::Text(text.clone())),
        _ => None,
    }
}

/// Those of the list `attr`, and all plain fields of the node itself.
fn attributes(json: &Json) -> Attributes {
    let mut all = Attributes::new();
    for (name, json) in json.as_object().into_iter().flatten() {
        if let Some(value) = value(json) {
            all.insert(name.clone(), value);
        }
    }
    for attribute in json.get("attr").and_then(Json::as_array).into_iter().flatten() {
        let Some(name) = attribute.get("name").and_then(Json::as_str) else { continue };
        let fields = attribute.as_object().into_iter().flatten();
        let mut values = fields.filter(|(key, _)| *key != "name" && !key.starts_with("doc"));
        if let Some(value) = values.find_map(|(_, json)| value(json)) {
            all.insert(name.to_owned(), value);
        }
    }
    all
}
