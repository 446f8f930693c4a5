//! Kernels for CUDA where LibTorch has no good one. Their sources (`cuda/`) are compiled when first used, for the card at
//! hand; machines without CUDA build and pass all the same. Each is memory-bound and moves 16 bytes at a time where rows
//! allow it, and each has a twin that it must equal: [`crate::fp8`] and [`crate::fused`] on the CPU. Tests run the same
//! sources on the CPU, thread by thread.
//!
//! Shapes: m or r rows, k or n columns.

mod adamw;
mod card;
mod compile;
mod gate;
mod grouped;
mod launch;
mod permute;
mod quantise;
mod rms_norm;
mod source;
mod swiglu;

#[cfg(test)]
mod emulated;
#[cfg(test)]
mod tests;

pub use adamw::{Weight, adamw};
pub(crate) use card::is_hopper;
pub use card::{prepare, takes};
pub use compile::{Compiled, Footprint, compile, version};
pub use gate::{BiasUse, GateRule, Gated, Score, gate};
pub(crate) use grouped::{Spans, grouped_rows, grouped_weights};
pub use permute::{combine, combine_backward, gather, place, spread};
pub use quantise::quantise;
pub(crate) use quantise::{dequantise, dequantises, upright_in_spans};
pub use rms_norm::{ROW_MAX, rms_norm, rms_norm_backward};
pub use source::{SOURCES, Source};
pub use swiglu::{swiglu, swiglu_backward};
