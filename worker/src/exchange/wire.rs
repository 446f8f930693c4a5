//! What a row of an exchange is on the wire: as it is, or in fewer bytes. Every row is coded where it starts, also one
//! that stays on its rank, so that numbers do not depend on the grid.

use ds_arch::logfmt::{Bits, decode_row, encode_row, row_bytes};
use ds_kernels::fp8::{ALONG, Quantised, ScaleRule, Scaling, quantise_gradient};
use ds_model::ModelError;
use ds_plan::spec::{PrecisionSpec, ScaleType, WireType};
use tch::{Device, Kind, Tensor};

/// Bytes of the scale of a tile of E4M3.
const SCALE: i64 = 4;

/// What a row is on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// The elements as they are.
    Compute,
    /// bfloat16.
    Bf16,
    /// E4M3 in tiles of 1 × 128, then their scales (arXiv 2412.19437, §3.3.2).
    Fp8(ScaleRule),
    /// Evenly spaced logarithms in tiles of 1 × 128 (arXiv 2505.09343, §3.2).
    LogFmt(Bits),
}

/// Formats of both directions, in forward and backward alike: a gradient takes the way of what it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Formats {
    /// To the experts.
    pub(crate) dispatch: Format,
    /// Back from them.
    pub(crate) combine: Format,
}

impl Formats {
    pub(crate) const COMPUTE: Self = Self { dispatch: Format::Compute, combine: Format::Compute };

    pub(crate) fn of(spec: &PrecisionSpec) -> Self {
        let rule = match spec.scales {
            ScaleType::Exact => ScaleRule::Exact,
            ScaleType::PowerOfTwo => ScaleRule::PowerOfTwo,
        };
        let format = |wire| match wire {
            WireType::Compute => Format::Compute,
            WireType::Bf16 => Format::Bf16,
            WireType::Fp8 => Format::Fp8(rule),
            WireType::LogFmt8 => Format::LogFmt(Bits::EIGHT),
            WireType::LogFmt10 => Format::LogFmt(Bits::TEN),
        };
        Self { dispatch: format(spec.dispatch), combine: format(spec.combine) }
    }
}

impl Format {
    /// Rows `[n, d]` as they travel, row by row: `[n, d]` of another format, or `[n, bytes]`.
    pub(crate) fn encode(self, rows: &Tensor) -> Result<Tensor, ModelError> {
        match self {
            Self::Compute => Ok(rows.shallow_clone()),
            Self::Bf16 => Ok(rows.f_to_kind(Kind::BFloat16)?),
            Self::Fp8(rule) => {
                // The rule of gradients, under which nothing is too small: both kinds of rows come here.
                let codes = quantise_gradient(rows, Scaling::Tiles, rule);
                let bytes = |t: &Tensor| t.f_contiguous()?.f_view_dtype(Kind::Uint8);
                Ok(Tensor::f_cat(&[bytes(&codes.codes)?, bytes(&codes.scales)?], 1)?)
            }
            Self::LogFmt(bits) => encode_logfmt(rows, bits),
        }
    }

    /// The rows `[n, d]` that [`Format::encode`] made `sent` of, in the format `kind`, on `sent`'s device.
    pub(crate) fn decode(self, sent: &Tensor, d: i64, kind: Kind) -> Result<Tensor, ModelError> {
        match self {
            Self::Compute => Ok(sent.shallow_clone()),
            Self::Bf16 => Ok(sent.f_to_kind(kind)?),
            Self::Fp8(_) => {
                // Copied, also where a single row makes it dense: scales must lie at multiples of their size.
                let part =
                    |first, length, kind| Tensor::f_cat(&[sent.f_narrow(1, first, length)?], 1)?.f_view_dtype(kind);
                let codes = part(0, d, Kind::Float8e4m3fn)?;
                let scales = part(d, SCALE * n_tiles(d), Kind::Float)?;
                Ok(Quantised::new(codes, scales, Scaling::Tiles).dequantise().f_to_kind(kind)?)
            }
            Self::LogFmt(bits) => decode_logfmt(sent, d, kind, bits),
        }
    }
}

fn n_tiles(d: i64) -> i64 {
    (d + ALONG - 1) / ALONG
}

fn encode_logfmt(rows: &Tensor, bits: Bits) -> Result<Tensor, ModelError> {
    let (n, d) = rows.size2()?;
    let width = row_bytes(d as usize, bits);
    let numbers = Vec::<f32>::try_from(rows.f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?.f_reshape([-1])?)?;
    let mut bytes = Vec::with_capacity(n as usize * width);
    for row in numbers.chunks(d.max(1) as usize) {
        encode_row(row, bits, &mut bytes);
    }
    Ok(Tensor::f_from_slice(&bytes)?.f_view([n, width as i64])?.f_to_device(rows.device())?)
}

fn decode_logfmt(sent: &Tensor, d: i64, kind: Kind, bits: Bits) -> Result<Tensor, ModelError> {
    let (n, width) = sent.size2()?;
    let bytes = Vec::<u8>::try_from(sent.f_to_device(Device::Cpu)?.f_reshape([-1])?)?;
    let mut numbers = vec![0_f32; (n * d) as usize];
    for (row, bytes) in numbers.chunks_mut(d.max(1) as usize).zip(bytes.chunks(width.max(1) as usize)) {
        decode_row(bytes, bits, row).expect("both ends have the plan's width and format");
    }
    Ok(Tensor::f_from_slice(&numbers)?.f_view([n, d])?.f_to_kind(kind)?.f_to_device(sent.device())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const D: i64 = 200;
    const FORMATS: [(Format, i64, f64); 5] = [
        // Bytes of a row, and the greatest error in units of the tile's greatest magnitude.
        (Format::Bf16, 2 * D, 1.0 / 256.0),
        (Format::Fp8(ScaleRule::Exact), D + 8, 1.0 / 16.0),
        (Format::Fp8(ScaleRule::PowerOfTwo), D + 8, 1.0 / 16.0),
        (Format::LogFmt(Bits::EIGHT), D + 16, 0.1),
        (Format::LogFmt(Bits::TEN), 250 + 16, 0.025),
    ];

    fn rows(n: i64, scale: f64) -> Tensor {
        ((Tensor::arange(n * D, (Kind::Double, Device::Cpu)) * 0.7).sin() * scale).view([n, D]).to_kind(Kind::Float)
    }

    #[test]
    fn every_format_keeps_rows_within_its_rounding_and_is_as_long_as_it_says() {
        for (format, n_bytes, bound) in FORMATS {
            // The gradient of a mean over many tokens may be as small as the last.
            for scale in [1.0, 3e4, 1e-9] {
                let rows = rows(5, scale);
                let sent = format.encode(&rows).unwrap();
                assert_eq!(sent.numel() * sent.kind().elt_size_in_bytes(), 5 * n_bytes as usize, "{format:?}");
                let back = format.decode(&sent, D, Kind::Float).unwrap();
                let error = (&back - &rows).abs().max().double_value(&[]);
                assert!(error > 0.0 && error <= bound * scale, "{format:?} of {scale}: {error}");
            }
        }
    }

    #[test]
    fn a_single_row_of_any_width_comes_back() {
        for d in 1..6 {
            let row = Tensor::ones([1, d], (Kind::Float, Device::Cpu));
            for (format, ..) in FORMATS {
                assert_eq!(format.decode(&format.encode(&row).unwrap(), d, Kind::Float).unwrap(), row, "{format:?}");
            }
        }
    }

    #[test]
    fn no_rows_are_no_bytes() {
        for (format, ..) in FORMATS {
            let back = format.decode(&format.encode(&rows(0, 1.0)).unwrap(), D, Kind::Double).unwrap();
            assert_eq!((back.size(), back.kind()), (vec![0, D], Kind::Double), "{format:?}");
        }
    }

    #[test]
    fn what_a_format_holds_exactly_comes_back_to_the_bit() {
        let rows = rows(3, 1.0);
        assert_eq!(Format::Compute.decode(&Format::Compute.encode(&rows).unwrap(), D, Kind::Float).unwrap(), rows);
        for (format, ..) in FORMATS.iter().filter(|(format, ..)| !matches!(format, Format::LogFmt(_))) {
            let once = format.decode(&format.encode(&rows).unwrap(), D, Kind::BFloat16).unwrap();
            let Format::Fp8(ScaleRule::Exact) = format else {
                let twice = format.decode(&format.encode(&once).unwrap(), D, Kind::BFloat16).unwrap();
                assert_eq!(once, twice, "{format:?}");
                continue;
            };
        }
    }
}
