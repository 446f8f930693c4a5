//! The columns of the cleaned twin of `published_rows.csv`: one number a cell.

use ds_plan::spec::ScheduleKind;

use super::csv::Table;
use super::probe::Probe;
use super::row::{Cells, Measure, Row};
use crate::hardware::{self, Format};
use crate::workload::{Attention, Dispatch, Experts, FeedForward, Kernels, Layout, Network, Recompute, Window, Wire};

pub(super) fn row(table: &Table, record: usize) -> Result<Row, (String, String, String)> {
    let mut cells = Cells::new(table, record);
    let id = cells.text("id").map_or_else(|| format!("{}", record + 1), str::to_owned);
    let group = cells.text("group").unwrap_or("rows").to_owned();
    if cells.text("layers").is_none() && cells.text("tokens_per_gpu").is_some() {
        return exchange(cells, id, group);
    }
    let network = network(&mut cells);
    let layout = layout(&mut cells);
    let hardware = cells.text("hardware").unwrap_or_default().to_owned();
    if hardware::hardware(&hardware).is_none() {
        cells.note(format!("hardware: {hardware} is no preset; there are {}", hardware::PRESETS.join(", ")));
    }
    let metric = cells.text("metric").unwrap_or("nothing").to_owned();
    let measure = measure(&metric).unwrap_or_else(|| {
        cells.note(format!("metric: {metric} is not modelled"));
        Measure::Seconds
    });
    let published = cells.number("value");
    let judged = cells.text("source_read") != Some("no");
    if let Some(reason) = cells.wrong {
        return Err((id, group, reason));
    }
    Ok(Row { id, group, hardware, network, layout, measure, published, judged })
}

/// What a metric is called.
fn measure(metric: &str) -> Option<Measure> {
    Some(match metric {
        "step_seconds" => Measure::Seconds,
        "tokens_per_second_per_gpu" => Measure::TokensPerGpu,
        "tflops_per_gpu" => Measure::TeraflopsPerGpu { causal: false },
        "tflops_per_gpu_causal" => Measure::TeraflopsPerGpu { causal: true },
        "mfu_percent" => Measure::Utilization { causal: false },
        "mfu_percent_causal" => Measure::Utilization { causal: true },
        "tokens_per_day_billions" => Measure::TokensPerDay,
        "forward_seconds" => Measure::Parts(&["forward"]),
        "backward_input_seconds" => Measure::Parts(&["backward_input"]),
        "backward_weight_seconds" => Measure::Parts(&["backward_weight"]),
        "overlapped_seconds" => Measure::Parts(&["overlapped"]),
        "bubble_seconds" => Measure::Parts(&["bubble", "imbalance"]),
        "optimizer_seconds" => Measure::Parts(&["data", "gather", "optimizer", "fixed"]),
        other => Measure::Probe(Probe::named(other)?),
    })
}

/// A row of an exchange alone: no model around it.
fn exchange(mut cells: Cells<'_>, id: String, group: String) -> Result<Row, (String, String, String)> {
    let hardware = cells.text("hardware").unwrap_or_default().to_owned();
    let metric = cells.text("metric").unwrap_or("nothing").to_owned();
    let probe = Probe::named(&metric);
    if probe.is_none() {
        cells.note(format!("metric: {metric} is not modelled: exchanges are those of training"));
    }
    let experts = Experts {
        n: cells.whole("experts"),
        top_k: cells.whole("top_k"),
        inner: 1,
        shared_inner: 0,
        max_nodes: cells.whole_if("max_nodes"),
        biased: false,
    };
    let network =
        Network { experts: Some(experts), dense_layers: 0, ..Network::gpt(1, cells.whole("hidden"), 1, 1, 1) };
    let (expert, tokens) = (cells.whole("ep"), cells.whole("tokens_per_gpu"));
    let published = cells.number("value");
    let (Some(probe), None) = (probe, cells.wrong) else {
        let reason = format!("metric: {metric} is not modelled: exchanges are those of training");
        return Err((id, group, reason));
    };
    let layout = Layout {
        tensor: 1,
        sequence_parallel: false,
        context: 1,
        pipeline: 1,
        virtual_stages: 1,
        stages: None,
        data: expert,
        expert,
        shard_weights: false,
        shard_optimizer: false,
        dispatch: Dispatch::Deduplicated,
        recompute: Recompute::None,
        schedule: ScheduleKind::OneFOneB,
        kernels: Kernels::FusedAttention,
        microbatch: 1,
        n_microbatches: 1,
        sequence: tokens,
        format: Format::Fp8,
        wire: Wire::usual(Format::Fp8),
        gradient_bytes: 4.0,
    };
    Ok(Row { id, group, hardware, network, layout, measure: Measure::Probe(probe), published, judged: true })
}

fn network(cells: &mut Cells<'_>) -> Network {
    let (layers, hidden, vocab) = (cells.whole("layers"), cells.whole("hidden"), cells.whole("vocab"));
    let heads = cells.whole("heads");
    let attention = match cells.text("kv_rank") {
        Some(_) => Attention::Latent {
            heads,
            q_rank: cells.whole_if("q_rank"),
            kv_rank: cells.whole("kv_rank"),
            nope: cells.whole("qk_nope_dim"),
            rope: cells.whole("qk_rope_dim"),
            value: cells.whole("head_dim"),
        },
        None => {
            let head_dim = cells.whole_or("head_dim", hidden / heads.max(1));
            Attention::Grouped { heads, kv_heads: cells.whole_or("kv_heads", heads), head_dim }
        }
    };
    let is_gpt_oss = cells.text("model").is_some_and(is_gpt_oss);
    let experts = cells.text("experts").is_some().then(|| Experts {
        n: cells.whole("experts"),
        top_k: cells.whole("top_k"),
        inner: cells.whole("expert_ffn"),
        shared_inner: cells.whole_if("shared_ffn").unwrap_or(0),
        max_nodes: cells.whole_if("max_nodes"),
        biased: cells.text("expert_bias").map_or(is_gpt_oss, |cell| cell == "1"),
    });
    let window = match cells.whole_if("window") {
        Some(tokens) => Some(Window { tokens, whole_every: cells.whole_if("window_whole_every").unwrap_or(0) }),
        None => is_gpt_oss.then_some(Window { tokens: 128, whole_every: 2 }),
    };
    let dense_layers = if experts.is_none() { layers } else { cells.whole_if("dense_layers").unwrap_or(0) };
    let inner = if dense_layers > 0 { cells.whole("ffn") } else { 1 };
    let gated = cells.text("activation") != Some("gelu");
    Network {
        layers,
        dense_layers,
        hidden,
        vocab,
        attention,
        window,
        feed_forward: FeedForward { inner, gated },
        experts,
        mtp_depth: cells.whole_if("mtp").unwrap_or(0),
        tied: !gated,
    }
}

/// Rows seldom say it: GPT-OSS sees 128 tokens in every other layer, and its experts have biases and a clamp (its public
/// configuration: `sliding_window`, `layer_types`, `swiglu_limit`).
fn is_gpt_oss(model: &str) -> bool {
    let letters: String = model.chars().filter(char::is_ascii_alphanumeric).collect();
    letters.to_lowercase().starts_with("gptoss")
}

fn layout(cells: &mut Cells<'_>) -> Layout {
    let [tensor, pipeline, context] = ["tp", "pp", "cp"].map(|column| cells.whole_or(column, 1));
    let (expert, virtual_stages) = (cells.whole_or("ep", 1), cells.whole_or("vp", 1));
    let gpus = cells.whole("gpus");
    let model = tensor.saturating_mul(pipeline).saturating_mul(context);
    cells.divides(("tp x pp x cp", model), ("gpus", gpus));
    let data = (gpus / model.max(1)).max(1);
    cells.divides(("ep", expert), ("dp x cp", data.saturating_mul(context)));
    let (batch, microbatch) = (cells.whole("gbs"), cells.whole_or("mbs", 1));
    let each = data.saturating_mul(microbatch);
    cells.divides(("dp x mbs", each), ("gbs", batch));
    let format = match cells.text("precision") {
        Some("fp16" | "bf16") | None => Format::F16,
        Some("fp8") => Format::Fp8,
        Some(other) => {
            let reason = format!("precision: {other} is not fp16, bf16 or fp8");
            cells.note(reason);
            Format::F16
        }
    };
    let recompute = match cells.text("recompute") {
        Some("full") => Recompute::Full,
        Some("selective") => Recompute::Selective,
        None | Some("none") => Recompute::None,
        Some(other) => {
            let reason = format!("recompute: {other} is not none, selective or full");
            cells.note(reason);
            Recompute::None
        }
    };
    let kernels = match cells.text("attention_kernel") {
        Some("unfused") => Kernels::Fused,
        None | Some("fused") => Kernels::FusedAttention,
        Some(other) => {
            let reason = format!("attention_kernel: {other} is not fused or unfused");
            cells.note(reason);
            Kernels::FusedAttention
        }
    };
    let dispatch = match cells.text("dispatcher") {
        None | Some("deepep" | "hybridep") => Dispatch::Deduplicated,
        Some("alltoall") => Dispatch::EveryExpert,
        Some(other) => {
            cells.note(format!("dispatcher: {other} is not alltoall, deepep or hybridep"));
            Dispatch::Deduplicated
        }
    };
    let sharded = cells.text("fsdp").is_some_and(|cell| cell == "1");
    Layout {
        tensor,
        sequence_parallel: tensor > 1 && cells.text("sequence_parallel").is_some_and(|cell| cell == "1"),
        context,
        pipeline,
        virtual_stages: if pipeline > 1 { virtual_stages } else { 1 },
        stages: None,
        data,
        expert,
        shard_weights: sharded,
        shard_optimizer: kernels.overlaps(),
        dispatch,
        recompute,
        schedule: match cells.text("schedule") {
            Some("dualpipe") => ScheduleKind::DualPipe,
            _ => ScheduleKind::OneFOneB,
        },
        kernels,
        microbatch,
        n_microbatches: batch / each.max(1),
        sequence: cells.whole("seq"),
        format,
        wire: Wire::usual(format),
        gradient_bytes: if cells.text("gradient_bits") == Some("32") { 4.0 } else { 2.0 },
    }
}
