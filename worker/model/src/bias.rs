//! Loss-free balancing (arXiv 2408.15664, algorithm 1).

use tch::{Tensor, no_grad};

/// Moves a gate's bias by `speed` against the sign of each expert's load error: b += speed · sign(mean − load).
/// `bias` is `[e]`; `loads` are tokens of the whole batch, one number an expert.
pub fn update_bias(bias: &Tensor, loads: &[f64], speed: f64) {
    let mean = loads.iter().sum::<f64>() / loads.len() as f64;
    let signs: Vec<f64> = loads.iter().map(|&load| if load == mean { 0.0 } else { (mean - load).signum() }).collect();
    let signs = Tensor::from_slice(&signs).to_kind(bias.kind()).to_device(bias.device());
    let _ = no_grad(|| bias.shallow_clone().g_add_(&(signs * speed).to_kind(bias.kind())));
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn the_bias_moves_against_the_load() {
        let bias = Tensor::zeros([4], (Kind::Float, Device::Cpu));
        update_bias(&bias, &[10.0, 2.0, 4.0, 0.0], 0.5);
        assert_eq!(Vec::<f32>::try_from(&bias).unwrap(), [-0.5, 0.5, 0.0, 0.5]);
    }

    #[test]
    fn an_expert_with_the_mean_load_stays() {
        let bias = Tensor::from_slice(&[0.25_f32, 0.5]);
        update_bias(&bias, &[3.0, 3.0], 0.001);
        assert_eq!(Vec::<f32>::try_from(&bias).unwrap(), [0.25, 0.5]);
    }

    #[test]
    #[ignore = "needs the folder of golden data in DSCTL_GOLDEN"]
    fn trajectories_are_bitwise_those_of_the_paper_s_algorithm() {
        let folder = std::env::var("DSCTL_GOLDEN").expect("DSCTL_GOLDEN");
        let file = std::path::Path::new(&folder).join("loss_free_balancing/lfb.safetensors");
        let tensors: std::collections::HashMap<String, Tensor> =
            Tensor::read_safetensors(file).unwrap().into_iter().collect();
        for case in ["e16", "e64", "e256", "ties_e16", "zeros_e32"] {
            let loads = &tensors[&format!("{case}.load")];
            for kind in [Kind::Float, Kind::Double] {
                let golden = &tensors[&format!("{case}.bias_f{}", if kind == Kind::Float { 32 } else { 64 })];
                let bias = Tensor::zeros(loads.size()[1], (kind, Device::Cpu));
                for step in 0..loads.size()[0] {
                    let load = Vec::<f64>::try_from(loads.get(step).to_kind(Kind::Double)).unwrap();
                    update_bias(&bias, &load, 0.001);
                    assert_eq!(bias, golden.get(step), "{case} {kind:?} step {step}");
                }
            }
        }
    }
}
