//! Paths that were found, in one flat list that is used again and again.

use super::ports::PortPair;
use crate::flow::LinkId;

/// Paths, one behind the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    links: Vec<LinkId>,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Found {
    pub(super) fn clear(&mut self) {
        self.links.clear();
        self.ends.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn push(&mut self, path: &[LinkId]) {
        self.links.extend_from_slice(path);
        self.ends.push(self.links.len());
    }

    /// From GPU to GPU, by way of a plane.
    pub(super) fn join(&mut self, pair: &PortPair, middle: &[LinkId]) {
        self.links.extend_from_slice(pair.before());
        self.links.extend_from_slice(middle);
        self.links.extend_from_slice(pair.after());
        self.ends.push(self.links.len());
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &[LinkId]> {
        (0..self.ends.len()).map(|i| self.path(i))
    }

    fn path(&self, i: usize) -> &[LinkId] {
        let first = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.links[first..self.ends[i]]
    }

    /// Drops all but the path whose busiest link is the least busy; of equals, the first.
    pub(super) fn keep_least(&mut self, loads: &[f64]) {
        let busiest = |i: usize| self.path(i).iter().map(|link| loads[link.0 as usize]).fold(0.0, f64::max);
        let least = (0..self.len()).min_by(|&a, &b| busiest(a).total_cmp(&busiest(b)));
        let Some(least) = least.filter(|_| self.len() > 1) else { return };
        let path = self.path(least).to_vec();
        self.clear();
        self.push(&path);
    }
}
