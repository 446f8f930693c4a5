//! Writes the pictures of some plans, to be looked at: `cargo run --release -p ds-forecast --example pictures -- DIR`.

use ds_forecast::picture::*;
use ds_plan::schedule::{Action, Pass, StageId, one_f_one_b, timeline};

fn main() {
    let dir = std::env::args().nth(1).expect("a folder");
    for (p, m) in [(4_u32, 8_u32), (16, 120)] {
        let actions: Vec<Vec<Action>> = (0..p).map(|s| one_f_one_b(StageId(s), p, m)).collect();
        let t = timeline(&actions, p, |a| a.pieces().map(|x| if x.pass == Pass::Forward { 50 } else { 110 }).sum())
            .unwrap();
        let rows = schedule_rows(&t, 1e-3);
        let name = format!("{dir}/schedule-{p}-{m}.svg");
        std::fs::write(name, schedule("1F1B", &rows, Unit::Seconds).svg()).unwrap();
    }
    let g = 1_073_741_824.0;
    let memory = Bars {
        title: "Memory of a rank".into(),
        rows_are: "pipeline".into(),
        parts: [
            "weights",
            "master",
            "gradients",
            "moments",
            "EMA",
            "activations",
            "exchange",
            "communication",
            "slack",
        ]
        .map(String::from)
        .to_vec(),
        rows: (0..16)
            .map(|i| Row {
                name: i.to_string(),
                values: vec![
                    5.0 * g,
                    3.0 * g,
                    8.0 * g,
                    6.0 * g,
                    0.0,
                    (32.0 - 1.5 * f64::from(i)) * g,
                    5.0 * g,
                    1.0 * g,
                    6.0 * g,
                ],
            })
            .collect(),
        limit: Some((64.0 * g, "NVIDIA H800".into())),
        unit: Unit::Bytes,
    };
    std::fs::write(format!("{dir}/memory.svg"), bars(&memory).svg()).unwrap();
    let parts = Bars {
        title: "Where a step's time goes".into(),
        rows_are: String::new(),
        parts: ["compute", "exposed all-to-all", "bubble", "data-parallel", "optimizer"].map(String::from).to_vec(),
        rows: vec![Row { name: "step".into(), values: vec![15.2, 1.9, 2.1, 0.3, 0.29] }],
        limit: None,
        unit: Unit::Seconds,
    };
    std::fs::write(format!("{dir}/parts.svg"), bars(&parts).svg()).unwrap();
    let h = Heat {
        title: "Load of the uplinks".into(),
        rows_are: "plane".into(),
        cells_are: "link".into(),
        rows: (0..8)
            .map(|p| {
                (
                    format!("plane {p}"),
                    (0..128)
                        .map(|i| if p == 3 { None } else { Some(((i * 7 + p * 13) % 100) as f64 / 90.0) })
                        .collect(),
                )
            })
            .collect(),
    };
    std::fs::write(format!("{dir}/heat.svg"), heat(&h).svg()).unwrap();
    let c = Chart {
        title: "Layouts that fit".into(),
        x: ("memory of the largest rank".into(), Unit::Bytes),
        y: ("step time".into(), Unit::Seconds),
        series: vec![
            Series {
                name: "dualpipe".into(),
                is_line: false,
                points: (0..40)
                    .map(|i| ((30.0 + f64::from(i)) * g, 20.0 + f64::from(i * 7 % 13), format!("{i}")))
                    .collect(),
            },
            Series {
                name: "1f1b".into(),
                is_line: true,
                points: (0..40)
                    .map(|i| ((30.0 + f64::from(i)) * g, 25.0 + f64::from(i * 5 % 11), format!("{i}")))
                    .collect(),
            },
        ],
        limit: Some((28.0, "goal".into())),
    };
    std::fs::write(format!("{dir}/chart.svg"), chart(&c).svg()).unwrap();
}
