//! Laws of the search: everything that is enumerated is ranked or rejected, what is ranked fits, the first is the
//! fastest.
#![expect(clippy::unwrap_used, reason = "a test may end where it stands; helpers of tests are tests too")]

use ds_forecast::estimate::StepEstimate;
use ds_forecast::hardware::hardware;
use ds_forecast::search::{Found, Judge, Layout, Machine, Reason, Space, search, space};
use ds_plan::spec::{JobSpec, Recompute, ScheduleKind, read};
use ds_plan::{IMBALANCE, JobPlan};

/// A job of a model, with lines for `parallel` and `train`.
fn job(model: &str, parallel: &str, train: &str) -> JobSpec {
    let text = format!(
        "version: 1\nkind: train\nname: test\nmodel: {{ preset: {model} }}\n\
         data: {{ train: /data/train, tokenizer: bytes }}\nparallel: {{ {parallel} }}\n\
         train:\n  - {{ steps: 10, {train}, learning_rate: {{ peak: 1.0e-3, pieces: [{{ shape: constant, steps: 10 }}] }} }}\n\
         precision: {{ compute: bf16 }}\ncluster: {{ device: cuda }}\n"
    );
    read(&text, "job.yaml", &[]).unwrap_or_else(|error| panic!("{error}")).spec
}

fn tiny() -> JobSpec {
    job("tiny", "pipeline: 2, data: 4, expert: 4", "sequence: 32, batch: 64, microbatch: 2")
}

fn machine() -> Machine {
    Machine::new(hardware("H100").unwrap(), None)
}

fn searched(base: &JobSpec, space: &Space) -> Found {
    search(base, space, &machine(), &mut |_, _| ())
}

/// What holds for every search.
fn holds(base: &JobSpec, space: &Space, found: &Found) {
    let rejected: usize = found.rejected.iter().map(|reason| reason.count).sum();
    assert_eq!(found.n_enumerated, found.ranked.len() + rejected);
    let layouts = space.layouts();
    assert_eq!(found.n_enumerated, layouts.len());
    for (i, layout) in layouts.iter().enumerate() {
        assert!(!layouts[..i].contains(layout), "{layout} twice");
    }
    for one in &found.ranked {
        assert!(one.memory.total() <= space.memory_bytes, "{}", one.layout);
        assert_eq!(one.layout.n_ranks(), u64::from(space.n_gpus), "{}", one.layout);
        // A plan that is made afresh says the same as the one that was changed in place.
        let plan = JobPlan::new(one.layout.apply(base)).unwrap();
        let largest = (0..one.layout.pipeline).map(|p| plan.memory_at(p, IMBALANCE).total()).max().unwrap();
        assert_eq!(largest, one.memory.total(), "{}", one.layout);
        assert_eq!(machine().forecast(&plan).unwrap(), one.forecast, "{}", one.layout);
    }
    let seconds: Vec<f64> = found.ranked.iter().map(|one| one.forecast.seconds()).collect();
    assert!(seconds.windows(2).all(|pair| pair[0] <= pair[1]), "{seconds:?}");
}

#[test]
fn everything_that_is_enumerated_is_ranked_or_rejected_and_what_is_ranked_fits() {
    let base = tiny();
    for memory_bytes in [1 << 40, 4 << 20, 2 << 20, 1 << 20, 1] {
        let space = space(&base, 8, 8, memory_bytes);
        holds(&base, &space, &searched(&base, &space));
    }
}

#[test]
fn the_first_is_at_least_as_fast_as_the_jobs_own_layout() {
    let base = tiny();
    let found = searched(&base, &space(&base, 8, 8, 1 << 40));
    let Some(Ok(own)) = found.own else { panic!("{:?}", found.own) };
    assert_eq!(found.ranked[own].layout, Layout::of(&base));
    assert!(found.ranked[0].forecast.seconds() <= found.ranked[own].forecast.seconds());
}

#[test]
fn a_layout_that_is_out_of_the_ordinary_is_looked_at_when_it_is_the_jobs_own() {
    let mut base = tiny();
    base.train[0].batch = 96;
    base.train[0].microbatch = 3;
    let space = space(&base, 8, 8, 1 << 40);
    let found = searched(&base, &space);
    assert!(matches!(found.own, Some(Ok(_))), "{:?}", found.own);
    holds(&base, &space, &found);
}

#[test]
fn what_is_said_to_be_too_large_at_once_has_a_plan_that_is_too_large() {
    let base = tiny();
    let all = space(&base, 8, 8, 1 << 40);
    let roomy = searched(&base, &all);
    for memory_bytes in [8 << 20, 3 << 20, 2 << 20] {
        let mut space = all.clone();
        space.memory_bytes = memory_bytes;
        let found = searched(&base, &space);
        // Of what fits into plenty of memory, exactly what needs no more than there is is left.
        let fit = roomy.ranked.iter().filter(|one| one.memory.total() <= memory_bytes).count();
        assert_eq!(found.ranked.len(), fit, "{memory_bytes}");
    }
}

#[test]
fn a_rejection_names_the_rule_and_both_numbers() {
    let base = tiny();
    let found = searched(&base, &space(&base, 8, 8, 2 << 20));
    for rejected in &found.rejected {
        let text = rejected.reason.to_string();
        assert!(text.chars().any(|c| c.is_ascii_digit()), "{text}");
        assert_eq!(rejected.reason.kind(), rejected.kind);
    }
    let of = |kind: &str| found.rejected.iter().find(|r| r.kind.starts_with(kind)).map(|r| r.reason.to_string());
    let memory = of("memory").unwrap();
    assert!(memory.contains("a GPU has 2.0 MiB"), "{memory}");
    let layers = of("more stages than layers").unwrap();
    assert!(layers.contains("stages need as many layers, model.n_layers is 4"), "{layers}");
}

#[test]
fn of_layouts_for_which_memory_is_too_small_the_closest_is_the_example() {
    let base = tiny();
    let plenty = searched(&base, &space(&base, 8, 8, 1 << 40));
    let least = plenty.ranked.iter().map(|one| one.memory.total()).min().unwrap();
    let found = searched(&base, &space(&base, 8, 8, least - 1));
    assert!(found.ranked.is_empty());
    let too_much: Vec<u64> = found
        .rejected
        .iter()
        .filter_map(|r| if let Reason::Memory { memory, .. } = &r.reason { Some(memory.total()) } else { None })
        .collect();
    assert_eq!(too_much.into_iter().min(), Some(least));
}

/// Says that every step takes as long as it has microbatches.
struct Counts;

impl Judge for Counts {
    fn forecast(&self, plan: &JobPlan) -> Result<StepEstimate, String> {
        let mut one = machine().forecast(plan)?;
        one.parts.truncate(1);
        one.parts[0].seconds = f64::from(plan.n_microbatches());
        if plan.n_microbatches() > 100 { Err("too many".to_owned()) } else { Ok(one) }
    }
}

#[test]
fn whoever_judges_decides_the_order_and_may_refuse() {
    let base = job("tiny", "pipeline: 2, data: 4, expert: 4", "sequence: 32, batch: 512, microbatch: 2");
    let space = space(&base, 8, 8, 1 << 40);
    let found = search(&base, &space, &Counts, &mut |_, _| ());
    let fewest = found.ranked[0].layout;
    assert_eq!(fewest.microbatch, 8, "{fewest}");
    assert!(found.rejected.iter().any(|r| r.reason == Reason::NoForecast("too many".to_owned())));
}

#[test]
fn the_flags_of_a_layout_give_the_job_that_layout() {
    let base = tiny();
    let layout = Layout {
        pipeline: 4,
        data: 2,
        expert: 2,
        schedule: ScheduleKind::ZbH1,
        zero: 1,
        recompute: Recompute::Full,
        microbatch: 4,
        ..Layout::of(&base)
    };
    let sets: Vec<(String, String)> = layout
        .flags()
        .split(' ')
        .filter_map(|word| word.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    let text = ds_plan::spec::to_yaml(&base);
    assert_eq!(Layout::of(&read(&text, "job.yaml", &sets).unwrap().spec), layout);
}

#[test]
fn progress_ends_with_all_of_them() {
    let base = tiny();
    let mut told = Vec::new();
    let found = search(&base, &space(&base, 8, 8, 1 << 40), &machine(), &mut |done, all| told.push((done, all)));
    assert_eq!(told.last(), Some(&(found.n_enumerated, found.n_enumerated)));
    assert!(told.windows(2).all(|pair| pair[0].0 < pair[1].0), "{told:?}");
}
