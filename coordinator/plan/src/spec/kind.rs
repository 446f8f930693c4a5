//! What may stand in a field: how a scalar is read, and the sentence when it cannot be.

use std::path::PathBuf;
use std::time::Duration;

use super::problem::Wrong;
use super::suggest::{did_you_mean, one_of};
use super::tree::Scalar;
use super::value::Value;

/// What may stand in a field.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// A whole number, both ends included.
    Whole { least: i128, most: i128 },
    /// A number.
    Real(Range),
    /// `true` or `false`.
    Flag,
    /// A line of text.
    Text,
    /// A file or folder.
    Path,
    /// One of these words.
    Word(&'static [Word]),
    /// This word, or a file or folder.
    WordOrPath(Word),
    /// A number with its unit, both ends included.
    Time { least: Duration, most: Duration },
}

/// A word that may stand in a field, and what it means.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word {
    pub(super) word: &'static str,
    pub(super) doc: &'static str,
}

/// Bounds of a number.
#[derive(Clone, Copy, Debug)]
pub(super) enum Range {
    /// More than 0.
    Positive,
    /// At least 0.
    NotNegative,
    /// At least 0 and less than 1.
    Share,
}

impl Range {
    fn holds(self, x: f64) -> bool {
        match self {
            Self::Positive => x > 0.0,
            Self::NotNegative => x >= 0.0,
            Self::Share => (0.0..1.0).contains(&x),
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Positive => "more than 0",
            Self::NotNegative => "at least 0",
            Self::Share => "at least 0 and less than 1",
        }
    }
}

impl Kind {
    /// What the scalar says.
    pub(super) fn read(&self, scalar: &Scalar) -> Result<Value, Wrong> {
        let text = scalar.text.as_str();
        match self {
            Self::Text => line(text),
            Self::Path => path(text),
            Self::WordOrPath(word) if word.word == text => Ok(Value::Text(text.to_owned())),
            Self::WordOrPath(_) => path(text),
            Self::Word(words) => word(text, words),
            Self::Whole { .. } | Self::Real(_) | Self::Flag | Self::Time { .. } if scalar.is_quoted => {
                Err(Wrong::new(format!("is text, not {}", self.noun())).hint("leave out the quotes"))
            }
            Self::Whole { least, most } => whole(text, *least, *most),
            Self::Real(range) => real(text, *range),
            Self::Flag => flag(text),
            Self::Time { least, most } => time(text, *least, *most),
        }
    }

    /// What it is called.
    pub(super) fn noun(&self) -> &'static str {
        match self {
            Self::Whole { .. } => "a whole number",
            Self::Real(_) => "a number",
            Self::Flag => "true or false",
            Self::Text => "text",
            Self::Path => "a path",
            Self::Word(_) => "a word",
            Self::WordOrPath(_) => "a word or a path",
            Self::Time { .. } => "a duration",
        }
    }

    /// What can be written, for a hint.
    pub(super) fn example(&self) -> String {
        match self {
            Self::Whole { least, most } => whole_example(*least, *most),
            Self::Real(range) => format!("write a number, {}", range.words()),
            Self::Word(words) => one_of(words.iter().map(|word| word.word)),
            Self::WordOrPath(word) => format!("write {} or a path", word.word),
            Self::Time { .. } => "write a duration such as 500ms, 30s, 10m or 2h".to_owned(),
            Self::Flag | Self::Text | Self::Path => format!("write {}", self.noun()),
        }
    }
}

fn line(text: &str) -> Result<Value, Wrong> {
    const MOST: usize = 200;
    if text.trim().is_empty() {
        return Err(Wrong::new("is empty"));
    }
    if text.chars().any(char::is_control) {
        return Err(Wrong::new("has line breaks or control characters"));
    }
    match text.chars().count() {
        n if n > MOST => Err(Wrong::new(format!("has {n} characters, {MOST} are allowed"))),
        _ => Ok(Value::Text(text.to_owned())),
    }
}

fn path(text: &str) -> Result<Value, Wrong> {
    if text.starts_with("~/") {
        return Err(Wrong::new("begins with ~, which only a shell knows").hint("write the whole path"));
    }
    match line(text)? {
        Value::Text(text) => Ok(Value::Path(PathBuf::from(text))),
        other => Ok(other),
    }
}

fn word(text: &str, words: &[Word]) -> Result<Value, Wrong> {
    let known = || words.iter().map(|word| word.word);
    if known().any(|word| word == text) {
        return Ok(Value::Text(text.to_owned()));
    }
    Err(Wrong::new("is not known here").hint(did_you_mean(text, known())))
}

fn whole(text: &str, least: i128, most: i128) -> Result<Value, Wrong> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Wrong::new("is no whole number").hint(whole_example(least, most)));
    }
    match text.parse::<i128>() {
        Ok(n) if n < least => Err(Wrong::new(format!("is less than {least}"))),
        Ok(n) if n <= most => Ok(Value::Whole(n)),
        _ if text.starts_with('-') => Err(Wrong::new(format!("is less than {least}"))),
        _ => Err(Wrong::new(format!("is more than {most}"))),
    }
}

fn whole_example(least: i128, most: i128) -> String {
    /// Nobody needs to be told of more.
    const ENDLESS: i128 = 1 << 53;
    match most {
        most if most == least => format!("write {least}"),
        most if most >= ENDLESS => format!("write a whole number, at least {least}"),
        _ => format!("write a whole number from {least} to {most}"),
    }
}

fn real(text: &str, range: Range) -> Result<Value, Wrong> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    match text.parse::<f64>() {
        Ok(x) if is_number && !x.is_finite() => Err(Wrong::new("is too large for a number")),
        Ok(x) if is_number && range.holds(x) => Ok(Value::Real(x)),
        Ok(_) if is_number => Err(Wrong::new(format!("is not {}", range.words()))),
        _ => Err(Wrong::new("is no number").hint(format!("write a number, {}", range.words()))),
    }
}

fn flag(text: &str) -> Result<Value, Wrong> {
    match text {
        "true" | "True" | "TRUE" => Ok(Value::Flag(true)),
        "false" | "False" | "FALSE" => Ok(Value::Flag(false)),
        _ => Err(Wrong::new("is neither true nor false")),
    }
}

/// Units of a duration, in milliseconds.
const UNITS: &[(&str, u64)] = &[("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];

fn time(text: &str, least: Duration, most: Duration) -> Result<Value, Wrong> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = (&text[..split], text[split..].trim_start());
    let no_duration = || Wrong::new("is no duration").hint("write a number and its unit: 500ms, 30s, 10m or 2h");
    let n = digits.parse::<u64>().map_err(|_| no_duration())?;
    let of_ms = match UNITS.iter().find(|(name, _)| *name == unit) {
        Some((_, of_ms)) => *of_ms,
        None if unit.is_empty() => return Err(Wrong::new("has no unit").hint(format!("did you mean {n}s"))),
        None => return Err(no_duration()),
    };
    let time = Duration::from_millis(n.saturating_mul(of_ms));
    if time < least {
        return Err(Wrong::new(format!("is less than {}", Value::Time(least))));
    }
    if time > most {
        return Err(Wrong::new(format!("is more than {}", Value::Time(most))));
    }
    Ok(Value::Time(time))
}
