//! Products of E4M3 codes for all experts at once, on Hopper cards.

use tch::{Kind, Tensor};

use super::launch::{Argument, Launch};
use crate::TorchError;
use crate::fp8::{ALONG, Quantised};

/// Threads of a block in `grouped.cu`.
const THREADS: u32 = 256;
/// Pairs of squares in shared memory, and room to start at 1,024 bytes.
const SHARED_BYTES: i64 = 6 * 2 * ALONG * ALONG + 1024;

/// Rows that lie by expert, cut into pieces of 128 rows or less, none with rows of two experts.
#[derive(Debug)]
pub(crate) struct Spans {
    /// `[tiles, 3]` of 32 bits: first row, row after the last, expert.
    pub(crate) tiles: Tensor,
    /// `[e + 1]` of 32 bits: the first tile of each expert, and how many there are.
    starts: Tensor,
    n_rows: i64,
}

impl Spans {
    /// Of so many rows for each expert, for the device of `like`.
    ///
    /// # Errors
    /// When there are 2³¹ rows or more.
    pub(crate) fn new(counts: &[i64], like: &Tensor) -> Result<Self, TorchError> {
        let whole = |n: i64| {
            i32::try_from(n)
                .map_err(|_| TorchError::Refused { op: "experts", reason: format!("{counts:?}: 2³¹ rows") })
        };
        let (mut tiles, mut starts, mut row) = (Vec::new(), vec![0], 0);
        for (expert, count) in counts.iter().enumerate() {
            let end = row + count;
            while row < end {
                let next = end.min(row + ALONG);
                tiles.extend([whole(row)?, whole(next)?, expert as i32]);
                row = next;
            }
            starts.push((tiles.len() / 3) as i32);
        }
        let [tiles, starts] = [tiles, starts].map(|numbers| Tensor::from_slice(&numbers).to_device(like.device()));
        Ok(Self { tiles: tiles.view([-1, 3]), starts, n_rows: row })
    }
}

/// a · (b of each row's expert)ᵀ in BF16, `[r, n]`: `a` is tiles `[r, k]`, `b` blocks `[e · n, k]`; n and k are whole 128.
///
/// # Errors
/// When shapes do not belong together, or CUDA refuses.
pub(crate) fn grouped_rows(a: &Quantised, b: &Quantised, spans: &Spans) -> Result<Tensor, TorchError> {
    let ((r, k), e) = (a.codes.size2()?, spans.starts.size()[0] - 1);
    let n = b.codes.size()[0] / e;
    let fits = b.codes.size() == [e * n, k] && r == spans.n_rows && is_whole(n) && is_whole(k);
    if !fits {
        return Err(refused(a, b, spans));
    }
    let out = Tensor::empty([r, n], (Kind::BFloat16, a.codes.device()));
    let tensors = [&a.codes, &a.scales, &b.codes, &b.scales, &spans.tiles, &out].map(Tensor::contiguous);
    let sizes = [r, n, k].map(Argument::Long);
    launch("grouped_rows", spans.tiles.size()[0] * (n / ALONG), &tensors, &sizes)?;
    Ok(out)
}

/// Adds aᵀ b over the rows of each expert to `sums`, FP32 `[e, m, n]`, or writes it there: `a` and `b` are upright tiles of the
/// spans, with m and n columns, whole 128.
///
/// # Errors
/// Likewise.
pub(crate) fn grouped_weights(
    a: &Quantised,
    b: &Quantised,
    spans: &Spans,
    sums: &Tensor,
    is_fresh: bool,
) -> Result<(), TorchError> {
    let ((r, m), e) = (a.codes.size2()?, spans.starts.size()[0] - 1);
    let n = b.codes.size()[1];
    let fits = sums.size() == [e, m, n] && sums.kind() == Kind::Float && sums.is_contiguous();
    if !fits || b.codes.size()[0] != r || r != spans.tiles.size()[0] * ALONG || ![r, m, n].into_iter().all(is_whole) {
        return Err(refused(a, b, spans));
    }
    // Codes of upright tiles lie turned round, as the kernel wants them.
    let [a_codes, b_codes] = [a, b].map(|q| q.codes.tr().contiguous());
    let tensors = [&a_codes, &a.scales, &b_codes, &b.scales, &spans.starts, sums].map(Tensor::contiguous);
    let sizes = [Argument::Long(r), Argument::Long(m), Argument::Long(n), Argument::Int(is_fresh.into())];
    launch("grouped_weights", e * (m / ALONG) * (n / ALONG), &tensors, &sizes)
}

/// Whole squares, of which the kernel counts the bytes in 32 bits.
fn is_whole(n: i64) -> bool {
    (1..1 << 25).contains(&n) && n % ALONG == 0
}

fn launch(kernel: &str, blocks: i64, tensors: &[Tensor], sizes: &[Argument<'_>]) -> Result<(), TorchError> {
    let arguments: Vec<Argument<'_>> = tensors.iter().map(Argument::Tensor).chain(sizes.iter().copied()).collect();
    let launch = Launch { kernel, blocks, threads: THREADS, shared_bytes: SHARED_BYTES, arguments: &arguments };
    launch.on(tensors[0].device())
}

fn refused(a: &Quantised, b: &Quantised, spans: &Spans) -> TorchError {
    let reason = format!(
        "codes {:?} and {:?} for {} rows in {} spans of {} experts: widths are whole {ALONG}",
        a.codes.size(),
        b.codes.size(),
        spans.n_rows,
        spans.tiles.size()[0],
        spans.starts.size()[0] - 1
    );
    TorchError::Refused { op: "grouped FP8 products", reason }
}
