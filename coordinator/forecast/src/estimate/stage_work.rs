//! The passes of every stage of a plan as parts, in order: what the step simulator plays on a fabric.

use ds_arch::{LayerId, Place};
use ds_plan::{JobPlan, Stage};

use super::roofline::seconds;
use super::stage::layer_blocks;
use crate::hardware::Hardware;
use crate::workload::{Block, Collective, Kernel, Layout, Network, embedding, head, prediction};
use crate::{Exchange, Part, StageWork};

/// What one microbatch computes and exchanges on each stage, in the order of the model. Forward of a sparse layer is
/// attention, dispatch, experts with the shared ones, combine; backward is the mirror image, with what is computed again
/// beside the input gradients.
pub fn stage_work(plan: &JobPlan, hardware: &Hardware) -> Vec<StageWork> {
    let (network, layout) = (Network::from(&plan.spec().model), Layout::of(plan));
    let maker = Maker { hardware, network: &network, layout: &layout };
    plan.stages().iter().map(|stage| maker.stage(stage)).collect()
}

struct Maker<'a> {
    hardware: &'a Hardware,
    network: &'a Network,
    layout: &'a Layout,
}

/// A block, and the layer that its tokens are exchanged for.
type Placed = (Option<LayerId>, Block);

impl Maker<'_> {
    fn stage(&self, stage: &Stage) -> StageWork {
        let mut work = StageWork::default();
        let places: Vec<Vec<Placed>> = stage.places().into_iter().map(|place| self.blocks(place)).collect();
        for blocks in &places {
            work.forward.parts.extend(self.forward(blocks));
        }
        for blocks in places.iter().rev() {
            work.backward_input.parts.extend(self.backward(blocks));
        }
        for placed in places.iter().rev().flat_map(|blocks| blocks.iter().rev()) {
            work.backward_weight.parts.extend(self.compute(placed, &[&placed.1.weight]));
        }
        let t = f64::from(self.layout.tensor);
        let element_bytes = f64::from(self.layout.wire.element_bytes);
        work.boundary_bytes = element_bytes * self.layout.tokens() * f64::from(self.network.hidden) / t;
        work
    }

    /// The blocks of a place with the layer that their tokens are exchanged for.
    fn blocks(&self, place: Place) -> Vec<Placed> {
        match place {
            Place::Embedding => vec![(None, embedding(self.network, self.layout))],
            Place::FinalNorm => Vec::new(),
            Place::Head => vec![(None, head(self.network, self.layout))],
            Place::Layer(layer) => {
                let is_module = layer.0 >= self.network.layers;
                let before = is_module.then(|| (None, prediction(self.network, self.layout)));
                let after = is_module.then(|| (None, head(self.network, self.layout)));
                let own = layer_blocks(self.network, self.layout, layer.0).into_iter().map(|b| (Some(layer), b));
                before.into_iter().chain(own).chain(after).collect()
            }
        }
    }

    fn forward(&self, blocks: &[Placed]) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut back = None;
        for placed in blocks {
            let (layer, block) = placed;
            let Some((there, home)) = exchanges(block).zip(*layer).map(|((d, c), layer)| ((layer, d), (layer, c)))
            else {
                parts.extend(self.compute(placed, &[&block.forward]));
                continue;
            };
            parts.push(Part::Exchange { layer: there.0, exchange: Exchange::Dispatch, row_bytes: there.1 });
            parts.extend(self.compute(placed, &[&block.forward]));
            back = Some(Part::Exchange { layer: home.0, exchange: Exchange::Combine, row_bytes: home.1 });
        }
        // Shared experts stand before the combine: they need no tokens of others.
        parts.extend(back);
        parts
    }

    fn backward(&self, blocks: &[Placed]) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut back = None;
        // The gradient of combine is a dispatch; the shared experts run beside it.
        for (layer, block) in blocks.iter().rev() {
            if let Some(((row_there, row_home), layer)) = exchanges(block).zip(*layer) {
                parts.push(Part::Exchange { layer, exchange: Exchange::Dispatch, row_bytes: row_there });
                back = Some(Part::Exchange { layer, exchange: Exchange::Combine, row_bytes: row_home });
            }
        }
        for placed in blocks.iter().rev() {
            let block = &placed.1;
            let again = self.layout.recompute.again(block);
            let is_attention = block.label == "attention";
            if is_attention {
                parts.extend(back.take());
            }
            parts.extend(self.compute(placed, &[again, &block.input]));
        }
        parts.extend(back);
        parts
    }

    fn compute(&self, (layer, block): &Placed, kernels: &[&[Kernel]]) -> Option<Part> {
        let seconds = kernels.iter().flat_map(|own| own.iter()).map(|kernel| seconds(self.hardware, kernel)).sum();
        let experts_of = layer.filter(|_| exchanges(block).is_some());
        (seconds > 0.0).then_some(Part::Compute { label: block.label, seconds, experts_of })
    }
}

/// Bytes of a row on its way to the experts and back, if the block exchanges any.
fn exchanges(block: &Block) -> Option<(f64, f64)> {
    let row = |which: fn(&Collective) -> Option<f64>| block.collectives.iter().find_map(which);
    let there = row(|collective| if let Collective::Dispatch(bytes) = collective { Some(*bytes) } else { None });
    let home = row(|collective| if let Collective::Combine(bytes) = collective { Some(*bytes) } else { None });
    there.zip(home)
}
