//! A spec with nothing missing, and where each of its values came from.

use std::collections::BTreeMap;

use super::JobSpec;
use super::origin::Origin;
use super::walk::leaves;

/// A spec with nothing missing.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// What will be done.
    pub spec: JobSpec,
    /// By path, of every field that applies.
    pub(super) origins: BTreeMap<String, Origin>,
}

/// A value and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// The key, as `train[0].steps`.
    pub path: String,
    /// As one would write it.
    pub value: String,
    /// Who said so.
    pub origin: Origin,
}

impl Resolved {
    /// Every value that applies, in the order of the resolved file.
    pub fn explain(&self) -> Vec<Explained> {
        let one = |leaf: super::walk::Leaf| {
            let path = leaf.path();
            let origin = self.origins.get(&path).cloned().unwrap_or(Origin::Default);
            Explained { value: leaf.value(&self.spec).to_string(), path, origin }
        };
        leaves(&self.spec).into_iter().map(one).collect()
    }
}
