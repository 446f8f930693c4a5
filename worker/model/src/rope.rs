//! Rotary positions (arXiv 2104.09864) in the released code's convention: neighbours form pairs.

use ds_arch::AttentionConfig;
use tch::{Device, Kind, Tensor};

/// Cosines and signed sines for positions 0 to t.
pub struct Rope {
    /// `[t, 1, rope]`: each cosine twice.
    cos: Tensor,
    /// `[t, 1, rope]`: −sin, sin.
    sin: Tensor,
}

impl Rope {
    /// An angle is the product of a position and a frequency, both rounded to FP32 as in the released code, since its
    /// rounding is what weights for long sequences were trained with; in f64 neither is rounded.
    pub fn new(config: &AttentionConfig, t: i64, kind: Kind, device: Device) -> Self {
        let exact = if kind == Kind::Double { Kind::Double } else { Kind::Float };
        let frequencies = Tensor::from_slice(&config.rope.frequencies(config.qk_rope_dim)).to_kind(exact);
        let angles = Tensor::arange(t, (exact, Device::Cpu)).unsqueeze(1) * frequencies.unsqueeze(0);
        let amplitude = config.rope.amplitude();
        let pair = |first: Tensor, second: Tensor| {
            let both = Tensor::stack(&[first, second], -1) * amplitude;
            both.view([t, 1, i64::from(config.qk_rope_dim)]).to_kind(kind).to_device(device)
        };
        Self { cos: pair(angles.cos(), angles.cos()), sin: pair(-angles.sin(), angles.sin()) }
    }

    /// For tokens that stand at these positions, `[b, t]`, rather than at 0, 1, and so on.
    pub(crate) fn at(&self, positions: &Tensor) -> Self {
        let (b, t) = positions.size2().expect("positions are sequences × tokens");
        let rows = |table: &Tensor| table.index_select(0, &positions.reshape([-1])).view([b, t, 1, -1]);
        Self { cos: rows(&self.cos), sin: rows(&self.sin) }
    }

    /// Positions from 0.
    pub fn n_positions(&self) -> i64 {
        self.cos.size()[0]
    }

    /// Cosines and sines of every position and pair, `[t, rope / 2]` each.
    pub fn tables(&self) -> (Tensor, Tensor) {
        let pairs = |all: &Tensor| all.squeeze_dim(1).slice(-1, 1, None::<i64>, 2);
        (pairs(&self.cos), pairs(&self.sin))
    }

    /// Rotates `x`, `[b, t, heads, rope]`.
    pub fn rotate(&self, x: &Tensor) -> Tensor {
        let mut pairs = x.size();
        let rope = pairs.pop().expect("four dimensions");
        pairs.extend([rope / 2, 2]);
        let swapped = x.reshape(&pairs).flip([-1]).view_as(x);
        x * &self.cos + swapped * &self.sin
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ds_arch::RopeConfig;

    fn rope(t: i64, dim: u32, config: RopeConfig) -> Rope {
        let attention = ds_arch::preset("tiny").unwrap().attention;
        let attention = AttentionConfig { qk_rope_dim: dim, rope: config, ..attention };
        Rope::new(&attention, t, Kind::Double, Device::Cpu)
    }

    #[test]
    fn products_depend_on_the_distance_alone() {
        for factor in [1.0, 40.0] {
            let rope = rope(16, 8, RopeConfig { factor, original_positions: 8, ..RopeConfig::plain(100.0) });
            let row = |seed: i64| {
                tch::manual_seed(seed);
                Tensor::randn([1, 1, 1, 8], (Kind::Double, Device::Cpu)).expand([1, 16, 1, 8], false)
            };
            let (q, k) = (rope.rotate(&row(1)).view([16, 8]), rope.rotate(&row(2)).view([16, 8]));
            let products = q.matmul(&k.tr());
            let at = |i: i64, j: i64| products.double_value(&[i, j]);
            for shift in 1..10 {
                assert!((at(5, 2) - at(5 + shift, 2 + shift)).abs() < 1e-12);
            }
            assert!((at(5, 2) - at(5, 3)).abs() > 1e-6);
        }
    }

    #[test]
    fn position_zero_stays() {
        let x = Tensor::randn([1, 3, 2, 4], (Kind::Double, Device::Cpu));
        let rotated = rope(3, 4, RopeConfig::plain(10.0)).rotate(&x);
        assert_eq!(rotated.select(1, 0), x.select(1, 0));
        assert!(rotated.square().sum(Kind::Double).allclose(&x.square().sum(Kind::Double), 1e-12, 0.0, false));
    }

    #[test]
    fn unequal_weights_of_growth_make_vectors_longer() {
        let config = RopeConfig { factor: 40.0, mscale_all_dim: 0.707, ..RopeConfig::plain(10_000.0) };
        let x = Tensor::randn([1, 3, 2, 8], (Kind::Double, Device::Cpu));
        let rotated = rope(3, 8, config).rotate(&x);
        let growth = (0.1 * 40_f64.ln() + 1.0) / (0.0707 * 40_f64.ln() + 1.0);
        assert!(rotated.norm().allclose(&(x.norm() * growth), 1e-12, 0.0, false));
    }
}
