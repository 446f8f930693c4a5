//! Products of quantised matrices.

use tch::{Kind, Tensor};

use super::on_hopper;
use super::quantise::{ALONG, Quantised, Scaling};

/// a bᵀ in FP32: `[m, k]` times `[n, k]` gives `[m, n]`. By a card's own eight-bit products where it is prepared for them
/// ([`super::prepare_products`]); elsewhere by the numbers of the codes, in FP32. A code times a scale is an FP32 number up
/// to its last place, and within 128 columns all terms of a result share both scales; so one FP32 product of the numbers is
/// the product of the codes, scaled by blocks, but for the order of roundings ([`product_by_blocks`] has the published
/// order).
///
/// # Panics
/// When the matrices have different numbers of columns, or LibTorch refuses.
pub fn product(a: &Quantised, b: &Quantised) -> Tensor {
    product_in(a, b, Kind::Float)
}

/// Likewise, rounded to `kind`.
pub(super) fn product_in(a: &Quantised, b: &Quantised, kind: Kind) -> Tensor {
    assert_eq!(a.codes.size()[1], b.codes.size()[1], "columns of both factors");
    match on_hopper::product(a, b, kind) {
        Some(product) => product.unwrap_or_else(|error| panic!("{error}")),
        None => by_numbers(a, b).to_kind(kind),
    }
}

/// a bᵀ by the numbers of the codes, in FP32.
pub(super) fn by_numbers(a: &Quantised, b: &Quantised) -> Tensor {
    a.dequantise().matmul(&b.dequantise().tr())
}

/// What [`product`] means: sums of products of codes over 128 columns, each scaled and added up in FP32.
///
/// # Panics
/// Likewise.
pub fn product_by_blocks(a: &Quantised, b: &Quantised) -> Tensor {
    let k = a.codes.size()[1];
    assert_eq!(k, b.codes.size()[1], "columns of both factors");
    let (x, y) = (a.codes.to_kind(Kind::Float), b.codes.to_kind(Kind::Float));
    let mut sum = Tensor::zeros([x.size()[0], y.size()[0]], (Kind::Float, x.device()));
    for (block, first) in (0..k).step_by(ALONG as usize).enumerate() {
        let width = ALONG.min(k - first);
        let codes = x.narrow(1, first, width).matmul(&y.narrow(1, first, width).tr());
        let (rows, columns) = (scale_of_rows(a, block as i64), scale_of_rows(b, block as i64));
        sum += codes * rows.unsqueeze(1) * columns.unsqueeze(0);
    }
    sum
}

/// Of every row, in one block of columns.
fn scale_of_rows(q: &Quantised, block: i64) -> Tensor {
    match q.scaling {
        Scaling::Tiles => q.scales.select(1, block),
        Scaling::Upright => panic!("elements of upright tiles share no scale along a row"),
        Scaling::Blocks => {
            let scales = q.scales.select(1, block);
            scales.repeat_interleave_self_int(ALONG, 0, None::<i64>).narrow(0, 0, q.codes.size()[0])
        }
    }
}
