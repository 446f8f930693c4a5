//! Tokens a second of forward and backward of a preset on one rank: `speed PRESET SEQUENCES TOKENS THREADS FORMAT`.
#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a bench measures and prints")]

use std::time::Instant;

use ds_arch::preset;
use ds_model::{Gradients, LossWeights, Microbatch, OneRank, StageInput, StageModel, StagePart};
use tch::{Device, Kind, Tensor};

const WARM_UP: i64 = 2;
const MEASURED: i64 = 10;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let word = |i: usize, otherwise: &'static str| arguments.get(i).map_or(otherwise, String::as_str).to_owned();
    let config = preset(&word(0, "bard")).ok_or("no such preset")?;
    let (b, t, threads) = (word(1, "8").parse::<i64>()?, word(2, "128").parse::<i64>()?, word(3, "1").parse()?);
    let kind = match word(4, "fp32").as_str() {
        "fp32" => Kind::Float,
        "bf16" => Kind::BFloat16,
        _ => return Err("the format is fp32 or bf16".into()),
    };
    tch::set_num_threads(threads);
    let model = StageModel::new(&config, StagePart::whole(&config), Device::Cpu, kind, 1)?;
    let ids = || Tensor::randint(i64::from(config.vocab_size), [b, t], (Kind::Int64, Device::Cpu));
    let mtp = (0..config.mtp.depth).map(|_| (ids(), ids())).collect();
    let microbatch = Microbatch { ids_bt: ids(), targets_bt: ids(), mtp };
    let weights = LossWeights { token: 1e-3, mtp: 1e-4, balance: 1e-5, ..LossWeights::default() };
    let mut gradients = Gradients::zeros(&model);
    let (mut forward_s, mut backward_s) = (0.0, 0.0);
    for i in 0..WARM_UP + MEASURED {
        let start = Instant::now();
        let forward = model.forward(StageInput { microbatch: &microbatch, hidden: None }, &weights, &OneRank)?;
        let middle = start.elapsed().as_secs_f64();
        model.backward(forward.saved, None, &mut gradients, &OneRank)?;
        if i >= WARM_UP {
            forward_s += middle;
            backward_s += start.elapsed().as_secs_f64() - middle;
        }
    }
    let n = MEASURED as f64;
    println!(
        "forward {:.1} ms, backward {:.1} ms, {:.0} tokens/s",
        1e3 * forward_s / n,
        1e3 * backward_s / n,
        n * (b * t) as f64 / (forward_s + backward_s)
    );
    Ok(())
}
