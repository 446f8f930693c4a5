//! Training in eight-bit floats beside training in sixteen: the same job, seeds, batches and held-out text. And without
//! the noise of training: every product of the last step beside FP64.
//!
//! `eight_bits [--job JOB] [--steps 300] [--last 50] [--every 5] [--seeds 1,2,3] [--threads 2] [--golden DIR] [--keep DIR]
//! [--set KEY=VALUE]...` prints tables; a line a run goes to stderr. The held-out loss is taken after every fifth of the
//! last 50 steps. What `--keep` already has of a format and seed is not run again, so seeds can run beside each other
//! before a last call prints. Exit code 1 when eight bits are further away than the bar allows.
#![expect(clippy::print_stdout, reason = "a bench prints")]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ds_kernels::fp8::{Audited, audited, product_counts};
use ds_plan::spec::read;
use ds_plan::{JobPlan, RankId};
use ds_tests::products::{SUMS, golden_errors, matrix_of};
use ds_worker::comm;
use ds_worker::step::now;
use ds_worker::trainer::{Setup, Trainer};
use serde::{Deserialize, Serialize};

/// The bar of DeepSeek-V3's report (arXiv 2412.19437, §3.3), relative.
const BAR: f64 = 0.0025;

type Failure = Box<dyn Error>;

fn main() -> Result<ExitCode, Failure> {
    let options = Options::parse(std::env::args().skip(1))?;
    tch::set_num_threads(options.threads);
    let mut runs: BTreeMap<&str, Vec<Run>> = BTreeMap::new();
    for seed in &options.seeds {
        for compute in ["bf16", "fp8"] {
            let run = Run::kept(&options, compute, *seed)?;
            eprintln!("{compute}, seed {seed}: {}", run.sentence());
            runs.entry(compute).or_default().push(run);
        }
    }
    let is_near = compare(&runs["bf16"], &runs["fp8"], &options);
    products_ran(&runs["fp8"]);
    let is_exact = of_products(&runs["fp8"], golden_errors(&options.golden)?);
    Ok(if is_near && is_exact { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Options {
    job: PathBuf,
    steps: u64,
    last: u64,
    every: u64,
    seeds: Vec<u64>,
    threads: i32,
    golden: PathBuf,
    keep: Option<PathBuf>,
    sets: Vec<(String, String)>,
}

impl Options {
    fn parse(words: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
        let mut options = Self {
            job: root.join("deploy/jobs/quickstart.yaml"),
            steps: 300,
            last: 50,
            every: 5,
            seeds: vec![1, 2, 3],
            threads: 2,
            golden: root.join("tests/golden/fp8_blockwise"),
            keep: None,
            sets: Vec::new(),
        };
        let words: Vec<String> = words.collect();
        for pair in words.chunks(2) {
            let [key, value] = pair else { return Err(format!("{} has no value", pair[0]).into()) };
            match key.as_str() {
                "--job" => options.job = value.into(),
                "--steps" => options.steps = value.parse()?,
                "--last" => options.last = value.parse()?,
                "--every" => options.every = value.parse()?,
                "--seeds" => options.seeds = value.split(',').map(str::parse).collect::<Result<_, _>>()?,
                "--threads" => options.threads = value.parse()?,
                "--golden" => options.golden = value.into(),
                "--keep" => options.keep = Some(value.into()),
                "--set" => {
                    let (key, value) = value.split_once('=').ok_or("--set wants KEY=VALUE")?;
                    options.sets.push((key.into(), value.into()));
                }
                _ => return Err(format!("{key} is no option").into()),
            }
        }
        if options.every == 0
            || options.last < options.every
            || options.last > options.steps
            || options.seeds.is_empty()
        {
            return Err("0 < --every <= --last <= --steps, and there is a seed".into());
        }
        Ok(options)
    }

    /// One rank; both formats differ in `precision.compute` alone.
    fn plan(&self, compute: &str, seed: u64) -> Result<JobPlan, Failure> {
        const WARMUP: u64 = 40;
        let pieces = format!("[{{shape: cosine, steps: {}, to: 2.0e-4}}]", self.steps.saturating_sub(WARMUP).max(1));
        let own = [
            ("seed", seed.to_string()),
            ("parallel.pipeline", "1".to_owned()),
            ("parallel.expert", "1".to_owned()),
            ("precision.compute", compute.to_owned()),
            ("precision.moments", "bf16".to_owned()),
            ("train[0].steps", self.steps.to_string()),
            ("train[0].learning_rate.pieces", pieces),
            ("train[0].evaluate_bytes", "32768".to_owned()),
        ];
        let own = own.into_iter().map(|(key, value)| (key.to_owned(), value));
        let sets: Vec<_> = own.chain(self.sets.iter().cloned()).collect();
        let text = std::fs::read_to_string(&self.job)?;
        Ok(JobPlan::new(read(&text, &self.job.to_string_lossy(), &sets)?.spec)?)
    }
}

/// What a run came to.
#[derive(Deserialize, Serialize)]
struct Run {
    /// Nats per token over the held-out text, after each of the last steps.
    validation: Vec<f64>,
    /// Of the batches of the same steps.
    training: Vec<f64>,
    /// Products on codes: forward, and gradients of inputs and of weights.
    counts: [u64; 3],
    /// Products of the last step.
    products: Vec<Product>,
    seconds: f64,
}

/// One product beside FP64.
#[derive(Deserialize, Serialize)]
struct Product {
    /// The layer and the weight.
    of: String,
    /// Its place in [`Run::counts`].
    which: usize,
    error: f64,
    #[serde(default)]
    of_terms: f64,
    of_sums: f64,
}

impl Run {
    /// From the folder of `--keep`, or run and left there.
    fn kept(options: &Options, compute: &str, seed: u64) -> Result<Self, Failure> {
        let Some(folder) = &options.keep else { return Self::of(options, compute, seed) };
        std::fs::create_dir_all(folder)?;
        let path = folder.join(format!("{compute}-{seed}.json"));
        if path.exists() {
            return Ok(serde_json::from_str(&std::fs::read_to_string(path)?)?);
        }
        let run = Self::of(options, compute, seed)?;
        std::fs::write(path, serde_json::to_string(&run)?)?;
        Ok(run)
    }

    fn of(options: &Options, compute: &str, seed: u64) -> Result<Self, Failure> {
        let plan = options.plan(compute, seed)?;
        let folder = tempfile::tempdir()?;
        let setup = Setup {
            device: "cpu".to_owned(),
            checkpoints: folder.path().join("checkpoints"),
            token_cache: folder.path().join("tokens"),
        };
        let endpoint = comm::threads(1).swap_remove(0);
        let mut trainer = Trainer::new(&plan, RankId(0), &endpoint, setup)?;
        let (start, before) = (now(), product_counts());
        let mut run =
            Self { validation: Vec::new(), training: Vec::new(), counts: [0; 3], products: Vec::new(), seconds: 0.0 };
        for step in 1..=options.steps {
            let is_last = step == options.steps;
            let (done, audit) =
                if is_last { audited(|| trainer.step(false)) } else { (trainer.step(false), Vec::new()) };
            let loss = done?.metrics.loss;
            if step + options.last > options.steps {
                run.training.push(loss);
                if (options.steps - step).is_multiple_of(options.every) {
                    run.validation.push(trainer.evaluate()?.ok_or("the job has no held-out text")?.loss);
                }
            }
            if step % 50 == 0 {
                eprintln!(
                    "{compute}, seed {seed}: step {step}, loss {loss:.4}, {:.0} s",
                    start.elapsed().as_secs_f64()
                );
            }
            let of = |a: Audited| Product {
                of: matrix_of(trainer.model().parameters(), a.weight),
                which: a.which as usize,
                error: a.error,
                of_terms: a.of_terms,
                of_sums: a.of_sums,
            };
            run.products.extend(audit.into_iter().map(of));
        }
        let after = product_counts();
        run.counts = [
            after.forward - before.forward,
            after.input_gradient - before.input_gradient,
            after.weight_gradient - before.weight_gradient,
        ];
        run.seconds = start.elapsed().as_secs_f64();
        Ok(run)
    }

    fn sentence(&self) -> String {
        let [forward, input_gradient, weight_gradient] = self.counts;
        format!(
            "validation {:.5}, training {:.5} nats per byte over the last steps; products on codes: {forward} forward, \
             {input_gradient} and {weight_gradient} backward; {:.0} s",
            mean(&self.validation),
            mean(&self.training),
            self.seconds,
        )
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Of both losses; whether the held-out one is within the bar or the spread of sixteen bits.
fn compare(sixteen: &[Run], eight: &[Run], options: &Options) -> bool {
    println!("## Losses: mean over the last {} of {} steps, nats per byte\n", options.last, options.steps);
    println!("| loss | seed | bf16 | fp8 | fp8 against bf16 |\n|---|---|---|---|---|");
    let mut verdicts = Vec::new();
    for (what, of) in
        [("held-out", (|run| &run.validation) as fn(&Run) -> &Vec<f64>), ("training", |run| &run.training)]
    {
        let (a, b): (Vec<f64>, Vec<f64>) = sixteen.iter().zip(eight).map(|(a, b)| (mean(of(a)), mean(of(b)))).unzip();
        for ((seed, a), b) in options.seeds.iter().zip(&a).zip(&b) {
            println!("| {what} | {seed} | {a:.5} | {b:.5} | {:+.3}% |", 100.0 * (b / a - 1.0));
        }
        let (mean_a, mean_b) = (mean(&a), mean(&b));
        let off = mean_b / mean_a - 1.0;
        println!("| {what} | mean | {mean_a:.5} | {mean_b:.5} | {:+.3}% |", 100.0 * off);
        let spread = a.iter().copied().fold(f64::MIN, f64::max) - a.iter().copied().fold(f64::MAX, f64::min);
        verdicts.push((what, off.abs(), spread / mean_a));
    }
    println!();
    for (what, off, spread) in &verdicts {
        println!(
            "{what}: fp8 and bf16 are {:.3}% apart; the bar is {:.2}%, the seeds of bf16 spread over {:.3}%.",
            100.0 * off,
            100.0 * BAR,
            100.0 * spread
        );
    }
    verdicts[0].1 < BAR.max(verdicts[0].2)
}

fn products_ran(eight: &[Run]) {
    let [forward, of_inputs, of_weights] = [0, 1, 2].map(|i| eight.iter().map(|run| run.counts[i]).sum::<u64>());
    println!(
        "\nProducts on E4M3 codes: {forward} forward (evaluation included), {of_inputs} of input gradients, \
         {of_weights} of weight gradients."
    );
}

/// A table of the products of the last steps; whether the sums of all are as exact as golden ones are asked to be.
fn of_products(eight: &[Run], [golden, golden_sums]: [f64; 2]) -> bool {
    println!("\n## Products of the last step beside FP64: ‖C − C₆₄‖ / ‖C₆₄‖, root mean square (greatest)\n");
    println!("| layer and matrix | products | forward | input gradient | weight gradient | per terms | sums alone |");
    println!("|---|---|---|---|---|---|---|");
    let mut rows: BTreeMap<&str, Vec<&Product>> = BTreeMap::new();
    for product in eight.iter().flat_map(|run| &run.products) {
        rows.entry(&product.of).or_default().push(product);
    }
    for (matrix, products) in &rows {
        let cell = |which: usize| {
            let errors = || products.iter().filter(|p| p.which == which).map(|p| p.error);
            let squares: Vec<f64> = errors().map(|error| error * error).collect();
            format!("{:.2}% ({:.2}%)", 100.0 * mean(&squares).sqrt(), 100.0 * errors().fold(0.0, f64::max))
        };
        let cells = [0, 1, 2].map(cell).join(" | ");
        let (terms, sums) = (greatest(products, |p| p.of_terms), greatest(products, |p| p.of_sums));
        println!("| {matrix} | {} | {cells} | {:.2}% | {sums:.1e} |", products.len(), 100.0 * terms);
    }
    let all: Vec<&Product> = rows.into_values().flatten().collect();
    let sums = greatest(&all, |p| p.of_sums);
    println!(
        "\nGreatest of golden/fp8_blockwise: {:.2}%, sums alone {golden_sums:.1e}. Here: {:.2}%, per terms {:.2}%, sums \
         alone {sums:.1e} (bar {SUMS:.0e}). A gradient of a weight rounds its input twice, and sums that cancel have a \
         small C₆₄; per terms it is √(Σ a² b²) that divides, as if they did not.",
        100.0 * golden,
        100.0 * greatest(&all, |p| p.error),
        100.0 * greatest(&all, |p| p.of_terms),
    );
    sums <= SUMS
}

fn greatest(products: &[&Product], of: fn(&Product) -> f64) -> f64 {
    products.iter().map(|product| of(product)).fold(0.0, f64::max)
}
