//! Things into packs that hold equally many, so that none weighs much more than another.

/// Where a thing lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packed {
    pub(super) pack: usize,
    /// Within the pack.
    pub(super) place: usize,
}

/// The heaviest first, each into the lightest pack that has room; of equals the first.
pub(super) fn pack(weights: &[f32], n_packs: usize) -> Vec<Packed> {
    assert!(n_packs > 0 && weights.len().is_multiple_of(n_packs), "packs hold equally many");
    let room = weights.len() / n_packs;
    if room == 1 {
        return (0..weights.len()).map(|pack| Packed { pack, place: 0 }).collect();
    }
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by(|&a, &b| weights[b].total_cmp(&weights[a]));
    let mut packs = vec![(0.0_f32, 0_usize); n_packs];
    let mut packed = vec![Packed { pack: 0, place: 0 }; weights.len()];
    for thing in order {
        let with_room = (0..n_packs).filter(|&pack| packs[pack].1 < room);
        let pack = with_room.min_by(|&a, &b| packs[a].0.total_cmp(&packs[b].0)).expect("as much room as things");
        packed[thing] = Packed { pack, place: packs[pack].1 };
        packs[pack].0 += weights[thing];
        packs[pack].1 += 1;
    }
    packed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_hold_equally_many_and_the_heaviest_things_lie_apart() {
        let packed = pack(&[5.0, 1.0, 4.0, 2.0], 2);
        let packs: Vec<usize> = packed.iter().map(|p| p.pack).collect();
        assert_eq!(packs, [0, 0, 1, 1]);
        let places: Vec<usize> = packed.iter().map(|p| p.place).collect();
        assert_eq!(places, [0, 1, 0, 1]);
    }

    #[test]
    fn as_many_packs_as_things_keep_their_order() {
        let packs: Vec<usize> = pack(&[1.0, 3.0, 2.0], 3).iter().map(|p| p.pack).collect();
        assert_eq!(packs, [0, 1, 2]);
    }
}
