//! Rows as bytes: for every tile the least logarithm and the step, FP32, then its codes side by side, lowest bits first.

use super::{Bits, Levels, Rounding, TILE};

/// Bytes of a tile's scale.
const SCALE: usize = 8;

/// Bytes came that are no row of that width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a row of {width} elements of {bits} bits has {expected} bytes, {found} came")]
pub struct BadLength {
    /// Elements.
    pub width: usize,
    /// Of an element.
    pub bits: u32,
    /// Bytes of such a row.
    pub expected: usize,
    /// Bytes that came.
    pub found: usize,
}

/// Bytes of a row of `width` elements.
pub fn row_bytes(width: usize, bits: Bits) -> usize {
    let tile = |elements: usize| SCALE + codes_bytes(elements, bits);
    let rest = width % TILE;
    width / TILE * tile(TILE) + if rest > 0 { tile(rest) } else { 0 }
}

/// Appends a row to `bytes`.
pub fn encode_row(row: &[f32], bits: Bits, bytes: &mut Vec<u8>) {
    for tile in row.chunks(TILE) {
        let levels = Levels::of(tile, bits);
        bytes.extend(levels.least.to_le_bytes());
        bytes.extend(levels.step.to_le_bytes());
        // Less than 16 bits wait for the next code.
        let (mut waiting, mut n_waiting) = (0_u32, 0);
        for x in tile {
            waiting |= u32::from(levels.encode(*x, Rounding::Linear)) << n_waiting;
            n_waiting += bits.get();
            while n_waiting >= 8 {
                bytes.push(waiting as u8);
                (waiting, n_waiting) = (waiting >> 8, n_waiting - 8);
            }
        }
        if n_waiting > 0 {
            bytes.push(waiting as u8);
        }
    }
}

/// Fills `row` with what its bytes say.
///
/// # Errors
/// When they are too few or too many.
pub fn decode_row(bytes: &[u8], bits: Bits, row: &mut [f32]) -> Result<(), BadLength> {
    let (width, expected, found) = (row.len(), row_bytes(row.len(), bits), bytes.len());
    if expected != found {
        return Err(BadLength { width, bits: bits.get(), expected, found });
    }
    let mut rest = bytes;
    for tile in row.chunks_mut(TILE) {
        let (scale, after) = rest.split_at(SCALE);
        let (codes, after) = after.split_at(codes_bytes(tile.len(), bits));
        let number = |at: usize| f32::from_le_bytes([scale[at], scale[at + 1], scale[at + 2], scale[at + 3]]);
        let levels = Levels::new(bits, number(0), number(4));
        let mut codes = codes.iter();
        let (mut waiting, mut n_waiting) = (0_u32, 0);
        for x in tile {
            while n_waiting < bits.get() {
                waiting |= u32::from(*codes.next().expect("bytes for every code")) << n_waiting;
                n_waiting += 8;
            }
            *x = levels.decode(waiting as u16 & (bits.sign() | bits.greatest()));
            (waiting, n_waiting) = (waiting >> bits.get(), n_waiting - bits.get());
        }
        rest = after;
    }
    Ok(())
}

fn codes_bytes(elements: usize, bits: Bits) -> usize {
    (elements * bits.get() as usize).div_ceil(8)
}
