//! The columns of the files of vTrain (dense GPTs on A100, Megatron-DeepSpeed).
//!
//! They do not say what is recomputed, the precision, or the vocabulary. FP16 and 51,200 are those of the models that
//! the files name (arXiv 2104.04473, table 1). A run over several nodes recomputes every layer, as those models did; a
//! run on one node nothing.

use ds_plan::spec::ScheduleKind;

use super::csv::Table;
use super::row::{Cells, Measure, Row};
use crate::hardware::Format;
use crate::workload::{Dispatch, Kernels, Layout, Network, Recompute, Wire};

/// The column by which the form is known.
pub(super) const MARK: &str = "iteration time (ms)";

const VOCABULARY: u32 = 51_200;
const NODE: u32 = 8;

pub(super) fn row(table: &Table, record: usize) -> Result<Row, (String, String, String)> {
    let mut cells = Cells::new(table, record);
    let gpus = cells.whole("# gpus");
    let (batch, microbatch) = (cells.whole("global batch"), cells.whole("micro batch"));
    let (hidden, heads) = (cells.whole("hidden size"), cells.whole("attention heads"));
    let (layers, sequence) = (cells.whole("# layers"), cells.whole("sequence length"));
    let tensor = cells.whole("tensor parallelism");
    let (data, pipeline) = (cells.whole("data parallelism"), cells.whole("pipeline parallelism"));
    let published = cells.number(MARK) / 1e3;
    let several = gpus > NODE;
    let group = if several { "A100, several nodes" } else { "A100, one node" };
    if u64::from(tensor) * u64::from(data) * u64::from(pipeline) != u64::from(gpus) {
        cells.note(format!("tensor {tensor} x data {data} x pipeline {pipeline} must be # gpus {gpus}"));
    }
    cells.divides(("data x micro batch", data.saturating_mul(microbatch)), ("global batch", batch));
    let id = format!("{}", record + 1);
    if let Some(reason) = cells.wrong {
        return Err((id, group.to_owned(), reason));
    }
    let layout = Layout {
        tensor,
        sequence_parallel: false,
        context: 1,
        pipeline,
        virtual_stages: 1,
        stages: None,
        data,
        expert: 1,
        shard_weights: false,
        shard_optimizer: false,
        dispatch: Dispatch::Deduplicated,
        recompute: if several { Recompute::Full } else { Recompute::None },
        schedule: ScheduleKind::OneFOneB,
        kernels: Kernels::Separate,
        microbatch,
        n_microbatches: batch / data / microbatch,
        sequence,
        format: Format::F16,
        wire: Wire::usual(Format::F16),
        gradient_bytes: 2.0,
    };
    Ok(Row {
        id,
        group: group.to_owned(),
        hardware: "A100".to_owned(),
        network: Network::gpt(layers, hidden, heads, hidden.saturating_mul(4), VOCABULARY),
        layout,
        measure: Measure::Seconds,
        published,
        judged: true,
    })
}
