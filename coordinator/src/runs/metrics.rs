//! Metrics as JSON lines.

use crate::store::Row;

/// A line of metrics.jsonl: what it is, then what it says.
pub fn line(row: &Row) -> String {
    let kind = row.metric.kind.name();
    let json = row.metric.json.trim();
    match json.strip_prefix('{').map(str::trim_start) {
        Some("}") => format!("{{\"kind\":\"{kind}\"}}\n"),
        Some(fields) => format!("{{\"kind\":\"{kind}\",{fields}\n"),
        None => format!("{{\"kind\":\"{kind}\",\"value\":{json}}}\n"),
    }
}
