//! Rotary positions (arXiv 2104.09864) in the released code's convention: neighbours form pairs.

use tch::{Device, Kind, Tensor};

/// Cosines and signed sines for positions 0 to t.
pub(crate) struct Rope {
    /// `[t, 1, rope]`: each cosine twice.
    cos: Tensor,
    /// `[t, 1, rope]`: −sin, sin.
    sin: Tensor,
}

impl Rope {
    /// Frequencies θ^(−2i/rope), computed in f64.
    pub(crate) fn new(t: i64, rope: i64, theta: f64, kind: Kind, device: Device) -> Self {
        let pairs = rope / 2;
        let options = (Kind::Double, Device::Cpu);
        let exponents = Tensor::arange(pairs, options) * (-2.0 / rope as f64);
        let frequencies = (exponents * theta.ln()).exp();
        let angles = Tensor::arange(t, options).unsqueeze(1) * frequencies.unsqueeze(0);
        let pair = |first: Tensor, second: Tensor| {
            Tensor::stack(&[first, second], -1).view([t, 1, rope]).to_kind(kind).to_device(device)
        };
        Self { cos: pair(angles.cos(), angles.cos()), sin: pair(-angles.sin(), angles.sin()) }
    }

    /// Rotates `x`, `[b, t, heads, rope]`.
    pub(crate) fn rotate(&self, x: &Tensor) -> Tensor {
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

    #[test]
    fn products_depend_on_the_distance_alone() {
        let rope = Rope::new(16, 8, 100.0, Kind::Double, Device::Cpu);
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

    #[test]
    fn position_zero_stays() {
        let x = Tensor::randn([1, 3, 2, 4], (Kind::Double, Device::Cpu));
        let rotated = Rope::new(3, 4, 10.0, Kind::Double, Device::Cpu).rotate(&x);
        assert_eq!(rotated.select(1, 0), x.select(1, 0));
        assert!(rotated.square().sum(Kind::Double).allclose(&x.square().sum(Kind::Double), 1e-12, 0.0, false));
    }
}
