//! Products of codes by the eight-bit tensor cores of Hopper cards, through LibTorch's scaled product (cuBLASLt). Tensor cores
//! sum 128 columns at a time with fewer bits than FP32 has, and add up these sums, scaled, in FP32 (arXiv 2412.19437, §3.3.2).

use std::sync::OnceLock;

use tch::{Device, Kind, Tensor};

use super::product::by_numbers;
use super::quantise::{Quantised, ScaleRule, Scaling, quantise};
use crate::TorchError;

/// More cards than a machine has.
const CARDS_MAX: usize = 64;
/// Rows and columns of codes are multiples of this, and so is what they are filled up to.
const WHOLE: i64 = 16;
/// Scales of blocks lie in rows that are multiples of this.
const SCALES: i64 = 4;
/// How far a product may be from that of the codes' numbers in FP32, as a share of its norm; seen on an H100: 1.3e-4.
const ALLOWED: f64 = 1e-3;

/// LibTorch's numbers for what shares a scale.
const BY_TILES: i64 = 4;
const BY_BLOCKS: i64 = 5;

static READY: [OnceLock<Result<(), String>>; CARDS_MAX] = [const { OnceLock::new() }; CARDS_MAX];

/// Tries the card's own eight-bit products; from then on [`super::product`] uses them on this card where shapes allow it, and
/// products of the codes' numbers everywhere else.
///
/// # Errors
/// When the card has none, or what it computes is wrong. That stays: a card is tried once.
pub fn prepare_products(index: usize) -> Result<(), TorchError> {
    let refused = |reason| TorchError::Refused { op: "FP8 products", reason };
    let slot = READY.get(index).ok_or_else(|| refused(format!("card {index}: at most {CARDS_MAX} are known")))?;
    slot.get_or_init(|| try_products(Device::Cuda(index)).map_err(|error| error.to_string())).clone().map_err(refused)
}

fn is_ready(device: Device) -> bool {
    let Device::Cuda(index) = device else { return false };
    READY.get(index).and_then(OnceLock::get).is_some_and(Result::is_ok)
}

/// Rows that need filling up, tiles by blocks and tiles by tiles.
fn try_products(device: Device) -> Result<(), TorchError> {
    let random = |size: [i64; 2]| Tensor::randn(size, (Kind::Float, device));
    let a = quantise(&random([77, 272]), Scaling::Tiles, ScaleRule::Exact);
    for scaling in [Scaling::Blocks, Scaling::Tiles] {
        let b = quantise(&random([144, 272]), scaling, ScaleRule::Exact);
        let (found, wanted) = (multiply(&a, &b, Kind::Float)?, by_numbers(&a, &b));
        let off = (found - &wanted).norm().double_value(&[]) / wanted.norm().double_value(&[]);
        if off.is_nan() || off > ALLOWED {
            let reason = format!("{scaling:?}: {off:.1e} of its norm off, {ALLOWED:.0e} allowed");
            return Err(TorchError::Refused { op: "FP8 products", reason });
        }
    }
    Ok(())
}

/// a bᵀ by the card, if it is prepared and takes such factors.
pub(super) fn product(a: &Quantised, b: &Quantised, kind: Kind) -> Option<Result<Tensor, TorchError>> {
    let fits = a.scaling == Scaling::Tiles && b.scaling != Scaling::Upright && b.codes.size()[0] % WHOLE == 0;
    let has_terms = a.codes.numel() > 0 && b.codes.numel() > 0;
    (fits && has_terms && is_ready(a.codes.device())).then(|| multiply(a, b, kind))
}

fn multiply(a: &Quantised, b: &Quantised, kind: Kind) -> Result<Tensor, TorchError> {
    let (m, _) = a.codes.size2()?;
    let (x, y) = (filled(&a.codes, true)?, filled(&b.codes, false)?);
    let row_scales = by_columns(&filled_rows(&a.scales)?);
    let (scales, recipe) = match b.scaling {
        Scaling::Blocks => {
            let across = b.scales.size()[1];
            (by_columns(&b.scales.f_constant_pad_nd([0, up(across, SCALES) - across])?.tr()), BY_BLOCKS)
        }
        _ => (by_columns(&b.scales), BY_TILES),
    };
    let product = x.f_internal_scaled_mm_v2(
        &y.tr(),
        &[&row_scales],
        [BY_TILES].as_slice(),
        [0].as_slice(),
        &[&scales],
        [recipe].as_slice(),
        [0].as_slice(),
        None::<&Tensor>,
        kind,
        [].as_slice(),
        false,
    )?;
    Ok(product.f_narrow(0, 0, m)?)
}

/// Dense codes whose columns, and rows if so asked, are filled up with zeros to whole ones.
fn filled(codes: &Tensor, rows: bool) -> Result<Tensor, TorchError> {
    let (m, k) = codes.size2()?;
    let missing = [up(k, WHOLE) - k, if rows { up(m, WHOLE) - m } else { 0 }];
    if missing == [0, 0] {
        return Ok(codes.f_contiguous()?);
    }
    let bytes = codes.f_view_dtype(Kind::Uint8)?.f_constant_pad_nd([0, missing[0], 0, missing[1]])?;
    Ok(bytes.f_view_dtype(Kind::Float8e4m3fn)?)
}

fn filled_rows(scales: &Tensor) -> Result<Tensor, TorchError> {
    let missing = up(scales.size()[0], WHOLE) - scales.size()[0];
    Ok(if missing == 0 { scales.shallow_clone() } else { scales.f_constant_pad_nd([0, 0, 0, missing])? })
}

/// The same matrix, dense along its columns; its strides say so where it has one column, too.
fn by_columns(scales: &Tensor) -> Tensor {
    let size = scales.size();
    scales.tr().contiguous().as_strided(size.as_slice(), [1, size[0]], None::<i64>)
}

fn up(n: i64, part: i64) -> i64 {
    (n + part - 1) / part * part
}

#[cfg(test)]
mod tests {
    use super::super::quantise::step_by_step;
    use super::super::{product as any_product, product_by_blocks};
    use super::*;

    #[test]
    fn a_hopper_card_multiplies_codes() {
        if let Err(reason) =
            crate::load_cuda().and_then(|()| crate::cuda::prepare(0)).and_then(|()| prepare_products(0))
        {
            use std::io::Write as _;
            let _ = writeln!(std::io::stderr(), "NOT RUN: no Hopper card ({reason})");
            return;
        }
        for (m, k, n) in
            [(1, 16, 16), (96, 64, 128), (13, 512, 1024), (770, 1024, 320), (256, 768, 384), (100, 1000, 336)]
        {
            for scaling in [Scaling::Blocks, Scaling::Tiles] {
                let random = |size: [i64; 2]| Tensor::randn(size, (Kind::Float, Device::Cuda(0)));
                let a = step_by_step(&random([m, k]), Scaling::Tiles, ScaleRule::Exact);
                let b = step_by_step(&random([n, k]), scaling, ScaleRule::Exact);
                assert!(product(&a, &b, Kind::Float).is_some(), "the card takes {m} x {k} by {n}");
                let (found, wanted) = (any_product(&a, &b), product_by_blocks(&a, &b));
                let off = (found - &wanted).norm().double_value(&[]) / wanted.norm().double_value(&[]);
                assert!(off <= ALLOWED, "{m} x {k} by {n}, {scaling:?}: {off:e}");
            }
        }
    }

    #[test]
    fn codes_are_filled_up_to_what_cards_take() {
        let x = Tensor::randn([5, 20], (Kind::Float, Device::Cpu));
        let codes = x.to_kind(Kind::Float8e4m3fn);
        let filled = filled(&codes, true).expect("codes");
        assert_eq!(filled.size(), [16, 32]);
        let numbers = filled.to_kind(Kind::Float);
        assert_eq!(numbers.narrow(0, 0, 5).narrow(1, 0, 20), codes.to_kind(Kind::Float));
        assert_eq!(numbers.abs().sum(Kind::Float), codes.to_kind(Kind::Float).abs().sum(Kind::Float));
    }
}
