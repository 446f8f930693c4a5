//! The header of a safetensors file that anybody may have made: nothing in it is believed.

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use super::error::BridgeError;
use crate::boxes::product;
use crate::disk;
use crate::tensor_file::{HEADER_LIMIT, PREFIX};

/// One tensor of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    /// As the file calls it.
    pub(super) dtype: String,
    pub(super) shape: Vec<u64>,
    /// From the start of the file, in bytes.
    pub(super) start: u64,
    /// In bytes.
    pub(super) length: u64,
}

/// The tensors of a file of `file_length` bytes, in the order in which they lie, and a checksum of the header.
pub(super) fn read(path: &Path, file: &File, file_length: u64) -> Result<(Vec<Entry>, blake3::Hash), BridgeError> {
    let bad = |reason: String| BridgeError::Header { path: path.to_owned(), reason };
    let Some(rest) = file_length.checked_sub(PREFIX) else {
        return Err(bad(format!("it has {file_length} bytes, and {PREFIX} say how long the header is")));
    };
    let mut prefix = [0; PREFIX as usize];
    file.read_exact_at(&mut prefix, 0).map_err(disk::read(path))?;
    let length = u64::from_le_bytes(prefix);
    if length > rest || length > HEADER_LIMIT {
        return Err(bad(format!(
            "its header would have {length} bytes; {rest} follow, and {HEADER_LIMIT} are the most"
        )));
    }
    let mut text = vec![0; length as usize];
    file.read_exact_at(&mut text, PREFIX).map_err(disk::read(path))?;
    let table: Table = serde_json::from_slice(&text).map_err(|error| bad(format!("its header: {error}")))?;
    let entries = place(table.0, PREFIX + length, file_length).map_err(bad)?;
    Ok((entries, blake3::hash(&text)))
}

/// Checks that tensors have the bytes that their shapes need, and fill the file without a gap or an overlap.
fn place(table: Vec<(String, Raw)>, data: u64, file_length: u64) -> Result<Vec<Entry>, String> {
    let mut entries = Vec::with_capacity(table.len());
    for (name, raw) in table {
        let [start, end] = raw.data_offsets;
        let length = end.checked_sub(start).ok_or_else(|| format!("{name} ends at {end}, before its start {start}"))?;
        if end > file_length - data {
            return Err(format!("{name} ends at byte {end} of {} that there are", file_length - data));
        }
        let elements = product(raw.shape.iter().copied());
        let size = size_of(&raw.dtype);
        let needed = elements.and_then(|elements| elements.checked_mul(size.unwrap_or(1)));
        let Some(needed) = needed else {
            return Err(format!("{name} has shape {:?}, which is more than {} bytes", raw.shape, u64::MAX));
        };
        if size.is_some() && needed != length {
            let (dtype, shape) = (raw.dtype, raw.shape);
            return Err(format!("{name} has {length} bytes, but {dtype} {shape:?} takes {needed}"));
        }
        entries.push(Entry { name, dtype: raw.dtype, shape: raw.shape, start: data + start, length });
    }
    entries.sort_by_key(|entry| (entry.start, entry.length));
    let mut at = data;
    for (i, entry) in entries.iter().enumerate() {
        if entry.start < at {
            return Err(format!("{} and {} overlap", entries[i.saturating_sub(1)].name, entry.name));
        }
        if entry.start > at {
            return Err(format!("nothing holds the {} bytes before {}", entry.start - at, entry.name));
        }
        at += entry.length;
    }
    if at == file_length { Ok(entries) } else { Err(format!("nothing holds its last {} bytes", file_length - at)) }
}

/// Bytes of an element, of the types that have whole ones.
fn size_of(dtype: &str) -> Option<u64> {
    match dtype {
        "F64" | "I64" | "U64" => Some(8),
        "F32" | "I32" | "U32" => Some(4),
        "F16" | "BF16" | "I16" | "U16" => Some(2),
        "BOOL" | "U8" | "I8" | "F8_E4M3" | "F8_E5M2" | "F8_E8M0" => Some(1),
        _ => None,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

/// Tensors by name, in any order, each once.
struct Table(Vec<(String, Raw)>);

impl<'de> Deserialize<'de> for Table {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Table;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Table, A::Error> {
                let (mut table, mut seen) = (Vec::new(), HashSet::new());
                while let Some(name) = map.next_key::<String>()? {
                    if !seen.insert(name.clone()) {
                        return Err(A::Error::custom(format!("{name} is there twice")));
                    }
                    if name == "__metadata__" {
                        map.next_value::<IgnoredAny>()?;
                    } else {
                        table.push((name, map.next_value()?));
                    }
                }
                Ok(Table(table))
            }
        }
        from.deserialize_map(Names)
    }
}
