//! The protobuf form: length-delimited messages, first `GlobalMetadata`, then a `Node` each. Field numbers are those of
//! et_def.proto in mlcommons/chakra; fields that nobody asks for are left out.

use prost::Message as _;

use super::node::{Attributes, ChakraError, Node, Value, node};

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct WireNode {
    #[prost(uint64, tag = "1")]
    pub(super) id: u64,
    #[prost(string, tag = "2")]
    pub(super) name: String,
    #[prost(int32, tag = "3")]
    pub(super) kind: i32,
    #[prost(uint64, repeated, tag = "4")]
    pub(super) ctrl_deps: Vec<u64>,
    #[prost(uint64, repeated, tag = "5")]
    pub(super) data_deps: Vec<u64>,
    #[prost(uint64, tag = "7")]
    pub(super) duration_micros: u64,
    #[prost(message, repeated, tag = "10")]
    pub(super) attr: Vec<WireAttribute>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct WireAttribute {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(oneof = "WireValue", tags = "3, 5, 7, 9, 11, 13, 27, 29")]
    pub(super) value: Option<WireValue>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum WireValue {
    #[prost(double, tag = "3")]
    Double(f64),
    #[prost(float, tag = "5")]
    Float(f32),
    #[prost(int32, tag = "7")]
    Int32(i32),
    #[prost(int64, tag = "9")]
    Int64(i64),
    #[prost(uint32, tag = "11")]
    Uint32(u32),
    #[prost(uint64, tag = "13")]
    Uint64(u64),
    #[prost(bool, tag = "27")]
    Bool(bool),
    #[prost(string, tag = "29")]
    Text(String),
}

impl WireValue {
    fn value(self) -> Value {
        match self {
            Self::Double(n) => Value::Number(n),
            Self::Float(n) => Value::Number(n.into()),
            Self::Int32(n) => Value::Number(n.into()),
            Self::Int64(n) => Value::Number(n as f64),
            Self::Uint32(n) => Value::Number(n.into()),
            Self::Uint64(n) => Value::Number(n as f64),
            Self::Bool(is) => Value::Number(u8::from(is).into()),
            Self::Text(text) => Value::Text(text),
        }
    }
}

pub(super) fn read(bytes: &[u8]) -> Result<Vec<Node>, ChakraError> {
    let form = |reason: String| ChakraError::Form { reason };
    let mut rest = bytes;
    let mut nodes = Vec::new();
    let mut is_first = true;
    while !rest.is_empty() {
        let length = prost::decode_length_delimiter(&mut rest).map_err(|error| form(error.to_string()))?;
        if length > rest.len() {
            return Err(form(format!("a message of {length} bytes begins {} bytes before the end", rest.len())));
        }
        let (message, after) = rest.split_at(length);
        rest = after;
        // The first message is metadata.
        if std::mem::take(&mut is_first) {
            continue;
        }
        let wire = WireNode::decode(message).map_err(|error| form(error.to_string()))?;
        let attributes: Attributes = wire.attr.into_iter().filter_map(|a| Some((a.name, a.value?.value()))).collect();
        let deps = [wire.data_deps, wire.ctrl_deps].concat();
        nodes.push(node(wire.id, wire.name, wire.kind as u64, deps, wire.duration_micros as f64, &attributes)?);
    }
    Ok(nodes)
}
