//! Number formats for the way back from experts, compared as arXiv 2505.09343 §3.2 does: what experts gave goes through a
//! format before it is summed, in every layer. `combine_formats CHECKPOINT [--text PATH] [--bytes N] [--threads N]` prints
//! a table: the error of what experts gave for held-out text, and the loss over it.
#![expect(clippy::print_stdout, reason = "it prints a table")]

use std::cell::RefCell;
use std::error::Error;
use std::path::{Path, PathBuf};

use ds_arch::logfmt::{Bits, Levels, Rounding, TILE, decode_row, encode_row, row_bytes};
use ds_arch::{e4m3, e5m2};
use ds_checkpoint::Checkpoint;
use ds_data::{TokenFolder, TokenizerChoice, prepare};
use ds_model::{
    Arrival, Coming, ExpertExchange, LossWeights, ModelError, OneRank, Route, SequenceShare, StageInput, StageModel,
    StagePart,
};
use ds_plan::spec::{JobSpec, TokenizerSpec, read};
use ds_worker::generate::load_weights;
use ds_worker::step::Cut;
use tch::{Device, Kind, Tensor};

/// Sequences of a pass.
const AT_ONCE: u64 = 8;

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse(std::env::args().skip(1))?;
    tch::set_num_threads(options.threads);
    let checkpoint = Checkpoint::open(&options.checkpoint)?;
    let spec = read(&checkpoint.state().spec_yaml, "the checkpoint's job", &[])?.spec;
    let part = StagePart { mtp_layers: 0..0, ..StagePart::whole(&spec.model) };
    let model = StageModel::new(&spec.model, part, Device::Cpu, Kind::Float, 0)?;
    load_weights(&checkpoint, &model, false)?;
    let cache = tempfile::tempdir()?;
    let text = HeldOut::open(&spec, &options, cache.path())?;

    println!("| format | bytes an element | error | bias | became zero | loss, nats per byte | against f32 |");
    println!("|---|---|---|---|---|---|---|");
    let exact = text.loss(&model, &Through::new(Format::Single))?;
    for format in FORMATS {
        let exchange = Through::new(*format);
        let loss = text.loss(&model, &exchange)?;
        let error = exchange.error.into_inner();
        println!(
            "| {} | {:.4} | {:.4}% | {:+.4}% | {:.4}% | {loss:.5} | {:+.4}% |",
            format.name(),
            format.bytes(spec.model.hidden_size as usize),
            100.0 * (error.of_squares / error.squares).sqrt(),
            100.0 * error.of_sizes / error.sizes,
            100.0 * error.vanished / error.elements,
            100.0 * (loss / exact - 1.0),
        );
    }
    Ok(())
}

struct Options {
    checkpoint: PathBuf,
    text: Option<PathBuf>,
    bytes: u64,
    threads: i32,
}

impl Options {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let checkpoint = words.next().ok_or("the first argument is a checkpoint's folder")?.into();
        let mut options = Self { checkpoint, text: None, bytes: 65_536, threads: 2 };
        while let Some(key) = words.next() {
            let value = words.next().ok_or_else(|| format!("{key} has no value"))?;
            match key.as_str() {
                "--text" => options.text = Some(value.into()),
                "--bytes" => options.bytes = value.parse()?,
                "--threads" => options.threads = value.parse()?,
                _ => return Err(format!("{key} is no option").into()),
            }
        }
        Ok(options)
    }
}

/// The held-out text in windows.
struct HeldOut {
    tokens: TokenFolder,
    cut: Cut,
    n_windows: u64,
}

impl HeldOut {
    fn open(spec: &JobSpec, options: &Options, cache: &Path) -> Result<Self, Box<dyn Error>> {
        let source = options.text.clone().or_else(|| spec.data.validation.clone());
        let source = source.ok_or("the job has no held-out text: say --text")?;
        let tokenizer = match &spec.data.tokenizer {
            TokenizerSpec::Bytes => TokenizerChoice::Bytes,
            TokenizerSpec::File(path) => TokenizerChoice::File(path.clone()),
        };
        let tokens = TokenFolder::open(&prepare(&source, &tokenizer, cache, &mut |_| ())?)?;
        let sequence = spec.train[0].sequence;
        let covered = |n: u64| tokens.bytes_of(0..n * u64::from(sequence));
        let n_windows = (1..=tokens.n_windows(sequence, 1)).take_while(|&n| covered(n) <= options.bytes).last();
        let n_windows = n_windows.ok_or("the held-out text is shorter than a sequence, or --bytes is")?;
        Ok(Self {
            tokens,
            cut: Cut { sequence, mtp_depth: 0, device: Device::Cpu, share: SequenceShare::WHOLE },
            n_windows,
        })
    }

    /// Nats per byte.
    fn loss(&self, model: &StageModel, exchange: &Through) -> Result<f64, ModelError> {
        let mut sum = 0.0;
        for first in (0..self.n_windows).step_by(AT_ONCE as usize) {
            let windows = first..(first + AT_ONCE).min(self.n_windows);
            let windows: Vec<_> = windows.map(|i| self.tokens.window(i, self.cut.sequence, self.cut.extra())).collect();
            let input = StageInput { microbatch: &self.cut.microbatch(&windows), hidden: None };
            sum += model.forward(input, &LossWeights::default(), exchange)?.losses.loss.0;
        }
        Ok(sum / self.tokens.bytes_of(0..self.n_windows * u64::from(self.cut.sequence) + 1) as f64)
    }
}

/// How a row of what an expert gave travels; eight-bit floats with a scale for each tile of 128, greatest to greatest.
#[derive(Clone, Copy)]
enum Format {
    Single,
    Bf16,
    E4m3,
    E5m2,
    LogFmt(Bits),
    /// For comparison: with borders between logarithms.
    LogRounded(Bits),
}

const FORMATS: &[Format] = &[
    Format::Bf16,
    Format::E4m3,
    Format::E5m2,
    Format::LogFmt(Bits::EIGHT),
    Format::LogFmt(Bits::TEN),
    Format::LogRounded(Bits::EIGHT),
];

impl Format {
    fn name(self) -> String {
        match self {
            Self::Single => "f32".to_owned(),
            Self::Bf16 => "BF16".to_owned(),
            Self::E4m3 => "E4M3, tiles of 128".to_owned(),
            Self::E5m2 => "E5M2, tiles of 128".to_owned(),
            Self::LogFmt(bits) => format!("LogFMT, {} bits", bits.get()),
            Self::LogRounded(bits) => format!("LogFMT, {} bits, rounded between logarithms", bits.get()),
        }
    }

    fn bytes(self, width: usize) -> f64 {
        let of_row = match self {
            Self::Single => 4 * width,
            Self::Bf16 => 2 * width,
            Self::E4m3 | Self::E5m2 => width + 4 * width.div_ceil(TILE),
            Self::LogFmt(bits) | Self::LogRounded(bits) => row_bytes(width, bits),
        };
        of_row as f64 / width as f64
    }

    /// Puts what arrives in the place of what is sent.
    fn send(self, row: &mut [f32]) {
        match self {
            Self::Single => (),
            Self::Bf16 => row.iter_mut().for_each(|x| *x = half::bf16::from_f32(*x).to_f32()),
            Self::E4m3 => scaled(row, e4m3::MAX, |x| e4m3::decode(e4m3::encode(x))),
            Self::E5m2 => scaled(row, e5m2::MAX, |x| e5m2::decode(e5m2::encode(x))),
            Self::LogFmt(bits) => {
                let mut bytes = Vec::with_capacity(row_bytes(row.len(), bits));
                encode_row(row, bits, &mut bytes);
                decode_row(&bytes, bits, row).expect("its own bytes");
            }
            Self::LogRounded(bits) => row.chunks_mut(TILE).for_each(|tile| {
                let levels = Levels::of(tile, bits);
                tile.iter_mut().for_each(|x| *x = levels.decode(levels.encode(*x, Rounding::Logarithmic)));
            }),
        }
    }
}

fn scaled(row: &mut [f32], largest: f32, cast: impl Fn(f32) -> f32) {
    for tile in row.chunks_mut(TILE) {
        let scale = tile.iter().fold(1e-4_f32, |most, x| most.max(x.abs())) / largest;
        tile.iter_mut().for_each(|x| *x = cast(*x / scale) * scale);
    }
}

/// One rank, whose experts' results go through a format.
struct Through {
    format: Format,
    error: RefCell<Sums>,
}

/// Over all elements of all rows.
#[derive(Default)]
struct Sums {
    squares: f64,
    of_squares: f64,
    sizes: f64,
    /// Of |found| − |x|.
    of_sizes: f64,
    vanished: f64,
    elements: f64,
}

impl Through {
    fn new(format: Format) -> Self {
        Self { format, error: RefCell::default() }
    }

    fn send(&self, rows: &Tensor) -> Result<Tensor, ModelError> {
        let size = rows.size();
        let exact = Vec::<f32>::try_from(rows.reshape([-1]))?;
        let mut found = exact.clone();
        let width = size.last().map_or(1, |&d| d.max(1) as usize);
        found.chunks_mut(width).for_each(|row| self.format.send(row));
        let mut sums = self.error.borrow_mut();
        for (&x, &y) in exact.iter().zip(&found) {
            let (x, y) = (f64::from(x), f64::from(y));
            sums.squares += x * x;
            sums.of_squares += (y - x) * (y - x);
            sums.sizes += x.abs();
            sums.of_sizes += y.abs() - x.abs();
            sums.vanished += f64::from(x != 0.0 && y == 0.0);
            sums.elements += 1.0;
        }
        Ok(Tensor::from_slice(&found).view(size.as_slice()))
    }
}

impl ExpertExchange for Through {
    fn route<'a>(&'a self, sent: Vec<i64>) -> Result<Coming<'a, Route>, ModelError> {
        let route = OneRank.route(sent)?()?;
        Ok(Box::new(move || Ok(route)))
    }

    fn dispatch<'a>(&'a self, route: &Route, rows: &Tensor) -> Result<Arrival<'a>, ModelError> {
        let rows = OneRank.dispatch(route, rows)?()?;
        Ok(Box::new(move || Ok(rows)))
    }

    fn combine<'a>(&'a self, _: &Route, rows: &Tensor) -> Result<Arrival<'a>, ModelError> {
        let rows = self.send(rows)?;
        Ok(Box::new(move || Ok(rows)))
    }
}
