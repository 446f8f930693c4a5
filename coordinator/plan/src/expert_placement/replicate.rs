//! Spare slots to the experts that need them most.

/// One slot, before it has a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Replica {
    pub(super) expert: usize,
    /// Which of the expert's.
    pub(super) number: usize,
}

/// The first replica of every expert, then the others in the order in which they are given; and how many each expert
/// has. A spare slot goes to the expert whose replicas carry the most; of equals to the first.
pub(super) fn replicate(loads: &[f32], n_slots: usize) -> (Vec<Replica>, Vec<usize>) {
    assert!(!loads.is_empty() && loads.len() <= n_slots, "an expert without a slot could not be reached");
    let mut counts = vec![1_usize; loads.len()];
    let mut replicas: Vec<Replica> = (0..loads.len()).map(|expert| Replica { expert, number: 0 }).collect();
    for _ in loads.len()..n_slots {
        let carries = |expert: usize| loads[expert] / counts[expert] as f32;
        let heavier = |a, b| if carries(b) > carries(a) { b } else { a };
        let expert = (0..loads.len()).reduce(heavier).expect("at least one expert");
        replicas.push(Replica { expert, number: counts[expert] });
        counts[expert] += 1;
    }
    (replicas, counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spare_slot_goes_where_a_replica_carries_the_most() {
        let (replicas, counts) = replicate(&[1.0, 9.0, 4.0], 6);
        assert_eq!(counts, [1, 3, 2]);
        let spare: Vec<(usize, usize)> = replicas[3..].iter().map(|r| (r.expert, r.number)).collect();
        assert_eq!(spare, [(1, 1), (1, 2), (2, 1)]);
    }

    #[test]
    fn no_other_way_to_give_them_has_a_lighter_heaviest_replica() {
        for case in 0..4_u32.pow(3) {
            let loads: Vec<f32> = (0..3).map(|i| [0.0, 1.0, 4.0, 9.0][(case / 4_u32.pow(i) % 4) as usize]).collect();
            let heaviest =
                |counts: &[usize]| loads.iter().zip(counts).map(|(load, &n)| load / n as f32).fold(0.0, f32::max);
            let (_, counts) = replicate(&loads, 6);
            let all = (1..=4).flat_map(|a| (1..=5 - a).map(move |b| [a, b, 6 - a - b]));
            let least = all.map(|counts| heaviest(&counts)).fold(f32::INFINITY, f32::min);
            assert_eq!(heaviest(&counts), least, "{loads:?} {counts:?}");
        }
    }
}
