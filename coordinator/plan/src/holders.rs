//! Who holds and who writes what: copies of one parameter on several stages, and the one writer of every record of a
//! checkpoint.

use std::collections::BTreeMap;

use ds_arch::{LayerId, Parameter, Place, parameters};

use crate::grid::{Coordinates, RankId};
use crate::job::JobPlan;

/// A parameter with copies on several pipeline coordinates: their gradients are summed before the norm, and it counts
/// once in norm, parameter count and checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedParameter {
    /// As checkpoints know it.
    pub name: String,
    /// The pipeline coordinates with a copy, ascending.
    pub pipeline: Vec<u32>,
    /// The one that counts and writes it: the first.
    pub owner: u32,
}

/// What one rank writes of a checkpoint. All ranks' together are the whole model, once.
#[derive(Clone, Debug, PartialEq)]
pub struct Writes {
    /// Weight and moments of these, in the order of the model.
    pub parameters: Vec<Parameter>,
    /// The loss-free biases of the gates of these layers.
    pub gate_biases: Vec<LayerId>,
}

impl JobPlan {
    /// The pipeline coordinates that hold a copy of what belongs to a place, ascending.
    pub fn holders(&self, place: Place) -> Vec<u32> {
        let holds = |&pipeline: &u32| self.stages_at(pipeline).iter().any(|stage| stage.holds(place));
        (0..self.grid().n_pipeline()).filter(holds).collect()
    }

    /// Every parameter with copies on several pipeline coordinates.
    pub fn shared_parameters(&self) -> Vec<SharedParameter> {
        let shared = |parameter: Parameter| {
            let pipeline = self.holders(parameter.place);
            let owner = *pipeline.first()?;
            (pipeline.len() > 1).then_some(SharedParameter { name: parameter.name, pipeline, owner })
        };
        parameters(&self.spec().model).into_iter().filter_map(shared).collect()
    }

    /// What a rank writes of a checkpoint: what it owns, unless an earlier pipeline coordinate holds it too.
    pub fn writes(&self, rank: RankId) -> Writes {
        let (grid, at) = (self.grid(), self.grid().coordinates(rank));
        if at.tensor != 0 {
            return Writes { parameters: Vec::new(), gate_biases: Vec::new() };
        }
        let own = grid.sampler(rank);
        let is_first = |place: Place| self.holders(place).first() == Some(&at.pipeline);
        let (owners, mut elements) = self.owners(at.pipeline);
        let parameters = owners
            .into_iter()
            .filter(|(parameter, owner)| *owner == own && is_first(parameter.place))
            .map(|(parameter, _)| parameter)
            .collect();
        let mut gate_biases = Vec::new();
        for layer in self.spec().model.moe_layers().filter(|&layer| is_first(Place::Layer(layer))) {
            let writer = least(&elements, None, grid.n_expert() as usize);
            elements[writer] += u64::from(self.spec().model.moe.n_experts);
            if writer == own as usize {
                gate_biases.push(layer);
            }
        }
        Writes { parameters, gate_biases }
    }

    /// Which of the ranks at a pipeline coordinate, by their places among the samplers, owns what they hold: writes it to
    /// checkpoints and, under ZeRO, updates it. A parameter goes to the one with the least so far of those that hold it, so
    /// that all have about as much; experts come first, since fewer ranks hold them and the others fill the gaps. With it
    /// the elements of each.
    pub(crate) fn owners(&self, pipeline: u32) -> (Vec<(Parameter, u32)>, Vec<u64>) {
        let (grid, stages) = (self.grid(), self.stages_at(pipeline));
        let mut elements = vec![0_u64; grid.n_samplers() as usize];
        let held = parameters(&self.spec().model).into_iter().filter(|p| stages.iter().any(|s| s.holds(p.place)));
        let (experts, dense): (Vec<_>, Vec<_>) = held.partition(|p| p.expert.is_some());
        let mut owner_of = |parameter: Parameter| {
            let first = parameter.expert.map(|expert| self.expert_index_of(expert.0));
            let owner = least(&elements, first, grid.n_expert() as usize);
            elements[owner] += parameter.n_elements();
            (parameter, owner as u32)
        };
        let owners = experts.into_iter().chain(dense).map(&mut owner_of).collect();
        (owners, elements)
    }

    /// The owner, as a place among the samplers, of every parameter that ranks of this pipeline coordinate hold.
    pub fn owner_of_names(&self, pipeline: u32) -> BTreeMap<String, u32> {
        self.owners(pipeline).0.into_iter().map(|(parameter, owner)| (parameter.name, owner)).collect()
    }

    /// The rank of a pipeline coordinate that stands for all of them where they are alike.
    pub(crate) fn first_rank_at(&self, pipeline: u32) -> RankId {
        self.grid().rank_at(Coordinates { pipeline, data: 0, context: 0, tensor: 0 })
    }

    fn expert_index_of(&self, expert: u32) -> usize {
        (expert / (self.spec().model.moe.n_experts / self.grid().n_expert())) as usize
    }
}

/// The sampler with the least, of all or of those whose expert index is `first`; the earliest of equals.
fn least(elements: &[u64], first: Option<usize>, n_expert: usize) -> usize {
    let holds = |sampler: &usize| first.is_none_or(|first| sampler % n_expert == first);
    (0..elements.len()).filter(holds).min_by_key(|&sampler| elements[sampler]).expect("every expert has a rank")
}

#[cfg(test)]
mod tests {
    use ds_arch::gate_bias_name;

    use super::*;
    use crate::testing::{plans_of_other_schedules, small_plans, tiny_plan};

    #[test]
    fn all_ranks_together_write_every_record_exactly_once() {
        for plan in small_plans().into_iter().chain(plans_of_other_schedules()) {
            let mut written: BTreeMap<String, u32> = BTreeMap::new();
            for rank in plan.grid().ranks() {
                let writes = plan.writes(rank);
                let biases = writes.gate_biases.into_iter().map(gate_bias_name);
                for name in writes.parameters.into_iter().map(|p| p.name).chain(biases) {
                    *written.entry(name).or_default() += 1;
                }
            }
            let biases = plan.spec().model.moe_layers().map(gate_bias_name);
            let all = parameters(&plan.spec().model).into_iter().map(|p| p.name).chain(biases);
            assert_eq!(written, all.map(|name| (name, 1)).collect(), "{:?}", plan.grid());
        }
    }

    #[test]
    fn a_rank_writes_only_what_it_holds() {
        for plan in small_plans().into_iter().chain(plans_of_other_schedules()) {
            for rank in plan.grid().ranks() {
                let held = plan.parameters_of(rank);
                let writes = plan.writes(rank);
                assert!(writes.parameters.iter().all(|p| held.contains(p)), "{:?} {rank:?}", plan.grid());
            }
        }
    }

    #[test]
    fn everything_that_a_coordinate_holds_has_one_owner_that_holds_it() {
        for plan in small_plans().into_iter().chain(plans_of_other_schedules()) {
            for pipeline in 0..plan.grid().n_pipeline() {
                let owners = plan.owner_of_names(pipeline);
                let mut held = 0;
                for rank in plan.grid().ranks().filter(|&r| plan.grid().coordinates(r).pipeline == pipeline) {
                    let own = plan.grid().sampler(rank);
                    let names: Vec<String> = plan.parameters_of(rank).into_iter().map(|p| p.name).collect();
                    let owned: Vec<_> = owners.iter().filter(|&(_, &owner)| owner == own).collect();
                    assert!(owned.iter().all(|(name, _)| names.contains(name)), "{:?} {rank:?}", plan.grid());
                    held += owned.len();
                }
                assert_eq!(held, owners.len(), "{:?}", plan.grid());
            }
        }
    }

    #[test]
    fn replicas_share_the_writing() {
        let plan = tiny_plan(1, 4, 2);
        let sizes: Vec<u64> = plan
            .grid()
            .ranks()
            .map(|rank| plan.writes(rank).parameters.iter().map(Parameter::n_elements).sum())
            .collect();
        let (least, most) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
        assert!(most * 10 < least * 13, "{sizes:?}");
    }

    #[test]
    fn every_parameter_is_held_and_only_the_embedding_has_a_copy() {
        for plan in small_plans() {
            for parameter in parameters(&plan.spec().model) {
                assert!(!plan.holders(parameter.place).is_empty(), "{} in {:?}", parameter.name, plan.grid());
            }
            let shared = plan.shared_parameters();
            let last = plan.grid().n_pipeline() - 1;
            if last == 0 {
                assert_eq!(shared, []);
            } else {
                let name = "model.embed_tokens.weight".to_owned();
                assert_eq!(shared, [SharedParameter { name, pipeline: vec![0, last], owner: 0 }]);
            }
        }
    }

    #[test]
    fn without_mtp_nothing_is_shared() {
        let mut spec = tiny_plan(2, 1, 1).spec().clone();
        spec.model.mtp.depth = 0;
        assert_eq!(JobPlan::new(spec).unwrap().shared_parameters(), []);
    }
}
