//! One AdamW update in one pass.

use tch::{Kind, Tensor};

use super::launch::{Argument, Launch};
use crate::{AdamW, TorchError};

/// Threads of a block in `adamw.cu`, each with four elements.
const THREADS: i64 = 256;
/// Bytes at whose multiples tensors start that are read four elements at a time.
const ALIGNMENT: i64 = 16;

/// A weight and what an update changes with it, all of one size and dense.
#[derive(Debug)]
pub struct Weight<'a> {
    /// FP32.
    pub master: &'a Tensor,
    /// FP32.
    pub gradient: &'a Tensor,
    /// First and second, both FP32 or both BF16.
    pub moments: [&'a Tensor; 2],
    /// The weight as the model computes with it, in BF16, where that is not the master.
    pub copy: Option<&'a Tensor>,
}

/// The update number `n`, counted from one, in place, of gradients times `clip`: [`crate::fused_adamw`] between a product
/// and a copy.
///
/// # Errors
/// When formats or sizes do not belong together, or CUDA refuses.
pub fn adamw(weight: &Weight<'_>, numbers: AdamW, clip: f64, n: u64) -> Result<(), TorchError> {
    let Weight { master, gradient, moments, copy } = weight;
    let kind = moments[0].kind();
    let format = match kind {
        Kind::Float => "f32",
        Kind::BFloat16 => "bf16",
        _ => return Err(refused(weight)),
    };
    let all = [*master, gradient, moments[0], moments[1]].into_iter().chain(*copy);
    let fits = all.clone().all(|t| t.size() == master.size() && t.is_contiguous())
        && [*master, gradient].iter().all(|t| t.kind() == Kind::Float)
        && moments[1].kind() == kind
        && copy.is_none_or(|copy| copy.kind() == Kind::BFloat16);
    if !fits {
        return Err(refused(weight));
    }
    let starts_at_packs = all.clone().all(|t| t.data_ptr() as i64 % ALIGNMENT == 0);
    let size = master.numel() as i64;
    let AdamW { learning_rate, beta1, beta2, weight_decay, eps } = numbers;
    let power = i32::try_from(n).unwrap_or(i32::MAX);
    let floats = [
        clip,
        learning_rate,
        beta1,
        beta2,
        weight_decay,
        eps,
        1.0 - beta1.powi(power),
        (1.0 - beta2.powi(power)).sqrt(),
    ];
    let tensors = [*master, gradient, moments[0], moments[1]].map(Argument::Tensor);
    let copy = [copy.map_or(Argument::Long(0), Argument::Tensor), Argument::Long(size)];
    let arguments: Vec<Argument<'_>> =
        tensors.into_iter().chain(copy).chain(floats.map(|x| Argument::Float(x as f32))).collect();
    let launch = Launch {
        kernel: &format!("adamw_{format}{}", if starts_at_packs { "" } else { "_any" }),
        blocks: (size + 4 * THREADS - 1) / (4 * THREADS),
        threads: THREADS as u32,
        shared_bytes: 0,
        arguments: &arguments,
    };
    launch.on(master.device())
}

fn refused(weight: &Weight<'_>) -> TorchError {
    let Weight { master, gradient, moments, copy } = weight;
    let all = [*master, gradient, moments[0], moments[1]].into_iter().chain(*copy);
    let told: Vec<String> = all.map(|t| format!("{:?} {:?}", t.kind(), t.size())).collect();
    TorchError::Refused { op: "AdamW", reason: format!("master, gradient, moments and copy: {}", told.join(", ")) }
}
