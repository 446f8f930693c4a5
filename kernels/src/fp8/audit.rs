//! How far products of codes are from exact ones: on a thread that asks, each is made again in FP64.

use std::cell::RefCell;

use tch::{Kind, Tensor};

use super::quantise::Quantised;
use crate::counters::Which;

/// One product beside FP64.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Audited {
    /// Where the layer's weight begins in memory, which tells layers apart.
    pub weight: usize,
    /// Which of the layer's products.
    pub which: Which,
    /// Rows and columns of the result, and the columns that it sums over.
    pub size: [i64; 3],
    /// ‖C − C₆₄‖ / ‖C₆₄‖ of FP64's product of the operands before they were quantised; 0 where both are 0.
    pub error: f64,
    /// ‖C − C₆₄‖ / √(Σ a²ᵢₖ b²ⱼₖ): what ‖C₆₄‖ would be if its terms did not cancel or add up, so that all products have one
    /// measure: for independent operands it is `error`.
    pub of_terms: f64,
    /// The same of FP64's product of the very codes: what summing in FP32 costs.
    pub of_sums: f64,
}

thread_local! {
    static FOUND: RefCell<Option<Vec<Audited>>> = const { RefCell::new(None) };
}

/// Runs `body`, and audits the products of its forward passes and of their backward passes within it, on this thread.
pub fn audited<T>(body: impl FnOnce() -> T) -> (T, Vec<Audited>) {
    FOUND.set(Some(Vec::new()));
    let result = body();
    (result, FOUND.take().unwrap_or_default())
}

pub(super) fn is_on() -> bool {
    FOUND.with_borrow(Option::is_some)
}

/// Notes a product `c` of the codes `q` beside that of `exact`, `[m, k]` and `[n, k]` likewise.
pub(super) fn note(which: Which, weight: &Tensor, c: &Tensor, q: [&Quantised; 2], exact: [&Tensor; 2]) {
    let in_double = |[a, b]: [&Tensor; 2]| a.to_kind(Kind::Double).matmul(&b.to_kind(Kind::Double).tr());
    let (codes, c_64) = (q.map(Quantised::dequantise), in_double(exact));
    let [of_a, of_b] = exact.map(|x| x.to_kind(Kind::Double).square().sum_dim_intlist([0_i64].as_slice(), false, None));
    let off = norm(&(c.to_kind(Kind::Double) - &c_64));
    let (rows, width) = exact[0].size2().expect("a matrix");
    let audited = Audited {
        weight: weight.data_ptr() as usize,
        which,
        size: [rows, exact[1].size()[0], width],
        error: share(off, norm(&c_64)),
        of_terms: share(off, of_a.dot(&of_b).double_value(&[]).sqrt()),
        of_sums: {
            let of_codes = in_double([&codes[0], &codes[1]]);
            share(norm(&(c.to_kind(Kind::Double) - &of_codes)), norm(&of_codes))
        },
    };
    FOUND.with_borrow_mut(|found| found.iter_mut().for_each(|found| found.push(audited)));
}

fn norm(x: &Tensor) -> f64 {
    x.norm().double_value(&[])
}

fn share(off: f64, of: f64) -> f64 {
    if off == 0.0 { 0.0 } else { off / of }
}
