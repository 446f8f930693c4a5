//! A layout: how the work of a step is divided, as far as a search may change it.

use std::fmt;

use ds_plan::spec::{JobSpec, Recompute, ScheduleKind};

/// How the work of a step is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are those of the spec")]
pub struct Layout {
    pub pipeline: u32,
    pub data: u32,
    pub context: u32,
    pub tensor: u32,
    pub expert: u32,
    pub schedule: ScheduleKind,
    pub virtual_stages: u32,
    pub microbatch: u32,
    pub zero: u32,
    pub recompute: Recompute,
}

impl Layout {
    /// A job's own.
    pub fn of(spec: &JobSpec) -> Self {
        let p = &spec.parallel;
        Self {
            pipeline: p.pipeline,
            data: p.data,
            context: p.context,
            tensor: p.tensor,
            expert: p.expert,
            schedule: p.schedule,
            virtual_stages: p.virtual_stages,
            microbatch: spec.train.first().map_or(1, |phase| phase.microbatch),
            zero: p.zero,
            recompute: p.recompute,
        }
    }

    /// The job in this layout.
    pub fn apply(self, base: &JobSpec) -> JobSpec {
        let mut spec = base.clone();
        let p = &mut spec.parallel;
        (p.pipeline, p.data, p.context, p.tensor) = (self.pipeline, self.data, self.context, self.tensor);
        (p.expert, p.schedule, p.virtual_stages) = (self.expert, self.schedule, self.virtual_stages);
        (p.zero, p.recompute) = (self.zero, self.recompute);
        for phase in &mut spec.train {
            phase.microbatch = self.microbatch;
        }
        spec
    }

    /// Ranks.
    pub fn n_ranks(self) -> u64 {
        [self.pipeline, self.data, self.context, self.tensor].into_iter().map(u64::from).product()
    }

    /// Whether the other one differs only in what ZeRO divides and what is computed again.
    pub(super) fn same_plan(self, other: Self) -> bool {
        Self { zero: other.zero, recompute: other.recompute, ..self } == other
    }

    /// Every key with its value, as a spec names them.
    pub fn keys(self) -> Vec<(&'static str, String)> {
        let mut keys = vec![
            ("parallel.pipeline", self.pipeline.to_string()),
            ("parallel.data", self.data.to_string()),
            ("parallel.context", self.context.to_string()),
            ("parallel.tensor", self.tensor.to_string()),
            ("parallel.expert", self.expert.to_string()),
            ("parallel.schedule", self.schedule.to_string()),
            ("parallel.virtual_stages", self.virtual_stages.to_string()),
            ("parallel.zero", self.zero.to_string()),
            ("parallel.recompute", self.recompute.to_string()),
        ];
        keys.push(("train[0].microbatch", self.microbatch.to_string()));
        keys
    }

    /// The flags that give a job this layout.
    pub fn flags(self) -> String {
        let flag = |(key, value): (&str, String)| format!("--set {}={value}", key.replace("[0]", ".0"));
        self.keys().into_iter().map(flag).collect::<Vec<_>>().join(" ")
    }

    /// The part of a job's file that has this layout.
    pub fn yaml(self) -> String {
        let mut text = "parallel:\n".to_owned();
        for (key, value) in self.keys() {
            match key.strip_prefix("parallel.") {
                Some(key) => text += &format!("  {key}: {value}\n"),
                None => text += &format!("train:\n  - microbatch: {value} # and the rest of the phase\n"),
            }
        }
        text
    }
}

/// Short: only what is not 1 or nothing.
impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PP{} x DP{}", self.pipeline, self.data)?;
        for (name, n) in [("CP", self.context), ("TP", self.tensor)] {
            if n > 1 {
                write!(f, " x {name}{n}")?;
            }
        }
        write!(f, ", EP{}, {}", self.expert, self.schedule)?;
        if self.virtual_stages > 1 {
            write!(f, " x{}", self.virtual_stages)?;
        }
        write!(f, ", microbatch {}", self.microbatch)?;
        if self.zero > 0 {
            write!(f, ", ZeRO-{}", self.zero)?;
        }
        if self.recompute != Recompute::None {
            write!(f, ", recompute {}", self.recompute)?;
        }
        Ok(())
    }
}
