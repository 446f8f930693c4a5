//! What fits together: rules over several fields. A rule is looked at only when every field that it needs was read,
//! and a field that breaks one is not held against another.

mod cluster;
mod model;
mod parallel;
mod schedule;
mod train;

use super::JobSpec;
use super::field::{At, PHASES, PIECES};
use super::fields::{field_at, section};
use super::problem::Wrong;
use super::read::Reader;

/// A rule over several fields.
pub(super) struct Rule {
    /// The fields (and lists) that it is about; the first is the one to change.
    pub(super) needs: &'static [&'static str],
    /// What is wrong, if something is.
    pub(super) broken: fn(&JobSpec, At) -> Option<Wrong>,
}

/// Looks at every rule.
pub(super) fn check(reader: &mut Reader) {
    for rule in [model::RULES, parallel::RULES, train::RULES, schedule::RULES, cluster::RULES].into_iter().flatten() {
        for at in places(rule, &reader.spec) {
            look(rule, at, reader);
        }
    }
}

fn look(rule: &Rule, at: At, reader: &mut Reader) {
    let paths: Vec<String> = rule.needs.iter().map(|path| at.path(path)).collect();
    // A list is needed whole.
    let has_wrong = |(need, path): (&&str, &String)| field_at(need).is_none() && reader.has_wrong(path);
    if paths.iter().any(|path| reader.is_wrong(path)) || rule.needs.iter().zip(&paths).any(has_wrong) {
        return;
    }
    let Some(wrong) = (rule.broken)(&reader.spec, at) else { return };
    let value = field_at(rule.needs[0]).map(|field| (field.lens.get)(&reader.spec, at).to_string());
    reader.broken(&paths, value, wrong);
}

/// Everywhere that the rule holds: once, in every phase, or at every piece.
fn places(rule: &Rule, spec: &JobSpec) -> Vec<At> {
    let within = |list: &str| rule.needs.iter().any(|path| path.starts_with(&format!("{list}[]")));
    let items = |list: &'static str, at: At| {
        let n = section(list).and_then(|section| section.list.as_ref()).map_or(0, |list| (list.len)(spec, at));
        (0..n).map(move |index| at.item(list, index))
    };
    if !within(PHASES) {
        return vec![At::default()];
    }
    let phases = items(PHASES, At::default());
    if within(PIECES) { phases.flat_map(|at| items(PIECES, at)).collect() } else { phases.collect() }
}
