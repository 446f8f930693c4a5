//! Time of whole training steps on one rank: forward, backward, clipping, AdamW. One JSON line on stdout.
//! `speed --config CONFIG.json [--dtype f32|bf16|fp8] [--device cpu|cuda:N] [--threads N] [--steps N]`; the config is a `config.json` of
//! DeepSeek-V3's form with a `bench` section (`batch`, `seq_len`, `lr`, `betas`, `weight_decay`, `clip`,
//! `warmup_steps`, `steps`), as the benches of other trainers read it.
#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a bench measures and prints")]

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::time::{Duration, Instant};

use ds_arch::{ModelConfig, hugging_face};
use ds_kernels::fp8::{self, ScaleRule};
use ds_kernels::norms;
use ds_model::{
    Gradients, IGNORED, LossWeights, Microbatch, OneRank, Precision, Products, StageInput, StageModel, StagePart,
};
use ds_plan::spec::{AdamWSpec, MomentType};
use ds_worker::step::{Optimizer, Slots, clip};
use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let given: HashMap<&str, &str> = words.chunks_exact(2).map(|pair| (pair[0].as_str(), pair[1].as_str())).collect();
    let of = |key: &str, otherwise: &'static str| given.get(key).copied().unwrap_or(otherwise).to_owned();
    let (config, bench) = read(given.get("--config").ok_or("--config CONFIG.json is missing")?)?;
    let (dtype, threads) = (of("--dtype", "f32"), of("--threads", "1").parse()?);
    tch::set_num_threads(threads);
    let precision = match dtype.as_str() {
        "f32" => Kind::Float.into(),
        "bf16" => Kind::BFloat16.into(),
        "fp8" => Precision { kind: Kind::BFloat16, products: Products::Fp8(ScaleRule::Exact) },
        _ => return Err("--dtype is f32, bf16 or fp8".into()),
    };
    let whole = |field: &str| bench[field].as_i64().ok_or_else(|| format!("bench.{field} is a whole number"));
    let (b, t, warmup) = (whole("batch")?, whole("seq_len")?, whole("warmup_steps")?);
    let n_steps = given
        .get("--steps")
        .map_or_else(|| Ok(whole("steps")?), |n| n.parse::<i64>().map_err(Box::<dyn Error>::from))?;
    ds_kernels::reuse_blocks(); // as ranks do
    // First of all: LibTorch looks once for its CUDA half.
    let device = device(&of("--device", "cpu"), precision)?;
    tch::manual_seed(whole("seed")?);
    let mut rank = Rank::new(&config, precision, &bench, [b, t], device)?;

    let (mut times, mut cpu, mut losses) = (Vec::new(), Vec::new(), Vec::new());
    for step in 0..warmup + n_steps {
        let before = cpu_time()?;
        let (loss, parts) = rank.step()?;
        losses.push(loss);
        if step >= warmup {
            times.push(parts);
            cpu.push((cpu_time()? - before).as_secs_f64());
        }
    }
    let sums = times.iter().map(|parts| parts.iter().sum::<f64>()).collect::<Vec<_>>();
    let (median_s, least_s) = (median(&sums), sums.iter().copied().fold(f64::INFINITY, f64::min));
    let part = |i: usize| median(&times.iter().map(|parts| parts[i]).collect::<Vec<_>>());
    let tokens = (b * t) as f64;
    let line = json!({
        "peer": "dsctl", "dtype": dtype, "device": of("--device", "cpu"), "threads": threads, "masters": "f32", "moments": "f32",
        "params": rank.n_parameters(), "tokens_per_step": b * t,
        "step_s_median": median_s, "step_s_min": least_s,
        "tokens_per_s": tokens / median_s, "tokens_per_s_best": tokens / least_s,
        "cpu_s_per_step": median(&cpu), "fwd_bwd_opt_s": [part(0), part(1), part(2)],
        "loss_first_last": [losses.first(), losses.last()],
        "max_rss_mib": getrusage(UsageWho::RUSAGE_SELF)?.max_rss() / 1024,
    });
    println!("{line}");
    Ok(())
}

/// The model, and the bench section. Peers' configs leave out what names the architecture.
fn read(path: &str) -> Result<(ModelConfig, Value), Box<dyn Error>> {
    let mut config: Value = serde_json::from_str(&fs::read_to_string(path)?)?;
    let fields = config.as_object_mut().ok_or("the config is a JSON object")?;
    let bench = fields.remove("bench").ok_or("the config has no bench section")?;
    fields.entry("model_type").or_insert_with(|| json!("deepseek_v3"));
    fields.entry("scoring_func").or_insert_with(|| json!("sigmoid"));
    Ok((hugging_face::read(&config.to_string())?.model, bench))
}

/// A card is prepared, so that its kernels are used.
fn device(name: &str, precision: Precision) -> Result<Device, Box<dyn Error>> {
    let Some(index) = name.strip_prefix("cuda:") else { return Ok(Device::Cpu) };
    let index = index.parse()?;
    ds_kernels::load_cuda()?;
    ds_kernels::cuda::prepare(index)?;
    if precision.products != Products::Plain {
        fp8::prepare_products(index)?;
    }
    Ok(Device::Cuda(index))
}

/// Now, when the device has done what it was asked.
fn now(device: Device) -> Instant {
    if let Device::Cuda(index) = device {
        tch::Cuda::synchronize(index as i64);
    }
    Instant::now()
}

struct Rank {
    model: StageModel,
    optimizer: Optimizer,
    gradients: Gradients,
    microbatch: Microbatch,
    clip: f64,
    rate: f64,
    device: Device,
}

impl Rank {
    fn new(
        config: &ModelConfig,
        precision: Precision,
        bench: &Value,
        [b, t]: [i64; 2],
        device: Device,
    ) -> Result<Self, Box<dyn Error>> {
        let number = |value: &Value, name: &str| value.as_f64().ok_or_else(|| format!("bench.{name} is a number"));
        let model = StageModel::new(config, StagePart::whole(config), device, precision, 1)?;
        let spec = AdamWSpec {
            beta1: number(&bench["betas"][0], "betas")?,
            beta2: number(&bench["betas"][1], "betas")?,
            eps: 1e-8,
            weight_decay: number(&bench["weight_decay"], "weight_decay")?,
        };
        let ids_bt = Tensor::randint(i64::from(config.vocab_size), [b, t], (Kind::Int64, device));
        let end = Tensor::full([b, 1], IGNORED, (Kind::Int64, device));
        let targets_bt = Tensor::cat(&[ids_bt.narrow(1, 1, t - 1), end], 1);
        Ok(Self {
            optimizer: Optimizer::new(spec, MomentType::F32, &model, Slots::whole(&model)),
            gradients: Gradients::zeros(&model),
            model,
            microbatch: Microbatch { ids_bt, targets_bt, mtp: Vec::new() },
            clip: number(&bench["clip"], "clip")?,
            rate: number(&bench["lr"], "lr")?,
            device,
        })
    }

    /// Loss, and seconds of forward, backward, and the rest.
    fn step(&mut self) -> Result<(f64, [f64; 3]), Box<dyn Error>> {
        let start = now(self.device);
        let n_targets = self.microbatch.targets_bt.ne(IGNORED).sum(Kind::Int64).int64_value(&[]) as f64;
        let weights = LossWeights { token: 1.0 / n_targets, ..LossWeights::default() };
        self.gradients.zero();
        let forward =
            self.model.forward(StageInput { microbatch: &self.microbatch, hidden: None }, &weights, &OneRank)?;
        let loss = forward.losses.loss.0 / forward.losses.loss.1;
        let middle = now(self.device);
        self.model.backward(forward.saved, None, &mut self.gradients, &OneRank)?;
        let last = now(self.device);
        let norm = norms(self.gradients.tensors())?.iter().map(|norm| norm * norm).sum::<f64>().sqrt();
        self.optimizer.step(&self.model, self.gradients.tensors(), self.rate, clip(norm, self.clip))?;
        let parts = [middle - start, last - middle, now(self.device) - last];
        Ok((loss, parts.map(|part| part.as_secs_f64())))
    }

    fn n_parameters(&self) -> usize {
        self.model.parameters().iter().map(|p| p.tensor.numel()).sum()
    }
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}

/// Of all threads, user and system.
fn cpu_time() -> Result<Duration, Box<dyn Error>> {
    let usage: Usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(micros as u64))
}
