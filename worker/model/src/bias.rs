//! Loss-free balancing (arXiv 2408.15664, algorithm 1).

use tch::{Tensor, no_grad};

/// How a load error moves a bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BiasStep {
    /// speed · sign(mean − load); an expert with the mean load stays.
    Sign,
    /// speed · (mean − load) / mean.
    Proportional,
}

/// Moves a gate's bias against each expert's load error. `bias` is `[e]`; `loads` are tokens of the whole batch, one
/// number an expert. Without any load nothing moves.
pub fn update_bias(bias: &Tensor, loads: &[f64], step: BiasStep, speed: f64) {
    let mean = loads.iter().sum::<f64>() / loads.len() as f64;
    let error = |&load: &f64| match step {
        BiasStep::Sign if load == mean => 0.0,
        BiasStep::Sign => (mean - load).signum(),
        BiasStep::Proportional if mean == 0.0 => 0.0,
        BiasStep::Proportional => (mean - load) / mean,
    };
    let errors: Vec<f64> = loads.iter().map(error).collect();
    let errors = Tensor::from_slice(&errors).to_kind(bias.kind()).to_device(bias.device());
    let _ = no_grad(|| bias.shallow_clone().g_add_(&(errors * speed).to_kind(bias.kind())));
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn the_bias_moves_against_the_load() {
        let bias = Tensor::zeros([4], (Kind::Float, Device::Cpu));
        update_bias(&bias, &[10.0, 2.0, 4.0, 0.0], BiasStep::Sign, 0.5);
        assert_eq!(Vec::<f32>::try_from(&bias).unwrap(), [-0.5, 0.5, 0.0, 0.5]);
    }

    #[test]
    fn an_expert_with_the_mean_load_stays() {
        let bias = Tensor::from_slice(&[0.25_f32, 0.5]);
        update_bias(&bias, &[3.0, 3.0], BiasStep::Sign, 0.001);
        assert_eq!(Vec::<f32>::try_from(&bias).unwrap(), [0.25, 0.5]);
    }

    #[test]
    fn a_proportional_step_is_the_error_as_a_share_of_the_mean() {
        let bias = Tensor::zeros([3], (Kind::Double, Device::Cpu));
        update_bias(&bias, &[9.0, 3.0, 0.0], BiasStep::Proportional, 0.1);
        assert!(bias.allclose(&Tensor::from_slice(&[-0.125, 0.025, 0.1]), 1e-12, 0.0, false));
        update_bias(&bias, &[0.0; 3], BiasStep::Proportional, 0.1);
        assert!(bias.allclose(&Tensor::from_slice(&[-0.125, 0.025, 0.1]), 1e-12, 0.0, false));
    }
}
