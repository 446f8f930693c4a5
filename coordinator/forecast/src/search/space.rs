//! The layouts that a search looks at.

use ds_arch::parameters;
use ds_plan::JobPlan;
use ds_plan::spec::{JobSpec, Recompute, ScheduleKind};

use super::layout::Layout;
use super::reject::Reason;

/// What may be chosen, and from what.
#[derive(Clone, Debug, PartialEq)]
pub struct Space {
    /// All of them are used.
    pub n_gpus: u32,
    /// Of one GPU, in bytes.
    pub memory_bytes: u64,
    /// Values of each axis.
    pub pipelines: Vec<u32>,
    /// Values of each axis.
    pub tensors: Vec<u32>,
    /// Values of each axis.
    pub contexts: Vec<u32>,
    /// Values of each axis.
    pub experts: Vec<u32>,
    /// Each with its stages a rank.
    pub schedules: Vec<(ScheduleKind, u32)>,
    /// Sequences.
    pub microbatches: Vec<u32>,
    /// What ZeRO divides.
    pub zeros: Vec<u32>,
    /// What is computed again.
    pub recomputes: Vec<Recompute>,
    /// The job's own, which is always looked at when it takes all of the GPUs.
    pub own: Layout,
    /// Of attention.
    pub(super) n_heads: u32,
    /// Elements of everything but routed experts, and of all routed experts.
    pub(super) elements: (u64, u64),
    /// Bytes of weight, master weight, gradient and moments of one element.
    pub(super) state_bytes: [u64; 4],
}

/// Stages of a rank under the interleaved schedules that are tried.
const VIRTUAL_STAGES: [u32; 2] = [2, 4];
/// Microbatches that are tried, in sequences: powers of two up to here. Larger ones only cost memory, since matrices of
/// a few thousand rows run at full speed.
const LARGEST_MICROBATCH: u32 = 8;

/// The space of a job on so many GPUs: all divisors of the number of GPUs as pipeline, all divisors of the number of
/// experts, every schedule that is not worse than another in all respects, microbatches of up to eight sequences. Tensor
/// ranks stay within a node; context ranks are tried when the job asks for any.
pub fn space(base: &JobSpec, n_gpus: u32, gpus_per_node: u32, memory_bytes: u64) -> Space {
    let own = Layout::of(base);
    let n_layers = base.model.n_layers;
    let powers = |most: u32| (0..31).map(|power| 1 << power).take_while(move |&n| n <= most);
    // GPipe and looped breadth-first idle as long as 1F1B and interleaved 1F1B, and keep more.
    let mut schedules = vec![(ScheduleKind::OneFOneB, 1), (ScheduleKind::ZbH1, 1), (ScheduleKind::ZbV, 1)];
    for kind in [ScheduleKind::Interleaved, ScheduleKind::InterleavedZb] {
        schedules.extend(VIRTUAL_STAGES.map(|n| (kind, n)));
    }
    schedules.extend([(ScheduleKind::DualPipe, 1), (ScheduleKind::DualPipeV, 1)]);
    let tensors =
        if own.tensor > 1 { powers(gpus_per_node).filter(|t| n_gpus.is_multiple_of(*t)).collect() } else { vec![1] };
    let contexts = if own.context > 1 { powers(2 * own.context).collect() } else { vec![1] };
    // Divided gradients are reduced every microbatch, which the step estimate does not price: tried when asked for.
    let zeros = if own.zero == 2 { vec![0, 1, 2, 3] } else { vec![0, 1, 3] };
    Space {
        n_gpus,
        memory_bytes,
        pipelines: divisors(n_gpus).filter(|&n| n <= n_layers).collect(),
        tensors,
        contexts,
        experts: divisors(base.model.moe.n_experts).collect(),
        schedules,
        microbatches: powers(LARGEST_MICROBATCH).collect(),
        zeros,
        recomputes: vec![Recompute::None, Recompute::Norms, Recompute::Full],
        own,
        n_heads: base.model.attention.n_heads,
        elements: elements(base),
        state_bytes: state_bytes(base),
    }
}

impl Space {
    /// Every layout, each once; those with the same plan stand together.
    pub fn layouts(&self) -> Vec<Layout> {
        let mut all = Vec::new();
        for (&pipeline, &tensor, &context) in product3(&self.pipelines, &self.tensors, &self.contexts) {
            let each = u64::from(pipeline) * u64::from(tensor) * u64::from(context);
            let data = (u64::from(self.n_gpus) / each) as u32;
            for (&expert, &(schedule, virtual_stages), &microbatch) in
                product3(&self.experts, &self.schedules, &self.microbatches)
            {
                // With one stage there is no order to choose.
                if pipeline == 1 && schedule != ScheduleKind::OneFOneB {
                    continue;
                }
                for &zero in &self.zeros {
                    for &recompute in &self.recomputes {
                        all.push(Layout {
                            pipeline,
                            data,
                            context,
                            tensor,
                            expert,
                            schedule,
                            virtual_stages,
                            microbatch,
                            zero,
                            recompute,
                        });
                    }
                }
            }
        }
        if self.own.n_ranks() == u64::from(self.n_gpus) && !all.contains(&self.own) {
            all.push(self.own);
        }
        all
    }

    /// What costs nothing to check.
    pub(super) fn check(&self, layout: Layout) -> Result<(), Reason> {
        if layout.n_ranks() != u64::from(self.n_gpus) {
            let each = layout.pipeline * layout.tensor * layout.context;
            return Err(Reason::GpusLeftOver { n_gpus: self.n_gpus, each });
        }
        if !self.n_heads.is_multiple_of(layout.tensor) {
            return Err(Reason::Heads { tensor: layout.tensor, n_heads: self.n_heads });
        }
        Ok(())
    }
}

fn divisors(n: u32) -> impl Iterator<Item = u32> {
    (1..=n).filter(move |&d| n.is_multiple_of(d))
}

fn product3<'a, A, B, C>(a: &'a [A], b: &'a [B], c: &'a [C]) -> impl Iterator<Item = (&'a A, &'a B, &'a C)> {
    a.iter().flat_map(move |x| b.iter().flat_map(move |y| c.iter().map(move |z| (x, y, z))))
}

/// Of everything but routed experts, and of all routed experts.
fn elements(base: &JobSpec) -> (u64, u64) {
    let mut sums = (0, 0);
    for parameter in parameters(&base.model) {
        let sum = if parameter.expert.is_some() { &mut sums.1 } else { &mut sums.0 };
        *sum += parameter.n_elements();
    }
    sums
}

/// Bytes of weight, master weight, gradient and moments of one element, as the planner counts them.
fn state_bytes(base: &JobSpec) -> [u64; 4] {
    let alone = Layout {
        pipeline: 1,
        data: 1,
        context: 1,
        tensor: 1,
        expert: 1,
        schedule: ScheduleKind::OneFOneB,
        virtual_stages: 1,
        microbatch: 1,
        zero: 0,
        recompute: Recompute::None,
    };
    JobPlan::new(alone.apply(base)).map_or([0; 4], |plan| {
        let (memory, n) = (plan.memory_at(0, 1.0), plan.n_parameters_at(0).max(1));
        [memory.weights, memory.master_weights, memory.gradients, memory.moments].map(|bytes| bytes / n)
    })
}
