//! `dsctl limits`: how fast decoding can be at best, and what a token costs, by formula.

use ds_forecast::inference::{ExchangeLimit, cache_table, training_table};
use ds_forecast::picture::Unit;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::{self, Exit, Format, FormatArgs, data};
use crate::show::table::table;

/// Show the speed limit that expert parallelism sets to decoding, and what a token costs in cache and computation
///
/// The numbers that are there when nothing is said are those of arXiv 2505.09343.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Tokens that a GPU decodes at once
    #[arg(long, value_name = "N", default_value_t = 32.0, value_parser = positive)]
    tokens: f64,
    /// Experts that a token goes to, the shared one included
    #[arg(long, value_name = "N", default_value_t = 9.0, value_parser = positive)]
    experts: f64,
    /// Numbers of a token's row; the paper writes 7K
    #[arg(long, value_name = "N", default_value_t = 7000.0, value_parser = positive)]
    width: f64,
    /// Bytes of one of them on its way to the experts: FP8
    #[arg(long, value_name = "BYTES", default_value_t = 1.0, value_parser = positive)]
    dispatch_bytes: f64,
    /// Bytes of one of them on its way back: BF16
    #[arg(long, value_name = "BYTES", default_value_t = 2.0, value_parser = positive)]
    combine_bytes: f64,
    /// Layers that a token passes
    #[arg(long, value_name = "N", default_value_t = 61.0, value_parser = positive)]
    layers: f64,
    /// Of one GPU, in GB/s; may be given several times: 50 is a 400 Gb/s NIC, 900 is NVLink of GB200 NVL72
    #[arg(long, value_name = "GB/S", default_values_t = [50.0, 900.0], value_parser = positive)]
    bandwidth: Vec<f64>,
    #[command(flatten)]
    format: FormatArgs,
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let limits: Vec<ExchangeLimit> = self.bandwidth.iter().map(|gbps| self.limit(gbps * 1e9)).collect();
        match self.format.format {
            Format::Json => output::json(&json!({
                "decoding": limits.iter().map(facts).collect::<Vec<_>>(),
                "cache": cache_table(),
                "training": training_table(),
            }))?,
            Format::Text => data(text(&limits).join("\n"))?,
        }
        Ok(Exit::Done)
    }

    fn limit(&self, bandwidth: f64) -> ExchangeLimit {
        ExchangeLimit {
            tokens: self.tokens,
            experts: self.experts,
            width: self.width,
            dispatch_bytes: self.dispatch_bytes,
            combine_bytes: self.combine_bytes,
            layers: self.layers,
            bandwidth,
        }
    }
}

fn facts(limit: &ExchangeLimit) -> Value {
    json!({
        "inputs": limit,
        "exchange_seconds": limit.exchange_seconds(),
        "seconds_per_token": limit.seconds_per_token(),
        "tokens_per_second": limit.seconds_per_token().recip(),
    })
}

fn text(limits: &[ExchangeLimit]) -> Vec<String> {
    let mut lines =
        vec!["decoding, one expert a GPU, computation and latency left out (arXiv 2505.09343, 2.3.2)".to_owned()];
    if let Some(limit) = limits.first() {
        let ExchangeLimit { tokens, experts, width, dispatch_bytes, combine_bytes, layers, .. } = limit;
        lines.push(format!("  ({dispatch_bytes} B there + {combine_bytes} B back) x {tokens} tokens x {experts} experts x {width} / bandwidth"));
        lines.push(format!("  two microbatches in turn: x 2 x {layers} layers"));
    }
    let rows: Vec<Vec<String>> = limits
        .iter()
        .map(|limit| {
            let each = limit.seconds_per_token();
            vec![
                format!("{:.0} GB/s", limit.bandwidth / 1e9),
                format!("{:.2} us", limit.exchange_seconds() * 1e6),
                format!("{:.2} ms", each * 1e3),
                format!("{:.0}", each.recip()),
            ]
        })
        .collect();
    lines.extend(table(&["bandwidth", "dispatch and combine", "an output token", "tokens/s"], &rows));
    lines.extend([String::new(), "cache of a token, BF16 (arXiv 2505.09343, table 1)".to_owned()]);
    let rows: Vec<Vec<String>> = cache_table()
        .iter()
        .map(|row| {
            let sum = format!("{} layers x {} x {} B", row.layers, row.elements, row.bytes_per_element);
            vec![
                row.model.to_owned(),
                sum,
                format!("{:.3} KB", row.bytes_per_token / 1e3),
                format!("{:.3} KB", row.published / 1e3),
            ]
        })
        .collect();
    lines.extend(table(&["model", "of", "bytes", "published"], &rows));
    lines.extend([String::new(), "training of a token, causal (arXiv 2505.09343, table 2)".to_owned()]);
    let rows: Vec<Vec<String>> = training_table()
        .iter()
        .map(|row| {
            let gflop = format!("{:.1} GFLOP", row.gflop_per_token);
            let sequence = Unit::Count("tokens").text(f64::from(row.sequence));
            vec![row.model.to_owned(), sequence, gflop, format!("{:.0}", row.published), row.note.to_owned()]
        })
        .collect();
    lines.extend(table(&["model", "sequence", "a token", "published", "note"], &rows));
    lines
}

fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|n| n.is_finite() && *n > 0.0);
    number.ok_or_else(|| "write a positive number".to_owned())
}
