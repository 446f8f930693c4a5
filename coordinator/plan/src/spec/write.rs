//! A spec as YAML, with everything in it.

use super::JobSpec;
use super::field::At;
use super::fields::{Child, Section, section};
use super::tree::Scalar;
use super::value::Value;

/// The resolved job: it names everything, and reading it gives an equal spec.
pub fn to_yaml(spec: &JobSpec) -> String {
    let mut lines = Vec::new();
    if let Some(whole) = section("") {
        write(whole, At::default(), spec, 0, &mut lines);
    }
    lines.push(String::new());
    lines.join("\n")
}

fn write(section: &Section, at: At, spec: &JobSpec, depth: usize, lines: &mut Vec<String>) {
    let indent = "  ".repeat(depth);
    for child in section.children() {
        let key = child.key();
        match child {
            Child::Field(field) if field.applies(spec, at) => {
                lines.push(format!("{indent}{key}: {}", scalar(&(field.lens.get)(spec, at))));
            }
            Child::Field(_) => {}
            Child::Section(section) => match &section.list {
                None => {
                    lines.push(format!("{indent}{key}:"));
                    write(section, at, spec, depth + 1, lines);
                }
                Some(list) if (list.len)(spec, at) == 0 => lines.push(format!("{indent}{key}: []")),
                Some(list) => {
                    lines.push(format!("{indent}{key}:"));
                    for index in 0..(list.len)(spec, at) {
                        item(section, at.item(section.path, index), spec, depth + 1, lines);
                    }
                }
            },
        }
    }
}

/// An item of a list: its first line has the dash.
fn item(section: &Section, at: At, spec: &JobSpec, depth: usize, lines: &mut Vec<String>) {
    let first = lines.len();
    write(section, at, spec, depth + 1, lines);
    let dash = 2 * depth;
    lines[first].replace_range(dash..=dash, "-");
}

fn scalar(value: &Value) -> String {
    match value {
        Value::Text(_) | Value::Path(_) => text(&value.to_string()),
        other => other.to_string(),
    }
}

/// In quotes where a YAML reader could take it for something else.
fn text(text: &str) -> String {
    let is_word = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
    let plain = Scalar { text: text.to_owned(), is_quoted: false };
    let means_more = ["true", "false", "yes", "no", "on", "off", "y", "n"].contains(&text.to_lowercase().as_str());
    if is_word && !plain.is_null() && !means_more { text.to_owned() } else { quoted(text) }
}

fn quoted(text: &str) -> String {
    let escape = |c: char| match c {
        '"' => "\\\"".to_owned(),
        '\\' => "\\\\".to_owned(),
        // Not printable to YAML, or a line break to some readers.
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
            format!("\\u{:04x}", u32::from(c))
        }
        c => c.to_string(),
    };
    format!("\"{}\"", text.chars().map(escape).collect::<String>())
}
