//! How far products of codes are from exact ones: on a thread that asks, each is made again in FP64.

use std::cell::RefCell;

use tch::{Kind, Tensor};

use super::counters::Which;
use super::quantise::Quantised;

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
    let codes = q.map(Quantised::dequantise);
    let (rows, width) = exact[0].size2().expect("a matrix");
    let audited = Audited {
        weight: weight.data_ptr() as usize,
        which,
        size: [rows, exact[1].size()[0], width],
        error: apart(c, &in_double(exact)),
        of_sums: apart(c, &in_double([&codes[0], &codes[1]])),
    };
    FOUND.with_borrow_mut(|found| found.iter_mut().for_each(|found| found.push(audited)));
}

fn apart(c: &Tensor, exact: &Tensor) -> f64 {
    let (off, size) = ((c.to_kind(Kind::Double) - exact).norm().double_value(&[]), exact.norm().double_value(&[]));
    if off == 0.0 { 0.0 } else { off / size }
}
