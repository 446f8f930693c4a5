//! Whether a job's network can start from the weights of another.

use std::collections::BTreeSet;

use ds_arch::{ModelConfig, gate_bias_name, parameters};

use super::JobSpec;
use super::origin::Origin;
use super::problem::{Problem, Problems, Wrong};
use super::resolved::Resolved;
use super::walk::leaves;

/// A field in which two networks differ though the weights of one fit the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Differing {
    /// The key, as `model.moe.top_k`.
    pub path: String,
    /// The job's value, as one would write it.
    pub here: String,
    /// That of the network whose weights they are.
    pub there: String,
}

impl Resolved {
    /// How a network whose weights the job is to start from differs from the job's.
    ///
    /// # Errors
    /// Every field of the model by which its tensors have other names or shapes. More MTP modules than the job has are
    /// none: they are left out.
    pub fn start_from(&self, other: &ModelConfig) -> Result<Vec<Differing>, Problems> {
        let of_other = JobSpec { model: other.clone(), ..self.spec.clone() };
        let (tensors_here, mut problems, mut differing) = (tensors(&self.spec.model), Problems::default(), Vec::new());
        for leaf in leaves(&self.spec).into_iter().filter(|leaf| leaf.path().starts_with("model.")) {
            let (path, value) = (leaf.path(), leaf.value(&of_other));
            let (here, there) = (leaf.value(&self.spec).to_string(), value.to_string());
            if here == there {
                continue;
            }
            let mut changed = self.spec.clone();
            (leaf.field.lens.set)(&mut changed, leaf.at, value);
            let has_spare_mtp = other.mtp.depth > self.spec.model.mtp.depth && changed.model.mtp == other.mtp;
            if has_spare_mtp || tensors(&changed.model) == tensors_here {
                differing.push(Differing { path, here, there });
                continue;
            }
            let place = self.origins.get(&path).cloned().unwrap_or(Origin::Default);
            let wrong = Wrong::new(format!("does not fit the weights to start from, whose network has {there}"));
            problems.push(Problem::new(&place, &path, Some(here), wrong));
        }
        problems.or(differing)
    }
}

/// Names and shapes of all that a checkpoint of the network holds.
fn tensors(model: &ModelConfig) -> BTreeSet<(String, Vec<u32>)> {
    let biases = model.moe_layers().map(|layer| (gate_bias_name(layer), vec![model.moe.n_experts]));
    parameters(model).into_iter().map(|p| (p.name, p.shape)).chain(biases).collect()
}

#[cfg(test)]
mod tests {
    use ds_arch::{GateScore, preset};

    use crate::spec::read;

    const JOB: &str = "\
version: 1
kind: train
name: tiny
model:
  preset: tiny
  hidden_size: 48
data: { train: /none, tokenizer: bytes }
train: [{ steps: 1, sequence: 1, batch: 1, microbatch: 1, learning_rate: { peak: 1.0e-3 } }]
";

    #[test]
    fn fields_that_make_other_tensors_are_problems_and_the_others_are_told() {
        let job = read(JOB, "job.yaml", &[("model.moe.top_k".to_owned(), "1".to_owned())]).unwrap();
        assert_eq!(job.start_from(&job.spec.model), Ok(Vec::new()));

        let mut other = job.spec.model.clone();
        (other.moe.top_k, other.moe.score, other.attention.rope.theta) = (2, GateScore::Softmax, 5e5);
        other.mtp.depth += 1;
        let told = job.start_from(&other).unwrap();
        let paths: Vec<&str> = told.iter().map(|one| one.path.as_str()).collect();
        assert_eq!(paths, ["model.attention.rope_theta", "model.moe.top_k", "model.moe.score", "model.mtp.depth"]);
        assert_eq!((told[1].here.as_str(), told[1].there.as_str()), ("1", "2"));

        (other.hidden_size, other.attention.q_lora_rank, other.mtp.depth) = (32, None, 0);
        other.n_layers += 1;
        let said = job.start_from(&other).unwrap_err().to_string();
        let lines: Vec<&str> = said.lines().collect();
        let rest = "does not fit the weights to start from, whose network has";
        assert_eq!(lines.len(), 4, "{said}");
        assert_eq!(lines[0], format!("job.yaml:6:16: model.hidden_size: 48 {rest} 32"));
        assert!(
            lines.contains(&format!("preset tiny: model.attention.q_lora_rank: 16 {rest} null").as_str()),
            "{said}"
        );
        assert!(lines.contains(&format!("preset tiny: model.mtp.depth: 1 {rest} 0").as_str()), "{said}");
        let bard = preset("bard").unwrap();
        assert!(job.start_from(&bard).unwrap_err().iter().any(|problem| problem.path == "model.moe.n_experts"));
    }
}
