//! Placements of the published EPLB, slot by slot. The published code sorts equal loads in no stated order: where that
//! decides, every slot must carry the same load, or, where groups of experts are equal, the busiest GPU. Replicas of an
//! expert are always equals, so which of its slots is the first does not count.

use ds_arch::ExpertId;
use ds_plan::expert_placement::{Slot, SlotCounts, Slots, eplb};
use serde_json::Value;

use crate::Check;
use crate::folder::{Folder, number};

pub(crate) fn checks(folder: &Folder) -> Vec<Check> {
    let cases = folder.json("eplb.json").as_array().expect("a list of cases").clone();
    let check = |about: Value| {
        let name = about["name"].as_str().expect("the name of a case").to_owned();
        Check::new(name, move || compare(&about))
    };
    let rest = folder.others(&["eplb.json"]);
    let complete = Check::new("files", move || {
        assert!(rest.is_empty(), "nothing compares {rest:?}");
        "all compared".to_owned()
    });
    cases.into_iter().map(check).chain([complete]).collect()
}

/// How closely one layer is compared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Alike {
    /// The same expert in every slot.
    Experts,
    /// The same load in every slot, and as many replicas of every expert: only equals are told apart otherwise.
    LoadOfSlots,
    /// As many replicas by load, and the busiest GPU as busy: groups of equal loads may change places.
    Load,
}

fn compare(about: &Value) -> String {
    let layers = about["weight"].as_array().expect("loads of each layer").len();
    let found: Vec<Alike> = (0..layers).map(|layer| layer_is_alike(about, layer)).collect();
    let n = |kind| found.iter().filter(|&&one| one == kind).count();
    let [exact, by_slots, by_load] = [Alike::Experts, Alike::LoadOfSlots, Alike::Load].map(n);
    format!(
        "layers with equal experts in all slots {exact}, with equal loads in all slots {by_slots}, by load {by_load}"
    )
}

fn layer_is_alike(about: &Value, layer: usize) -> Alike {
    let loads = numbers(&about["weight"][layer]);
    let counts = counts(about, loads.len());
    let slots = Slots::new(counts).unwrap_or_else(|error| panic!("{error}"));
    assert!(about["policy"] != "global" || !slots.is_hierarchical(), "policy");
    let (ours, theirs) = (eplb(&loads, slots), Theirs::new(about, layer));
    theirs.is_whole();
    if ours.experts() == theirs.experts {
        return Alike::Experts;
    }
    let n_replicas: Vec<f64> =
        (0..counts.n_experts).map(|expert| ours.replicas_of(ExpertId(expert)).len() as f64).collect();
    let carried = |experts: &[ExpertId], replicas: &[f64]| -> Vec<f64> {
        experts.iter().map(|expert| loads[expert.0 as usize] / replicas[expert.0 as usize]).collect()
    };
    let (by_us, by_them) = (carried(ours.experts(), &n_replicas), carried(&theirs.experts, &theirs.counts));
    if by_us == by_them && n_replicas == theirs.counts {
        return Alike::LoadOfSlots;
    }
    assert!(has_ties(&loads, counts), "layer {layer} has no equal loads: {by_us:?} {by_them:?}");
    assert_eq!(sorted(&loads, &n_replicas), sorted(&loads, &theirs.counts), "replicas by load");
    let each = (counts.n_slots / counts.n_gpus) as usize;
    let busiest = |carried: &[f64]| carried.chunks(each).map(|own| own.iter().sum::<f64>()).fold(0.0, f64::max);
    let (most, theirs) = (busiest(&by_us), busiest(&by_them));
    assert!((most - theirs).abs() <= 1e-6 * theirs, "the busiest GPU of layer {layer}: {most} and {theirs}");
    Alike::Load
}

fn counts(about: &Value, n_experts: usize) -> SlotCounts {
    let whole = |field: &str| number(about, field) as u32;
    SlotCounts {
        n_experts: n_experts as u32,
        n_slots: whole("num_replicas"),
        n_groups: whole("num_groups"),
        n_nodes: whole("num_nodes"),
        n_gpus: whole("num_gpus"),
    }
}

/// Whether some choice is between equals: experts, what their replicas carry, or groups.
fn has_ties(loads: &[f64], counts: SlotCounts) -> bool {
    let most = (counts.n_slots - counts.n_experts + 1) as usize;
    let shares = |load: &f64| (1..=most).map(move |n| (*load as f32) / n as f32).collect::<Vec<_>>();
    let mut all: Vec<(usize, f32)> =
        loads.iter().enumerate().flat_map(|(e, load)| shares(load).into_iter().map(move |share| (e, share))).collect();
    all.sort_by(|a, b| a.1.total_cmp(&b.1));
    let size = loads.len() / counts.n_groups as usize;
    let mut groups: Vec<f64> = loads.chunks(size.max(1)).map(|own| own.iter().sum()).collect();
    groups.sort_by(f64::total_cmp);
    all.windows(2).any(|two| two[0].0 != two[1].0 && two[0].1 == two[1].1) || groups.windows(2).any(|g| g[0] == g[1])
}

/// The load of every expert with the number of its replicas, sorted: the same however equals are told apart.
fn sorted(loads: &[f64], n_replicas: &[f64]) -> Vec<(f64, f64)> {
    let mut pairs: Vec<(f64, f64)> = loads.iter().copied().zip(n_replicas.iter().copied()).collect();
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    pairs
}

/// A published placement of one layer.
struct Theirs {
    /// By slot.
    experts: Vec<ExpertId>,
    /// By expert.
    replicas: Vec<Vec<Slot>>,
    /// By expert.
    counts: Vec<f64>,
}

impl Theirs {
    fn new(about: &Value, layer: usize) -> Self {
        let experts = numbers(&about["phy2log"][layer]).into_iter().map(|e| ExpertId(e as u32)).collect();
        let slots = |own: &Value| numbers(own).into_iter().filter(|s| *s >= 0.0).map(|s| Slot(s as u32)).collect();
        let replicas = about["log2phy"][layer].as_array().expect("slots of each expert").iter().map(slots).collect();
        Self { experts, replicas, counts: numbers(&about["logcnt"][layer]) }
    }

    /// Its three tables must say the same.
    fn is_whole(&self) {
        let counts: Vec<f64> = self.replicas.iter().map(|of| of.len() as f64).collect();
        assert_eq!(self.counts, counts, "logcnt and log2phy");
        assert_eq!(self.replicas.iter().map(Vec::len).sum::<usize>(), self.experts.len(), "log2phy and phy2log");
        for (expert, slots) in (0..).map(ExpertId).zip(&self.replicas) {
            assert!(slots.iter().all(|slot| self.experts[slot.0 as usize] == expert), "log2phy and phy2log");
        }
    }
}

fn numbers(value: &Value) -> Vec<f64> {
    let number = |value: &Value| value.as_f64().expect("a number");
    value.as_array().expect("a list of numbers").iter().map(number).collect()
}
