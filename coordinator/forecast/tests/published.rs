//! Predicted against published: whole files of rows, with the bounds that each group is held to. How the files were
//! made is in rows/README.md.

use ds_forecast::hardware::hardware;
use ds_forecast::rows::{Report, Verdict, fit, judge};

const PUBLISHED: &str = include_str!("rows/published.csv");
const SEVERAL_NODES: &str = include_str!("rows/vtrain_a100_multi_measured.csv");
const ONE_NODE: &str = include_str!("rows/vtrain_a100_single_measured.csv");

/// A group's errors stay within bounds, in percent, without a row refused and with at most 15% of them fitted.
fn holds(report: &Report, name: &str, mean: f64, largest: f64) {
    let group = report.groups.iter().find(|group| group.name == name).unwrap_or_else(|| panic!("no group {name}"));
    assert!(group.judged > 0 && group.refused == 0, "{group:?}");
    assert!(20 * group.fitted <= 3 * group.judged, "too many rows are fitted: {group:?}");
    assert!(100.0 * group.mean_error <= mean, "{group:?}");
    assert!(100.0 * group.max_error <= largest, "{group:?}");
}

#[test]
fn dense_models_on_a100_are_within_their_bounds() {
    let report = judge(PUBLISHED).unwrap();
    holds(&report, "arXiv 2205.05198", 3.0, 7.0);
    holds(&judge(SEVERAL_NODES).unwrap(), "A100, several nodes", 8.0, 40.0);
    holds(&judge(ONE_NODE).unwrap(), "A100, one node", 12.0, 35.0);
}

#[test]
fn models_of_megatron_bridge_are_within_their_bounds() {
    // GPT-OSS on GB200 is the largest error, 18% too fast; its page and its recipe disagree on batch, microbatch and
    // sequence.
    holds(&judge(PUBLISHED).unwrap(), "Megatron-Bridge", 8.0, 25.0);
}

#[test]
fn sparse_models_of_megatron_bridge_are_within_twelve_percent() {
    let report = judge(PUBLISHED).unwrap();
    let sparse = ["R012", "R013", "R015", "R016", "R021", "R022", "R024", "R027", "R028", "R030", "R034"];
    let errors: Vec<f64> =
        report.rows.iter().filter(|row| sparse.contains(&row.id.as_str())).map(|row| row.error.abs()).collect();
    assert_eq!(errors.len(), sparse.len());
    assert!(errors.iter().sum::<f64>() / (errors.len() as f64) < 0.12, "{errors:?}");
}

#[test]
fn what_gpt_oss_does_besides_is_known_by_its_name() {
    let table = |model: &str| {
        let row = PUBLISHED.lines().find(|line| line.starts_with("R022,")).unwrap();
        format!("{}\n{}\n", PUBLISHED.lines().next().unwrap(), row.replace("GPT OSS 120B", model))
    };
    let seconds = |model: &str| judge(&table(model)).unwrap().rows[0].predicted.recip();
    assert!(seconds("GPT OSS 120B") > 1.05 * seconds("a plain one"), "biases and clamps are passes of their own");
    assert_eq!(seconds("gpt-oss-120b"), seconds("GPT OSS 120B"));
}

#[test]
fn the_step_of_deepseek_v3_is_within_eight_percent_though_no_row_of_it_is_fitted() {
    let report = judge(PUBLISHED).unwrap();
    for row in report.rows.iter().filter(|row| row.group.starts_with("DeepSeek-V3")) {
        assert!(!row.fitted, "{}", row.id);
    }
    for (id, published) in [("R040", 19.926), ("R052", 19.946)] {
        let row = report.rows.iter().find(|row| row.id == id).unwrap();
        assert_eq!(row.published, published);
        assert!(row.error.abs() < 0.08, "{id}: {}", row.error);
        let parts: f64 = row.parts.iter().map(|(_, seconds)| seconds).sum();
        assert!((parts - row.predicted).abs() < 1e-9, "parts add up to the step");
    }
}

#[test]
fn dispatch_and_combine_at_32_ranks_are_within_fifteen_percent() {
    let report = judge(PUBLISHED).unwrap();
    for id in ["R065", "R069"] {
        let row = report.rows.iter().find(|row| row.id == id).unwrap();
        assert!(!row.fitted && row.error.abs() < 0.15, "{row:?}");
    }
}

#[test]
fn every_row_of_a_file_is_in_the_report_and_refused_ones_say_why() {
    for text in [PUBLISHED, SEVERAL_NODES, ONE_NODE] {
        let report = judge(text).unwrap();
        assert_eq!(report.rows.len(), text.lines().count() - 1);
        for row in &report.rows {
            match &row.verdict {
                Verdict::Refused { reason } => assert!(reason.contains(':'), "{row:?}"),
                _ => assert!(row.predicted > 0.0 && row.predicted.is_finite(), "{row:?}"),
            }
        }
    }
}

#[test]
fn recalled_rows_are_shown_and_not_judged() {
    let report = judge(PUBLISHED).unwrap();
    let shown = report.rows.iter().filter(|row| row.verdict == Verdict::Shown).count();
    assert_eq!(shown, 29, "ten of arXiv 2104.04473, sixteen of 2402.15627, three of 2407.21783");
}

#[test]
fn presets_come_out_of_their_rows_again() {
    for name in ["A100", "H800", "B200", "GB200"] {
        let found = fit(&[PUBLISHED, SEVERAL_NODES, ONE_NODE], name).unwrap();
        let (fitted, preset) = (serde_json::json!(found.hardware), serde_json::json!(hardware(name).unwrap()));
        for constant in found.constants {
            let (now, then) = (fitted[constant].as_f64().unwrap(), preset[constant].as_f64().unwrap());
            assert!((now / then - 1.0).abs() < 2e-3, "{name}: {constant} is {then}, its rows give {now}");
        }
    }
}

#[test]
fn a_fit_without_its_rows_is_refused() {
    let error = fit(&[SEVERAL_NODES], "A100").unwrap_err().to_string();
    assert_eq!(error, "rows: the preset A100 names 129 rows, of which the files hold 8");
    assert!(fit(&[PUBLISHED], "CPU").is_err());
}

#[test]
fn what_is_wrong_with_a_row_is_said() {
    let refused = |text: &str| match judge(text).unwrap().rows.remove(0).verdict {
        Verdict::Refused { reason } => reason,
        verdict => panic!("{verdict:?}"),
    };
    let head = SEVERAL_NODES.lines().next().unwrap();
    let row = |cells: &str| refused(&format!("{head}\n{cells}\n"));
    assert_eq!(row("3.6,64,512,8,3072,32,30,2048,1,32,1,3566.5"), "tensor 1 x data 32 x pipeline 1 must be # gpus 64");
    assert_eq!(
        row("3.6,64,500,8,3072,32,30,2048,1,64,1,3566.5"),
        "data x micro batch 512 must divide global batch 500"
    );
    assert_eq!(row("3.6,64,512,8,x,32,30,2048,1,64,1,3566.5"), "hidden size: x is no positive number");
    assert_eq!(row("3.6,64,512,8,,32,30,2048,1,64,1,3566.5"), "hidden size: is missing");
}
