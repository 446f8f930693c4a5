//! Which rank needs the most memory, and what for.

use ds_plan::MemoryEstimate;

/// The pipeline coordinate whose ranks need the most, the first of equals, and what they need.
pub(crate) fn largest_rank(needs: impl IntoIterator<Item = MemoryEstimate>) -> (u32, MemoryEstimate) {
    let mut largest = (0, MemoryEstimate::default());
    for (pipeline, memory) in (0..).zip(needs) {
        if memory.total() > largest.1.total() {
            largest = (pipeline, memory);
        }
    }
    largest
}

/// The largest term, and its bytes.
pub(crate) fn largest_term(memory: &MemoryEstimate) -> (&'static str, u64) {
    memory.terms().into_iter().max_by_key(|&(_, bytes)| bytes).unwrap_or_default()
}
