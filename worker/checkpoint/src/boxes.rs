//! Boxes of a row-major tensor: one half-open range a dimension. Those handed in are checked by [`crate::rules`].

use std::ops::Range;

/// Elements; none if the number does not fit.
pub(crate) fn volume(of: &[Range<u64>]) -> Option<u64> {
    product(of.iter().map(|range| range.end.saturating_sub(range.start)))
}

/// Product of sizes; none if it does not fit. Zero is zero whatever else overflows.
pub(crate) fn product(mut sizes: impl Iterator<Item = u64> + Clone) -> Option<u64> {
    if sizes.clone().any(|size| size == 0) {
        return Some(0);
    }
    sizes.try_fold(1, u64::checked_mul)
}

/// What lies in both; none if nothing does.
pub(crate) fn common(a: &[Range<u64>], b: &[Range<u64>]) -> Option<Vec<Range<u64>>> {
    let both = a.iter().zip(b).map(|(a, b)| a.start.max(b.start)..a.end.min(b.end));
    both.map(|range| (range.start < range.end).then_some(range)).collect()
}

/// A box of `shape` that no piece touches, if there is one.
pub(crate) fn hole(shape: &[u64], pieces: &[&[Range<u64>]]) -> Option<Vec<Range<u64>>> {
    let Some((&size, inner)) = shape.split_first() else {
        return pieces.is_empty().then(Vec::new);
    };
    let mut cuts: Vec<u64> = pieces.iter().flat_map(|piece| [piece[0].start, piece[0].end]).collect();
    cuts.extend([0, size]);
    cuts.sort_unstable();
    cuts.dedup();
    for slab in cuts.windows(2) {
        let spans = |piece: &&&[Range<u64>]| piece[0].start <= slab[0] && slab[1] <= piece[0].end;
        let within: Vec<&[Range<u64>]> = pieces.iter().filter(spans).map(|piece| &piece[1..]).collect();
        if let Some(mut found) = hole(inner, &within) {
            found.insert(0, slab[0]..slab[1]);
            return Some(found);
        }
    }
    None
}

/// Copies the elements that both boxes have from one's bytes to the other's.
pub(crate) fn copy(from: &[u8], from_box: &[Range<u64>], to: &mut [u8], to_box: &[Range<u64>], element: usize) {
    let Some(shared) = common(from_box, to_box) else { return };
    // Dimensions behind `split` are whole in both, so a run goes through them.
    let whole = |d: &usize| shared[*d] == from_box[*d] && shared[*d] == to_box[*d];
    let n_whole = (0..shared.len()).rev().take_while(whole).count();
    let split = (shared.len() - n_whole).saturating_sub(1);
    let run = volume(&shared[split..]).unwrap_or(0) as usize * element;
    let mut at: Vec<u64> = shared.iter().map(|range| range.start).collect();
    loop {
        let (source, target) = (place(from_box, &at) * element, place(to_box, &at) * element);
        to[target..target + run].copy_from_slice(&from[source..source + run]);
        if !advance(&mut at[..split], &shared) {
            return;
        }
    }
}

/// The index of a point in a box's elements.
fn place(of: &[Range<u64>], point: &[u64]) -> usize {
    of.iter().zip(point).fold(0, |index, (range, at)| index * (range.end - range.start) + (at - range.start)) as usize
}

/// The next point in row-major order; false behind the last.
fn advance(at: &mut [u64], within: &[Range<u64>]) -> bool {
    for d in (0..at.len()).rev() {
        at[d] += 1;
        if at[d] < within[d].end {
            return true;
        }
        at[d] = within[d].start;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hole_is_found_between_boxes_and_only_there() {
        let (left, low, high) = ([0..4, 0..3], [0..2, 3..5], [2..4, 3..5]);
        assert_eq!(hole(&[4, 5], &[&left, &low, &high]), None);
        assert_eq!(hole(&[4, 5], &[&left, &high]), Some(vec![0..2, 3..5]));
        assert_eq!(hole(&[4, 5], &[]), Some(vec![0..4, 0..5]));
        assert_eq!((hole(&[], &[]), hole(&[], &[&[]])), (Some(vec![]), None));
        assert_eq!(hole(&[0, 3], &[]), None);
    }

    #[test]
    fn a_volume_that_does_not_fit_is_none_and_an_empty_one_is_zero() {
        assert_eq!(volume(&[0..u64::MAX, 0..2]), None);
        assert_eq!(volume(&[0..u64::MAX, 0..2, 5..5]), Some(0));
        assert_eq!(volume(&[]), Some(1));
    }

    #[test]
    fn every_box_copies_as_element_by_element() {
        let shape = [3u64, 4, 5];
        let boxes = |d: usize| (0..shape[d]).flat_map(move |a| (a + 1..=shape[d]).map(move |b| a..b));
        let whole: Vec<Range<u64>> = shape.iter().map(|&d| 0..d).collect();
        let source: Vec<u8> = (0..120).collect();
        for i in boxes(0) {
            for j in boxes(1) {
                for k in boxes(2) {
                    let wanted = [i.clone(), j.clone(), k.clone()];
                    let mut got = vec![0xFF; volume(&wanted).unwrap() as usize * 2];
                    copy(&source, &whole, &mut got, &wanted, 2);
                    let (j, k) = (&j, &k);
                    let points = i.clone().flat_map(|x| j.clone().flat_map(move |y| k.clone().map(move |z| (x, y, z))));
                    let expected: Vec<u8> = points
                        .map(|(x, y, z)| ((x * 4 + y) * 5 + z) as u8 * 2)
                        .flat_map(|byte| [byte, byte + 1])
                        .collect();
                    assert_eq!(got, expected, "{wanted:?}");
                }
            }
        }
    }
}
