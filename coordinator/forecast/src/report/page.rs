//! The outlook as a page.

use ds_plan::JobPlan;

use super::outlook::Outlook;
use super::pictures::{memory_picture, parts_picture, schedule_picture};
use super::search_page::search_section;
use super::text::{days, flops, memory};
use crate::hardware::Hardware;
use crate::page::{Block, Fact, Page, Section, Table, Tone, Verdict};
use crate::picture::{Picture, Unit};
use crate::search::{Found, Layout};

/// The page of a plan and, where one was made, of a search.
pub fn page(
    plan: &JobPlan,
    hardware: &Hardware,
    outlook: &Outlook,
    load: Option<Picture>,
    found: Option<&Found>,
) -> Page {
    let mut sections = vec![
        Section { title: "Step".to_owned(), parts: vec![Block::Picture(parts_picture(outlook)), parts_table(outlook)] },
        Section { title: "Causes".to_owned(), parts: vec![Block::Text(TERMS.to_owned()), terms_table(outlook)] },
        Section {
            title: "Memory".to_owned(),
            parts: vec![Block::Text(memory(&outlook.memory)), Block::Picture(memory_picture(outlook))],
        },
    ];
    let schedule = schedule_picture(plan, hardware);
    sections.extend(schedule.map(|picture| Section {
        title: "Schedule".to_owned(),
        parts: vec![
            Block::Text(
                "Every pass takes its estimated time; sending between stages takes none. Idle time of a row is grey."
                    .to_owned(),
            ),
            Block::Picture(picture),
        ],
    }));
    sections.extend(load.map(|picture| Section {
        title: "Links".to_owned(),
        parts: vec![Block::Text(LOAD.to_owned()), Block::Picture(picture)],
    }));
    sections.push(Section { title: "Layout".to_owned(), parts: vec![layout_table(plan)] });
    sections.extend(found.map(|found| search_section(found, Layout::of(plan.spec()))));
    sections.push(Section { title: "Assumptions".to_owned(), parts: vec![Block::List(assumptions(outlook))] });
    let on = outlook.fabric.as_ref().map(|fabric| format!(" on {fabric}")).unwrap_or_default();
    Page {
        title: format!("Plan of {}", plan.spec().name),
        subtitle: format!("{} {}{on}: {}", outlook.gpus, outlook.hardware, Layout::of(plan.spec())),
        verdict: verdict(outlook),
        facts: facts(outlook),
        sections,
    }
}

fn verdict(outlook: &Outlook) -> Verdict {
    let tone = if outlook.memory.fits { Tone::Good } else { Tone::Bad };
    let fits = if outlook.memory.fits { "It fits" } else { "It does not fit" };
    Verdict { tone, text: format!("{fits}. What binds: {}.", outlook.binds.sentence) }
}

fn facts(outlook: &Outlook) -> Vec<Fact> {
    let fact = |name: &str, value: String, note: String| Fact { name: name.to_owned(), value, note };
    let (step, memory, training) = (&outlook.step, &outlook.memory, &outlook.training);
    let idle: f64 = step.parts.iter().filter(|part| part.name == "bubble").map(|part| part.seconds).sum();
    vec![
        fact(
            "Step time",
            Unit::Seconds.text(step.seconds),
            format!("{}; bubble {}", Unit::Count("tokens").text(step.tokens), Unit::Share.text(idle / step.seconds)),
        ),
        fact(
            "Speed",
            format!("{}/s", Unit::Count("").text(step.tokens_per_second)),
            format!("tokens; {} a day", Unit::Count("").text(step.tokens_per_day)),
        ),
        fact(
            "MFU, causal",
            Unit::Share.text(step.mfu_causal),
            format!("{} over all pairs; {} a GPU", Unit::Share.text(step.mfu), flops(step.tflops_causal)),
        ),
        fact(
            "Memory",
            ds_plan::bytes(memory.need_bytes),
            format!("of {} on one {}", ds_plan::bytes(memory.have_bytes), outlook.hardware),
        ),
        fact(
            "Whole training",
            days(training.days),
            format!("{}, {:.0} steps", Unit::Count("tokens").text(training.tokens), training.steps),
        ),
        fact(
            "Cost",
            format!("${}", Unit::Count("").text(training.dollars)),
            format!("{} at ${}", Unit::Count("GPU hours").text(training.gpu_hours), training.dollars_per_gpu_hour),
        ),
    ]
}

fn parts_table(outlook: &Outlook) -> Block {
    let row = |part: &crate::estimate::Part| {
        vec![
            part.name.to_owned(),
            Unit::Seconds.text(part.seconds),
            Unit::Share.text(part.seconds / outlook.step.seconds),
            part.about.to_owned(),
        ]
    };
    Block::Table(Table::new(
        &["part", "time", "share", "what it is"],
        outlook.step.parts.iter().filter(|part| part.seconds > 0.0).map(row).collect(),
    ))
}

const LOAD: &str = "Every expert group dispatches one microbatch at once, at even load and by static routes.";
const TERMS: &str = "What each cause alone adds to the step. dsctl plan --without NAME leaves one out.";

fn terms_table(outlook: &Outlook) -> Block {
    let row = |term: &super::outlook::TermOutlook| {
        let counted = if term.counted { "yes" } else { "left out" };
        let seconds = Unit::Seconds.text(term.seconds);
        vec![term.term.to_string(), seconds, counted.to_owned(), term.about.to_owned(), term.source.to_owned()]
    };
    let head = ["cause", "adds", "counted", "what it is", "where its model comes from"];
    Block::Table(Table::new(&head, outlook.terms.iter().map(row).collect()))
}

fn layout_table(plan: &JobPlan) -> Block {
    let row = |stage: &ds_plan::StageReport| {
        let layers = match stage.layers {
            (first, end) if end == first => "-".to_owned(),
            (first, end) if end == first + 1 => first.to_string(),
            (first, end) => format!("{first} to {}", end - 1),
        };
        let mut with: Vec<String> = Vec::new();
        with.extend(stage.embeds.then(|| "embedding".to_owned()));
        with.extend(stage.scores.then(|| "head".to_owned()));
        with.extend((stage.n_mtp > 0).then(|| format!("{} MTP", stage.n_mtp)));
        vec![
            stage.stage.to_string(),
            stage.pipeline.to_string(),
            layers,
            with.join(", "),
            Unit::Count("").text(stage.parameters as f64),
            Unit::Share.text(stage.cost_share),
        ]
    };
    Block::Table(Table::new(
        &["stage", "pipeline", "layers", "with", "parameters", "share of the cost"],
        ds_plan::stage_reports(plan).iter().map(row).collect(),
    ))
}

fn assumptions(outlook: &Outlook) -> Vec<String> {
    let mut all = outlook.assumptions.clone();
    all.push(format!(
        "The busiest rank receives {} times its even share of tokens when memory is counted.",
        ds_plan::IMBALANCE
    ));
    all.push("MFU counts model FLOPs against the 16-bit peak; recomputation is no model work.".to_owned());
    all.extend(outlook.step.parts.iter().map(|part| format!("{}: {}.", part.name, part.about)));
    all
}
