//! How long one microbatch takes on each stage, by what it waits for.

use super::collective::{seconds_of, spans_nodes};
use super::roofline::{launch_seconds, seconds};
use crate::hardware::Hardware;
use crate::workload::{
    self, Block, Collective, Group, Kernel, Kernels, Layout, Network, Recompute, Role, embedding, head, prediction,
};

/// Chunks that a product is cut into so that its tensor-parallel collective hides behind the rest of it.
const OVERLAP_CHUNKS: f64 = 4.0;

/// Seconds of one microbatch on one stage, or of all stages of a rank. Parts add up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StageTime {
    /// Kernels of forward.
    pub forward: f64,
    /// Kernels of input gradients.
    pub input: f64,
    /// Kernels of weight gradients.
    pub weight: f64,
    /// Kernels of what backward does again.
    pub again: f64,
    /// What the GPU waits for the CPU that launches them.
    pub launch: f64,
    /// Tensor-parallel collectives that nothing hides.
    pub tensor: f64,
    /// Context-parallel collectives that nothing hides.
    pub context: f64,
    /// Dispatch and combine that nothing hides.
    pub exchange: f64,
    /// Sends to and from neighbouring stages.
    pub sends: f64,
    /// What of the kernels are those of routed experts; no part of its own.
    pub experts: f64,
}

impl StageTime {
    /// All of it.
    pub fn total(&self) -> f64 {
        self.compute() + self.launch + self.tensor + self.context + self.exchange + self.sends
    }

    /// Kernels.
    pub fn compute(&self) -> f64 {
        self.forward + self.input + self.weight + self.again
    }

    /// So many times as much.
    pub(super) fn times(self, n: f64) -> Self {
        Self {
            forward: n * self.forward,
            input: n * self.input,
            weight: n * self.weight,
            again: n * self.again,
            launch: n * self.launch,
            tensor: n * self.tensor,
            context: n * self.context,
            exchange: n * self.exchange,
            sends: n * self.sends,
            experts: n * self.experts,
        }
    }

    fn add(&mut self, other: &Self) {
        self.forward += other.forward;
        self.input += other.input;
        self.weight += other.weight;
        self.again += other.again;
        self.launch += other.launch;
        self.tensor += other.tensor;
        self.context += other.context;
        self.exchange += other.exchange;
        self.sends += other.sends;
        self.experts += other.experts;
    }
}

/// What stages do for one microbatch.
#[derive(Clone, Debug, PartialEq)]
pub struct RankTime {
    /// All of its blocks together.
    pub time: StageTime,
    /// Main layers and, after them, MTP layers.
    pub layers: Vec<u32>,
    /// How many of embedding and head it holds.
    pub ends: f64,
}

impl RankTime {
    fn add(&mut self, other: &Self) {
        self.time.add(&other.time);
        self.layers.extend(&other.layers);
        self.ends += other.ends;
    }
}

/// The time of every pipeline rank: of all stages that it holds, one after the other.
pub fn rank_times(hardware: &Hardware, network: &Network, layout: &Layout) -> Vec<RankTime> {
    let n = (layout.pipeline * layout.virtual_stages) as usize;
    let empty = RankTime { time: StageTime::default(), layers: Vec::new(), ends: 0.0 };
    let mut ranks = vec![empty; layout.pipeline as usize];
    for (stage, time) in stage_times(hardware, network, layout, n).iter().enumerate() {
        ranks[stage % layout.pipeline as usize].add(time);
    }
    for rank in &mut ranks {
        rank.time.launch = waiting(&rank.time);
    }
    ranks
}

/// The time of each of `n_stages` stages. `launch` is all that the CPU needs, not only what the GPU waits for it.
pub fn stage_times(hardware: &Hardware, network: &Network, layout: &Layout, n_stages: usize) -> Vec<RankTime> {
    let clock = Clock { hardware, network, layout };
    let n_places = network.layers + network.mtp_depth;
    // Layers of a kind take equally long.
    let dense = clock.of(&layer_blocks(network, layout, 0));
    let sparse = clock.of(&layer_blocks(network, layout, network.layers));
    let first = clock.of(&[embedding(network, layout)]);
    let last = clock.of(&[head(network, layout)]);
    let module = clock.of(&[prediction(network, layout)]);
    let place = |layer: u32| {
        let is_module = layer >= network.layers;
        let (embeds, scores) = (layer == 0, layer + 1 == network.layers);
        let mut time = if network.is_sparse(layer) { sparse } else { dense };
        for (holds, own) in [(embeds, &first), (scores || is_module, &last), (is_module, &module)] {
            if holds {
                time.add(own);
            }
        }
        // A tied head is the embedding where one stage holds both.
        let tied = scores && network.tied && n_stages == 1;
        RankTime { time, layers: vec![layer], ends: f64::from(u8::from(embeds) + u8::from(scores && !tied)) }
    };
    let places: Vec<RankTime> = (0..n_places).map(place).collect();
    let costs: Vec<f64> = places.iter().map(|place| place.time.total() - place.time.launch).collect();
    let sends = 2.0 * send_seconds(hardware, network, layout);
    let stage = |range: std::ops::Range<usize>| {
        let time = StageTime { sends, ..StageTime::default() };
        let mut stage = RankTime { time, layers: Vec::new(), ends: 0.0 };
        places[range].iter().for_each(|place| stage.add(place));
        stage
    };
    let cuts = match &layout.stages {
        Some(planned) if planned.len() == n_stages => planned_cuts(planned, n_places as usize),
        _ => cut(&costs, n_stages, network.layers as usize),
    };
    cuts.into_iter().map(stage).collect()
}

/// The time of one layer with experts.
pub(super) fn sparse_layer_time(hardware: &Hardware, network: &Network, layout: &Layout) -> StageTime {
    Clock { hardware, network, layout }.of(&layer_blocks(network, layout, network.layers))
}

/// The blocks of a layer, in order.
pub(crate) fn layer_blocks(network: &Network, layout: &Layout, layer: u32) -> Vec<Block> {
    let attention = workload::attention(network, layout);
    match network.experts.filter(|_| network.is_sparse(layer)) {
        Some(experts) => vec![
            attention,
            workload::experts(network, layout, &experts),
            workload::shared_experts(network, layout, &experts),
        ],
        None => vec![attention, workload::dense(network, layout)],
    }
}

/// One message to the next stage that is waited for: tensor ranks send a part each and gather it over NVLink.
fn send_seconds(hardware: &Hardware, network: &Network, layout: &Layout) -> f64 {
    // Interleaved stages have other work while a message is under way.
    if layout.pipeline <= 1 || (layout.kernels.overlaps() && layout.virtual_stages > 1) {
        return 0.0;
    }
    let bytes = f64::from(layout.wire.element_bytes) * layout.tokens() * f64::from(network.hidden);
    let t = f64::from(layout.tensor);
    let inside = hardware.nvlink_bandwidth * hardware.nvlink_efficiency;
    let stride = layout.tensor * layout.context * layout.data;
    let (bandwidth, latency) = if spans_nodes(hardware, 2, stride) {
        (hardware.nic_bandwidth * hardware.nic_efficiency, hardware.nic_seconds)
    } else {
        (inside, hardware.nvlink_seconds)
    };
    let gather = if layout.sequence_parallel { 0.0 } else { bytes * (t - 1.0) / t / inside };
    latency + bytes / t / bandwidth + gather
}

struct Clock<'a> {
    hardware: &'a Hardware,
    network: &'a Network,
    layout: &'a Layout,
}

impl Clock<'_> {
    /// The time of some blocks. `launch` is what the CPU needs; [`waiting`] makes a wait of it.
    fn of(&self, blocks: &[Block]) -> StageTime {
        let mut time = StageTime::default();
        for block in blocks {
            self.block(block, &mut time);
        }
        time
    }

    fn block(&self, block: &Block, time: &mut StageTime) {
        let again = self.layout.recompute.again(block);
        let gpu = |kernels: &[Kernel]| kernels.iter().map(|kernel| seconds(self.hardware, kernel)).sum::<f64>();
        let cpu = |kernels: &[Kernel], backward| {
            kernels.iter().map(|kernel| launch_seconds(self.hardware, kernel, backward)).sum::<f64>()
        };
        let [forward, input, weight, again_gpu] = [&block.forward, &block.input, &block.weight, again].map(gpu);
        time.forward += forward;
        time.input += input;
        time.weight += weight + self.accumulation(&block.weight);
        time.again += again_gpu;
        if block.label == "experts" {
            time.experts += forward + input + weight + again_gpu;
        }
        time.launch +=
            cpu(&block.forward, false) + cpu(&block.input, true) + cpu(&block.weight, true) + cpu(again, false);
        let repeated = if self.layout.recompute == Recompute::Full { 3.0 } else { 2.0 };
        for &collective in &block.collectives {
            let seconds = seconds_of(self.hardware, self.network, self.layout, collective);
            let launched = self.hardware.collective_launch_seconds * repeated;
            match collective {
                Collective::AllReduce(Group::Tensor, _) | Collective::GatherScatter(Group::Tensor, _) => {
                    let hidden = self.layout.kernels.overlaps();
                    time.tensor += repeated * seconds / if hidden { OVERLAP_CHUNKS } else { 1.0 };
                }
                Collective::Dispatch(_) | Collective::Combine(_) => time.exchange += repeated * seconds,
                _ => {
                    // Gathered while attention runs on what is there already.
                    let attention: f64 = gpu(&block.forward.iter().copied().filter(is_attention).collect::<Vec<_>>());
                    time.context += repeated * (seconds - attention).max(0.0);
                }
            }
            time.launch += launched;
        }
    }

    /// Gradients of a microbatch that are added in a pass of their own.
    fn accumulation(&self, weights: &[Kernel]) -> f64 {
        if self.layout.kernels != Kernels::Separate {
            return 0.0;
        }
        let add = |kernel: &Kernel| match *kernel {
            Kernel::Matmul { rows, columns, batches, role: Role::WeightGradient, .. } => {
                seconds(self.hardware, &Kernel::Memory { bytes: 6.0 * rows * columns * batches, n: 1.0 })
            }
            _ => 0.0,
        };
        weights.iter().map(add).sum()
    }
}

/// The CPU runs ahead of the GPU, so the slower of the two sets the pace; near equality both are felt (a soft maximum,
/// the fourth root of the sum of fourth powers).
pub(super) fn waiting(time: &StageTime) -> f64 {
    let gpu = time.compute() + time.tensor + time.context + time.exchange;
    (gpu.powi(4) + time.launch.powi(4)).powf(0.25) - gpu
}

fn is_attention(kernel: &Kernel) -> bool {
    matches!(kernel, Kernel::FusedAttention { .. })
}

/// The places of planned stages: prediction modules stand after the last layer.
fn planned_cuts(planned: &[std::ops::Range<u32>], n_places: usize) -> Vec<std::ops::Range<usize>> {
    let end = |stage: usize| if stage + 1 == planned.len() { n_places } else { planned[stage].end as usize };
    planned.iter().enumerate().map(|(stage, layers)| layers.start as usize..end(stage)).collect()
}

/// Cuts places into `n` runs: evenly where main layers divide, otherwise so that the dearest run is as cheap as can be.
fn cut(costs: &[f64], n: usize, n_layers: usize) -> Vec<std::ops::Range<usize>> {
    if n_layers.is_multiple_of(n) && n > 0 {
        let each = n_layers / n;
        let end = |stage: usize| if stage + 1 == n { costs.len() } else { (stage + 1) * each };
        return (0..n).map(|stage| stage * each..end(stage)).collect();
    }
    let (mut low, mut high) = (costs.iter().copied().fold(0.0, f64::max), costs.iter().sum::<f64>());
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if runs(costs, middle).len() <= n { high = middle } else { low = middle }
    }
    let mut cuts = runs(costs, high);
    // Fewer runs than stages leave stages without layers.
    cuts.resize(n, costs.len()..costs.len());
    cuts
}

/// Runs of at most `limit` each, as long as can be.
fn runs(costs: &[f64], limit: f64) -> Vec<std::ops::Range<usize>> {
    let mut cuts = Vec::new();
    let (mut start, mut sum) = (0, 0.0);
    for (place, cost) in costs.iter().enumerate() {
        if place > start && sum + cost > limit * (1.0 + 1e-12) {
            cuts.push(start..place);
            (start, sum) = (place, 0.0);
        }
        sum += cost;
    }
    cuts.push(start..costs.len());
    cuts
}
