//! Who needs nothing more of this rank, and will say nothing more.

use std::collections::BTreeSet;

use ds_plan::RankId;

/// Who needs nothing more.
#[derive(Default)]
pub(super) struct Leaving {
    /// Those that said goodbye.
    pub(super) goodbye: BTreeSet<RankId>,
    /// Those that will not.
    pub(super) fallen: BTreeSet<RankId>,
    /// Linked ones that need this rank no more to pass on anything.
    pub(super) done: BTreeSet<RankId>,
    /// Links that are read no more.
    pub(super) ended: BTreeSet<RankId>,
    /// This rank passes nothing on any more.
    pub(super) is_over: bool,
}
