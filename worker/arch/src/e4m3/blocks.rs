//! Matrices in E4M3 with one scale for every block of 128 × 128 (arXiv 2412.19437 §3.3.2), row-major. They are worked on
//! by bands: up to 128 rows, so that a band has one row of scales and a large matrix need not be in memory.

use super::{MAX, decode, encode};

/// Rows and columns of a block; those at the edges may have fewer.
pub const BLOCK: usize = 128;
/// Blocks of smaller numbers are scaled as if this were their largest (DeepSeek-V3's `inference/kernel.py`).
const SMALLEST_LARGEST: f32 = 1e-4;

/// Blocks that a dimension of a matrix is cut into.
pub fn n_blocks(size: usize) -> usize {
    size.div_ceil(BLOCK)
}

/// The scale of a block whose largest absolute value is `largest`: codes times it are values. It is called
/// `weight_scale_inv` in released checkpoints.
pub fn scale_of(largest: f32) -> f32 {
    largest.max(SMALLEST_LARGEST) / MAX
}

/// The scales of a band's blocks.
pub fn scales_of_band(values: &[f32], n_columns: usize) -> Vec<f32> {
    let mut largest = vec![0.0_f32; n_blocks(n_columns)];
    for row in values.chunks_exact(n_columns) {
        for (largest, run) in largest.iter_mut().zip(row.chunks(BLOCK)) {
            *largest = run.iter().fold(*largest, |largest, x| largest.max(x.abs()));
        }
    }
    largest.into_iter().map(scale_of).collect()
}

/// The codes of a band: each value divided by its block's scale, rounded to the nearest.
///
/// # Panics
/// When lengths do not fit each other.
pub fn encode_band(values: &[f32], n_columns: usize, scales: &[f32], codes: &mut [u8]) {
    assert_eq!((values.len(), n_blocks(n_columns)), (codes.len(), scales.len()), "a code a value, a scale a block");
    for (row, codes) in values.chunks_exact(n_columns).zip(codes.chunks_exact_mut(n_columns)) {
        for ((run, codes), scale) in row.chunks(BLOCK).zip(codes.chunks_mut(BLOCK)).zip(scales) {
            for (x, code) in run.iter().zip(codes) {
                *code = encode(x / scale);
            }
        }
    }
}

/// The values of a band: codes times scales, as singles.
///
/// # Panics
/// When lengths do not fit each other.
pub fn decode_band(codes: &[u8], n_columns: usize, scales: &[f32], values: &mut [f32]) {
    assert_eq!((codes.len(), n_blocks(n_columns)), (values.len(), scales.len()), "a code a value, a scale a block");
    for (codes, row) in codes.chunks_exact(n_columns).zip(values.chunks_exact_mut(n_columns)) {
        for ((codes, run), scale) in codes.chunks(BLOCK).zip(row.chunks_mut(BLOCK)).zip(scales) {
            for (code, x) in codes.iter().zip(run) {
                *x = decode(*code) * scale;
            }
        }
    }
}
