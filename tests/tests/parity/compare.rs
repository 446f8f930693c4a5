//! How far two tensors are apart, and how far they may be.

use tch::{Device, Kind, Tensor};

/// The furthest of several comparisons, none of which may be further than allowed.
pub(crate) struct Furthest {
    allowed: f64,
    worst: f64,
    at: String,
    n: usize,
}

impl Furthest {
    pub(crate) fn new(allowed: f64) -> Self {
        Self { allowed, worst: 0.0, at: String::new(), n: 0 }
    }

    /// # Panics
    /// When it is further than allowed, or no number.
    pub(crate) fn see(&mut self, at: &str, off: f64) {
        assert!(off <= self.allowed, "{at}: {off:.3e} apart, {:.3e} allowed", self.allowed);
        self.n += 1;
        if off >= self.worst {
            (self.worst, self.at) = (off, at.to_owned());
        }
    }

    /// # Panics
    /// When the greatest difference of any element is more than allowed.
    pub(crate) fn elements(&mut self, at: &str, found: &Tensor, golden: &Tensor) {
        self.see(at, greatest_difference(found, golden));
    }

    /// # Panics
    /// When the difference is a greater share of the golden tensor's norm than allowed.
    pub(crate) fn norms(&mut self, at: &str, found: &Tensor, golden: &Tensor) {
        let (found, golden) = both(at, found, golden);
        let off = (found - &golden).norm().double_value(&[]) / (golden.norm().double_value(&[]) + 1e-6);
        self.see(at, off);
    }

    /// # Panics
    /// When nothing was compared.
    pub(crate) fn report(&self) -> String {
        assert!(self.n > 0, "nothing was compared");
        format!("{} compared, at most {:.1e} apart ({}), {:.1e} allowed", self.n, self.worst, self.at, self.allowed)
    }
}

/// Of any element.
///
/// # Panics
/// When the shapes differ.
pub(crate) fn greatest_difference(found: &Tensor, golden: &Tensor) -> f64 {
    let (found, golden) = both("a tensor", found, golden);
    if golden.numel() == 0 { 0.0 } else { (found - golden).abs().max().double_value(&[]) }
}

fn both(at: &str, found: &Tensor, golden: &Tensor) -> (Tensor, Tensor) {
    assert_eq!(found.numel(), golden.numel(), "{at}: {:?} and {:?}", found.size(), golden.size());
    let here = |x: &Tensor| x.to_device(Device::Cpu).to_kind(Kind::Double).reshape([-1]);
    (here(found), here(golden))
}
