//! Memory: how much a bridge may take, and what follows for threads and blocks.

use std::thread;

use super::error::BridgeError;

/// For the program itself, its tables and the headers that it read.
const RESERVED: u64 = 64 << 20;
/// Of a tensor's name, shape and place, in all tables together.
const PER_TENSOR: u64 = 2 << 10;
/// Threads at most; a disk seldom feeds more.
const MAX_THREADS: usize = 8;
/// Bytes that are read at once, if there is room: more is no faster.
const LARGEST_BLOCK: u64 = 4 << 20;
const SMALLEST_BLOCK: u64 = 64 << 10;
/// Blocks that a conversion holds: bytes, singles of halves, bytes again.
const BLOCKS: u64 = 6;

/// What a bridge may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Anonymous and mapped memory of the whole process, in bytes.
    pub max_ram: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_ram: 2 << 30 }
    }
}

/// What every thread may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) n_threads: usize,
    /// Bytes that are read at once.
    pub(super) block: usize,
}

impl Limits {
    /// For `n_files` with `n_tensors`; `largest` are the bytes that one job must hold at once, and whose they are.
    pub(super) fn room(self, n_files: usize, n_tensors: usize, largest: (u64, &str)) -> Result<Room, BridgeError> {
        let reserved = RESERVED + PER_TENSOR * n_tensors as u64;
        let least = largest.0 + BLOCKS * SMALLEST_BLOCK;
        let budget = self.max_ram.saturating_sub(reserved);
        if budget < least {
            let what = if largest.0 > 0 { largest.1.to_owned() } else { format!("a model of {n_tensors} tensors") };
            return Err(BridgeError::Memory { given: self.max_ram, needed: reserved + least, what });
        }
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let n_threads = cores.min(MAX_THREADS).min(n_files).min((budget / least) as usize).max(1);
        let block = ((budget / n_threads as u64 - largest.0) / BLOCKS).clamp(SMALLEST_BLOCK, LARGEST_BLOCK);
        Ok(Room { n_threads, block: block as usize & !63 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_granted_fits() {
        for max_ram in [70 << 20, 100 << 20, 2 << 30, 64 << 30] {
            for largest in [0, 1 << 20, 40 << 20, 300 << 20] {
                let Ok(room) = Limits { max_ram }.room(100, 1000, (largest, "m")) else { continue };
                let taken = RESERVED + room.n_threads as u64 * (largest + BLOCKS * room.block as u64);
                assert!(taken <= max_ram, "{room:?} of {max_ram} with {largest}");
            }
        }
        assert!(
            Limits { max_ram: 300 << 20 }.room(1, 1, (300 << 20, "m")).unwrap_err().to_string().contains("m needs")
        );
    }
}
