//! Reads the fields of a JSON object one by one and remembers what was wrong with each.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::problem::ConfigProblem;

/// An object that is being read.
pub(super) struct Fields<'a> {
    /// Before the names of its fields in messages: `rope_scaling.`.
    prefix: &'static str,
    object: &'a Map<String, Value>,
    problems: &'a mut Vec<ConfigProblem>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(
        prefix: &'static str,
        object: &'a Map<String, Value>,
        problems: &'a mut Vec<ConfigProblem>,
    ) -> Self {
        Self { prefix, object, problems }
    }

    /// None for null too.
    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.object.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn refuse(&mut self, name: &str, rule: impl Into<String>) {
        let value = match self.object.get(name) {
            Some(value) => shortened(value),
            None => "missing".to_owned(),
        };
        self.problems.push(ConfigProblem { field: format!("{}{name}", self.prefix), value, rule: rule.into() });
    }

    /// A whole number within `range`; its least where it is missing or wrong, with the problem noted.
    pub(super) fn whole(&mut self, name: &str, range: RangeInclusive<u32>) -> u32 {
        let least = *range.start();
        if self.get(name).is_none() {
            self.refuse(name, format!("a whole number from {least} to {} is needed", range.end()));
        }
        self.whole_if_there(name, range).unwrap_or(least)
    }

    /// None where it is missing, or wrong, the latter with the problem noted.
    pub(super) fn whole_if_there(&mut self, name: &str, range: RangeInclusive<u32>) -> Option<u32> {
        let value = self.get(name)?;
        // 4096.0 is whole, too: transformers 5 writes some lengths so.
        let whole =
            value.as_u64().or_else(|| value.as_f64().filter(|x| x.fract() == 0.0 && *x >= 0.0).map(|x| x as u64));
        let found = whole.and_then(|whole| u32::try_from(whole).ok()).filter(|whole| range.contains(whole));
        if found.is_none() {
            self.refuse(name, format!("a whole number from {} to {} is needed", range.start(), range.end()));
        }
        found
    }

    /// A number above 0; `otherwise` where it is missing; 1 where it is wrong, with the problem noted.
    pub(super) fn positive(&mut self, name: &str, otherwise: Option<f64>) -> f64 {
        let value = self.get(name).map_or(otherwise, Value::as_f64);
        value.filter(|x| x.is_finite() && *x > 0.0).unwrap_or_else(|| {
            self.refuse(name, "a number above 0 is needed");
            1.0
        })
    }

    /// True or false; `otherwise` where it is missing or wrong, the latter with the problem noted.
    pub(super) fn flag(&mut self, name: &str, otherwise: bool) -> bool {
        match self.get(name) {
            None => otherwise,
            Some(Value::Bool(flag)) => *flag,
            Some(_) => {
                self.refuse(name, "true or false is needed");
                otherwise
            }
        }
    }

    /// That a field has the only value that we know, if it is there.
    pub(super) fn only(&mut self, name: &str, known: &Value, why: &str) {
        let same = |value: &Value| value == known || value.as_f64().is_some_and(|x| Some(x) == known.as_f64());
        if self.get(name).is_some_and(|value| !same(value)) {
            self.refuse(name, format!("only {known} is known: {why}"));
        }
    }
}

/// As JSON, but no page of it.
fn shortened(value: &Value) -> String {
    const LONGEST: usize = 80;
    let text = value.to_string();
    if text.chars().count() <= LONGEST { text } else { text.chars().take(LONGEST).chain(['…']).collect() }
}
