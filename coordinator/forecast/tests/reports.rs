//! Laws of reports: text, page and JSON say the same, and the parts of a step add up to it.
#![expect(clippy::unwrap_used, reason = "a test may end where it stands; helpers of tests are tests too")]

use ds_forecast::estimate::{Slowdown, dispatch_loads, played_timeline, slowdown};
use ds_forecast::hardware::{PRESETS, hardware};
use ds_forecast::page::html;
use ds_forecast::report::{Outlook, load_picture, outlook, page, schedule_picture, search_json, search_text};
use ds_forecast::search::{Judge as _, Machine, search, space};
use ds_forecast::workload::{Layout, Network};
use ds_plan::JobPlan;
use ds_plan::spec::{JobSpec, ScheduleKind, read};
use ds_topology::fabric::Fabric;

fn job(name: &str) -> JobSpec {
    let text = format!(
        "version: 1\nkind: train\nname: \"{name}\"\nmodel: {{ preset: tiny }}\n\
         data: {{ train: /data/train, tokenizer: bytes }}\nparallel: {{ pipeline: 2, data: 4, expert: 4 }}\n\
         train:\n  - {{ steps: 10, sequence: 32, batch: 64, microbatch: 2, learning_rate: {{ peak: 1.0e-3, pieces: [{{ shape: constant, steps: 10 }}] }} }}\n\
         precision: {{ compute: bf16 }}\ncluster: {{ device: cuda }}\n"
    );
    read(&text, "job.yaml", &[]).unwrap_or_else(|error| panic!("{error}")).spec
}

fn forecast(plan: &JobPlan, name: &str) -> Outlook {
    let machine = Machine::new(hardware(name).unwrap(), None);
    let estimate = machine.forecast(plan).unwrap();
    outlook(plan, &machine, None, &estimate, Some(1e12), vec!["nothing".to_owned()])
}

#[test]
fn parts_add_up_to_the_step_and_cost_follows_from_speed() {
    let plan = JobPlan::new(job("test")).unwrap();
    for name in PRESETS {
        let of = forecast(&plan, name);
        let sum: f64 = of.step.parts.iter().map(|part| part.seconds).sum();
        assert!((sum / of.step.seconds - 1.0).abs() < 1e-12, "{name}");
        let hours = of.training.tokens / of.step.tokens_per_second / 3600.0 * f64::from(of.gpus);
        assert!((hours / of.training.gpu_hours - 1.0).abs() < 1e-12, "{name}");
        assert!((of.training.dollars - hours * of.training.dollars_per_gpu_hour).abs() <= 1e-9 * hours, "{name}");
        assert!(of.step.mfu_causal < of.step.mfu && of.step.mfu < 1.0, "{name}: {}", of.step.mfu);
    }
}

#[test]
fn when_memory_is_too_small_memory_binds_and_text_and_page_say_by_how_much() {
    let plan = JobPlan::new(job("test")).unwrap();
    let mut machine = Machine::new(hardware("H800").unwrap(), None);
    machine.hardware.memory_bytes = 100_000.0;
    let estimate = machine.forecast(&plan).unwrap();
    let of = outlook(&plan, &machine, None, &estimate, None, Vec::new());
    assert!(!of.memory.fits && of.binds.what == "memory", "{:?}", of.binds);
    let too_much = ds_plan::bytes(of.memory.need_bytes - 100_000);
    for text in [of.to_string(), html(&page(&plan, &machine.hardware, &of, None, None))] {
        assert!(text.contains(&too_much), "{too_much}\n{text}");
    }
}

#[test]
fn a_page_of_a_plan_is_well_formed_self_contained_and_escapes_the_name_of_the_job() {
    let base = job("<script>alert(1)</script> & co");
    let plan = JobPlan::new(base.clone()).unwrap();
    let machine = Machine::new(hardware("H800").unwrap(), None);
    let found = search(&base, &space(&base, 8, 8, 1 << 40), &machine, &mut |_, _| ());
    let text = html(&page(&plan, &machine.hardware, &forecast(&plan, "H800"), None, Some(&found)));
    let body = text.strip_prefix("<!DOCTYPE html>\n").unwrap();
    roxmltree::Document::parse(body).unwrap_or_else(|error| panic!("{error}"));
    let text = text.replace("http://www.w3.org/2000/svg", "");
    for outside in ["http:", "https:", "url(", "href", "src=", "<script", "<link"] {
        assert!(!text.contains(outside), "{outside}");
    }
    for section in ["Step", "Memory", "Schedule", "Layout", "Search", "Assumptions"] {
        assert!(text.contains(&format!("<h2>{section}</h2>")), "{section}");
    }
}

#[test]
fn every_schedule_has_a_picture() {
    for (kind, n_virtual) in [
        (ScheduleKind::OneFOneB, 1),
        (ScheduleKind::GPipe, 1),
        (ScheduleKind::Interleaved, 2),
        (ScheduleKind::InterleavedZb, 2),
        (ScheduleKind::LoopedBfs, 2),
        (ScheduleKind::ZbH1, 1),
        (ScheduleKind::ZbV, 1),
        (ScheduleKind::DualPipe, 1),
        (ScheduleKind::DualPipeV, 1),
    ] {
        let mut base = job("test");
        (base.parallel.schedule, base.parallel.virtual_stages) = (kind, n_virtual);
        let plan = JobPlan::new(base).unwrap();
        let picture = schedule_picture(&plan, &hardware("H800").unwrap());
        let text = picture.unwrap_or_else(|| panic!("{kind} has none")).svg();
        roxmltree::Document::parse(&text).unwrap_or_else(|error| panic!("{kind}: {error}"));
    }
}

#[test]
fn text_and_json_of_a_search_name_the_same_first_layout_and_all_rejections() {
    let base = job("test");
    let machine = Machine::new(hardware("H800").unwrap(), None);
    let found = search(&base, &space(&base, 8, 8, 3 << 20), &machine, &mut |_, _| ());
    let (text, facts) = (search_text(&found), search_json(&found));
    let first = found.ranked[0].layout;
    assert!(text.contains(&first.to_string()) && text.contains(&first.flags()), "{text}");
    assert_eq!(facts["ranked"][0]["name"], first.to_string());
    assert_eq!(facts["ranked"].as_array().unwrap().len(), found.ranked.len());
    let counted: u64 = facts["rejected"].as_array().unwrap().iter().map(|r| r["count"].as_u64().unwrap()).sum();
    assert_eq!(counted + found.ranked.len() as u64, facts["enumerated"].as_u64().unwrap());
    assert!(found.rejected.iter().all(|r| text.contains(&r.reason.to_string())), "{text}");
}

#[test]
fn the_picture_of_a_schedule_ends_when_its_step_does() {
    let mut base = job("test");
    base.parallel.schedule = ScheduleKind::DualPipe;
    let plan = JobPlan::new(base).unwrap();
    let of = forecast(&plan, "H800");
    let (network, layout) = (Network::from(&plan.spec().model), Layout::of(&plan));
    let played = played_timeline(&hardware("H800").unwrap(), &network, &layout).unwrap();
    let ends = ["data", "copies", "optimizer", "gather", "fixed"];
    let pipeline: f64 = of.step.parts.iter().filter(|p| !ends.contains(&p.name)).map(|p| p.seconds).sum();
    assert!((played.end() as f64 * 1e-9 / pipeline - 1.0).abs() < 1e-3, "{} {pipeline}", played.end());
}

const FABRIC: &str = "version: 1\nname: two nodes\nnodes: 2\nnode:\n  gpus: 4\n  nics: 4\n  \
    within: { kind: nvlink, bandwidth: 160GB/s, latency: 1us }\n  nic: { bandwidth: 400Gbps, latency: 1us }\nnetwork: \
    { kind: multi_plane_fat_tree, planes: 4, radix: 8, link: { bandwidth: 400Gbps, latency: 400ns } }\n";

#[test]
fn a_lost_plane_slows_a_dispatch_by_what_the_others_carry_for_it_and_a_whole_fabric_by_nothing() {
    let base = "version: 1\nkind: train\nname: wide\nmodel: { preset: tiny }\n\
        data: { train: /data/train, tokenizer: bytes }\nparallel: { data: 8, expert: 8 }\n\
        train:\n  - { steps: 10, sequence: 32, batch: 64, microbatch: 2, learning_rate: { peak: 1.0e-3 } }\n";
    let plan = JobPlan::new(read(base, "job.yaml", &[]).unwrap_or_else(|error| panic!("{error}")).spec).unwrap();
    let machine = hardware("H100").unwrap();
    let whole = Fabric::parse(FABRIC).unwrap();
    assert_eq!(slowdown(&plan, &machine, &whole).unwrap(), Slowdown { network: 1.0, inside: 1.0 });
    let lost = whole.with_faults(&["plane=3:down".parse().unwrap()]).unwrap();
    let cost = slowdown(&plan, &machine, &lost).unwrap();
    // Three cards carry what four did, at best evenly; by static routes one of them carries the lost one's whole share.
    assert!(cost.network >= 4.0 / 3.0 - 1e-9 && cost.network <= 2.0 + 1e-9, "{cost:?}");
    let faster = Machine::new(machine.clone(), Some(&lost));
    let slower = faster.clone().slowed(cost);
    let seconds = |machine: &Machine| machine.forecast(&plan).unwrap().seconds();
    assert!(seconds(&slower) > seconds(&faster));

    let loads = dispatch_loads(&plan, &machine, &lost).unwrap();
    let picture = load_picture(&lost, &loads).svg();
    assert!(picture.contains("plane 2") && picture.contains("down"), "{picture}");
}
