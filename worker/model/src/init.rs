//! Initial weights: a function of (seed, logical name, element index) alone, so that they are the same on every grid.

use std::f64::consts::TAU;

use ds_arch::{Init, Parameter};
use tch::{Device, Kind, Tensor};

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// The values of a logical parameter, drawn in f64 and rounded to FP32 for every format, so that runs in different
/// formats start alike.
pub(crate) fn initial(parameter: &Parameter, seed: u64, kind: Kind, device: Device) -> Tensor {
    let shape: Vec<i64> = parameter.shape.iter().map(|&d| i64::from(d)).collect();
    match parameter.init {
        Init::Ones => Tensor::ones(&shape, (kind, device)),
        Init::Normal { std } => {
            let values = normal(key(seed, &parameter.name), parameter.n_elements() as usize, std);
            Tensor::from_slice(&values).view(shape.as_slice()).to_kind(kind).to_device(device)
        }
    }
}

/// FNV-1a over the name, mixed with the seed.
fn key(seed: u64, name: &str) -> u64 {
    let hash = name.bytes().fold(0xCBF2_9CE4_8422_2325, |h: u64, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01B3));
    mix(hash ^ mix(seed.wrapping_add(GOLDEN)))
}

/// SplitMix64's finaliser.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// In (0, 1].
fn uniform(key: u64, counter: u64) -> f64 {
    let bits = mix(key.wrapping_add(counter.wrapping_mul(GOLDEN))) >> 11;
    (bits + 1) as f64 / (1_u64 << 53) as f64
}

/// Box and Muller: elements 2i and 2i + 1 come of one pair of uniform numbers.
fn normal(key: u64, n: usize, std: f64) -> Vec<f32> {
    let pairs = (0..n.div_ceil(2) as u64).flat_map(|i| {
        let radius = std * (-2.0 * uniform(key, 2 * i).ln()).sqrt();
        let (sin, cos) = (TAU * uniform(key, 2 * i + 1)).sin_cos();
        [radius * cos, radius * sin]
    });
    pairs.take(n).map(|value| value as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_normal_and_a_function_of_seed_name_and_index() {
        let values = normal(key(1, "a"), 100_001, 0.5);
        assert_eq!(values[..10], normal(key(1, "a"), 10, 0.5));
        assert_ne!(values[..10], normal(key(2, "a"), 10, 0.5));
        assert_ne!(values[..10], normal(key(1, "b"), 10, 0.5));
        let n = values.len() as f64;
        let moment = |power: i32| values.iter().map(|&v| f64::from(v).powi(power)).sum::<f64>() / n;
        assert!(moment(1).abs() < 0.005, "{}", moment(1));
        assert!((moment(2) - 0.25).abs() < 0.005, "{}", moment(2));
        assert!((moment(4) - 3.0 * 0.0625).abs() < 0.01, "{}", moment(4));
    }
}
