use std::collections::BTreeMap;

use ds_plan::JobPlan;
use ds_plan::schedule::{Action, Pass, Piece};
use ds_plan::spec::read;
use ds_topology::EndpointId;
use ds_topology::fabric::Fabric;
use ds_topology::routing::{FabricRoutes, Policy};

use super::super::event::Epoch;
use super::super::expected::record;
use super::super::job::{Options, StepJob};
use super::super::{Run, SimulateError, Stage, replay, simulate};
use super::fabric::Planes;
use super::jobs::Owned;
use crate::Part;
use crate::hardware::hardware;
use crate::recorded::{Does, Event, Measured, Meeting, Prices, Recorder, StepRecord, report};

fn planes() -> Planes {
    Planes::new(8, 4, 4, 2)
}

fn on_planes(record: &StepRecord, job: &StepJob<'_>) -> Run {
    let price = |rank: u32, event: &Event| {
        let Does::Compute { part, load } = event.does else { return 0.0 };
        let Some(piece) = event.piece else { return job.closing[(rank / job.per_pipeline) as usize].optimizer_seconds };
        match job.stages[piece.stage.0 as usize].part(piece.pass, part) {
            Some(Part::Compute { seconds, experts_of, .. }) => seconds * experts_of.map_or(1.0, |_| load),
            other => panic!("{other:?} is no computation"),
        }
    };
    let stage = Stage { seats: job.seats, seconds: &price, overhead_seconds: 1e-5 };
    let mut planes = planes();
    let down = planes.down();
    replay(record, &stage, &mut [Epoch { from: 0.0, routes: &mut planes, down }]).expect("it runs")
}

fn expected(job: &StepJob<'_>, measured: Option<&Measured>) -> Result<StepRecord, SimulateError> {
    let mut planes = planes();
    let down = planes.down();
    record(job, &mut Epoch { from: 0.0, routes: &mut planes, down }, measured)
}

#[test]
fn what_the_simulator_plays_takes_as_long_when_it_is_recorded_and_played_again() {
    let jobs = [
        Owned::new(2, 2, 8, 4),
        Owned::new(4, 1, 8, 6).split(),
        Owned { contention: (1.0, 1.0), ..Owned::new(2, 2, 8, 4).overlapped() },
        Owned::new(2, 2, 8, 4).skewed(1.2),
    ];
    for job in jobs {
        job.with(|job| {
            let again = on_planes(&expected(job, None).expect("a record"), job);
            let mut planes = planes();
            let down = planes.down();
            let mut epochs = [Epoch { from: 0.0, routes: &mut planes, down }];
            let played = simulate(job, &mut epochs, &Options { reuse: false, ..Options::default() }).expect("it runs");
            let (ours, theirs) = (again.seconds(), played.seconds());
            assert!((ours / theirs - 1.0).abs() < 1e-9, "{ours} {theirs}");
            for link in 0..played.n_links() {
                let (a, b) = (again.link(link).bytes, played.link(link).bytes);
                assert!((a - b).abs() <= 1e-6 * b.max(1.0), "link {link}: {a} {b}");
            }
        });
    }
}

/// What a record says of its exchanges, as a run would have measured it; `longer` times the bytes of a rank.
fn measured(record: &StepRecord, job: &StepJob<'_>, longer: impl Fn(u32) -> f64) -> Measured {
    let mut measured = Measured::default();
    for (rank, events) in (0..).zip(&record.ranks) {
        let mut next: BTreeMap<Piece, usize> = BTreeMap::new();
        for event in events {
            let (Some(piece), Does::Meet { sends, .. }) = (event.piece, &event.does) else { continue };
            let exchanges: Vec<&Part> = (0..)
                .map_while(|part| job.stages[piece.stage.0 as usize].part(piece.pass, part))
                .filter(|part| matches!(part, Part::Exchange { .. }))
                .collect();
            let place = next.entry(piece).or_default();
            let Part::Exchange { layer, exchange, .. } = *exchanges[*place] else { continue };
            *place += 1;
            let sends = sends.iter().map(|&(to, bytes)| (to, bytes * longer(rank))).collect();
            measured.sent(rank, piece, layer, exchange, sends);
            measured.works_on(rank, piece, layer, 100.0 * longer(rank));
        }
    }
    measured
}

#[test]
fn what_exchanges_measured_takes_the_place_of_what_was_expected() {
    Owned::new(2, 1, 8, 4).with(|job| {
        let planned = expected(job, None).expect("a record");
        let same = expected(job, Some(&measured(&planned, job, |_| 1.0))).expect("a record");
        assert_eq!(same, planned);
        // One rank has twice as much to send and to work on.
        let hot = measured(&planned, job, |rank| if rank == 3 { 2.0 } else { 1.0 });
        let hot = on_planes(&expected(job, Some(&hot)).expect("a record"), job).seconds();
        assert!(hot > 1.1 * on_planes(&planned, job).seconds());
        let nothing = expected(job, Some(&Measured::default())).expect_err("refused");
        assert_eq!(nothing.to_string(), "rank 0, action 0: the exchange of layer 0 was not measured");
    });
}

/// Eight nodes of one GPU under two leaves, whose way to the spine is four times too narrow.
const SPINE: &str =
    "{ version: 1, name: spine, nodes: 8, node: { gpus: 1, nics: 1, nic: { bandwidth: 400Gbps, latency: 1us } },
    network: { kind: fat_tree, radix: 5, oversubscription: 4, link: { bandwidth: 400Gbps, latency: 400ns } } }";

fn on_spine(record: &StepRecord) -> Run {
    let fabric = Fabric::parse(SPINE).expect("a fabric");
    let seats: Vec<EndpointId> = (0..record.ranks.len() as u32).map(EndpointId).collect();
    let mut routes = FabricRoutes::new(fabric, Policy::Static);
    let stage = Stage { seats: &seats, seconds: &|_, _| 1e-3, overhead_seconds: 1e-5 };
    replay(record, &stage, &mut [Epoch { from: 0.0, routes: &mut routes, down: Vec::new() }]).expect("it runs")
}

/// Groups of two ranks on different leaves that dispatch, compute and combine, twice; `busy` says which of them do.
fn exchanging(groups: &[[u32; 2]], busy: impl Fn(usize) -> bool) -> StepRecord {
    let mut record = StepRecord { groups: groups.iter().map(|g| g.to_vec()).collect(), ranks: vec![Vec::new(); 8] };
    for (group, ranks) in groups.iter().enumerate().filter(|(group, _)| busy(*group)) {
        for (rank, other) in [(ranks[0], ranks[1]), (ranks[1], ranks[0])] {
            let mut recorder = Recorder::default();
            for action in 0..2 {
                recorder.begin(Some(action));
                for (what, number) in [(Meeting::Dispatch, 0), (Meeting::Combine, 1)] {
                    let number = u64::from(2 * action) + number;
                    let meet = Does::Meet { group: group as u32, number, what, sends: vec![(other, 50e6)] };
                    recorder.then(None, Does::Compute { part: 0, load: 1.0 });
                    recorder.then(None, meet);
                }
            }
            record.ranks[rank as usize] = recorder.take();
        }
    }
    record
}

#[test]
fn two_expert_groups_that_share_an_oversubscribed_spine_take_longer_together_than_alone() {
    let groups = [[0, 4], [1, 5]];
    let together = on_spine(&exchanging(&groups, |_| true)).seconds();
    let alone = [0, 1].map(|one| on_spine(&exchanging(&groups, |group| group == one)).seconds());
    // Four milliseconds are computed, and all else takes twice as long.
    let exchanged = |seconds: f64| seconds - 4e-3;
    for alone in alone {
        let times = exchanged(together) / exchanged(alone);
        assert!((1.95..2.0).contains(&times), "{together} {alone} {times}");
    }
    // Two that share nothing do not.
    let within = [[0, 1], [4, 5]];
    let together = on_spine(&exchanging(&within, |_| true)).seconds();
    let alone = on_spine(&exchanging(&within, |group| group == 0)).seconds();
    assert!((together / alone - 1.0).abs() < 1e-12, "{together} {alone}");
}

#[test]
fn two_replays_of_one_record_are_identical_and_so_are_their_reports() {
    let record = exchanging(&[[0, 4], [1, 5]], |_| true);
    let text = serde_json::to_string(&record).expect("it is plain data");
    let read: StepRecord = serde_json::from_str(&text).expect("it reads");
    assert_eq!(read, record);
    let fabric = Fabric::parse(SPINE).expect("a fabric");
    let [first, second] = [on_spine(&record), on_spine(&read)].map(|run| report(&run, &fabric));
    assert_eq!(first, second);
}

#[test]
fn the_report_counts_every_byte_once_and_its_shares_make_a_whole() {
    let record = exchanging(&[[0, 4], [1, 5]], |_| true);
    let fabric = Fabric::parse(SPINE).expect("a fabric");
    let report = report(&on_spine(&record), &fabric);
    let sent = 4.0 * 4.0 * 50e6;
    assert!((report.planes.iter().map(|plane| plane.bytes).sum::<f64>() - sent).abs() < 1.0, "{report:?}");
    let s = report.shares;
    assert!((s.compute + s.exposed_communication + s.imbalance + s.bubble - 1.0).abs() < 1e-12, "{s:?}");
    // Half of the ranks do nothing; the others compute four times a millisecond.
    assert!((s.compute - 0.5 * 4e-3 / report.step_seconds).abs() < 1e-12, "{s:?}");
    assert!(s.exposed_communication > s.compute, "{s:?}");
    assert!(report.planes[0].busiest_link > report.planes[0].utilization, "{report:?}");
    assert!(report.text().contains("plane 0"), "{}", report.text());
}

#[test]
fn the_rank_that_comes_last_is_imbalance_to_the_others() {
    let mut record = exchanging(&[[0, 4]], |_| true);
    let fabric = Fabric::parse(SPINE).expect("a fabric");
    let even = report(&on_spine(&record), &fabric).shares;
    let late = record.ranks[4][0].clone();
    record.ranks[4].iter_mut().for_each(|event| event.after.iter_mut().for_each(|after| *after += 1));
    record.ranks[4].insert(0, late);
    record.ranks[4][1].after = vec![0];
    let uneven = report(&on_spine(&record), &fabric).shares;
    assert!(even.imbalance < 1e-9 && uneven.imbalance > 0.001, "{even:?} {uneven:?}");
}

#[test]
fn records_that_do_not_fit_together_are_refused_with_rank_group_and_operation() {
    let refused = |change: &dyn Fn(&mut StepRecord), sentence: &str| {
        let mut record = exchanging(&[[0, 4]], |_| true);
        change(&mut record);
        let seats: Vec<EndpointId> = (0..8).map(EndpointId).collect();
        let stage = Stage { seats: &seats, seconds: &|_, _| 0.0, overhead_seconds: 0.0 };
        let mut routes = FabricRoutes::new(Fabric::parse(SPINE).expect("a fabric"), Policy::Static);
        let mut epochs = [Epoch { from: 0.0, routes: &mut routes, down: Vec::new() }];
        let error = replay(&record, &stage, &mut epochs).expect_err("refused");
        assert!(matches!(error, SimulateError::Record(_)), "{error}");
        assert_eq!(error.to_string(), sentence);
    };
    refused(&|record| drop(record.ranks[4].pop()), "operation 3 of group 0: rank 4 never comes to it, rank 0 does");
    refused(
        &|record| record.ranks[0][1].after = vec![1],
        "rank 0, event 1: it waits for event 1, only earlier ones can have been over",
    );
    refused(
        &|record| {
            let does = Does::Send { to: 2, number: 7, bytes: 1.0 };
            record.ranks[3].push(Event { action: None, piece: None, after: Vec::new(), does });
        },
        "message 7 from rank 3 to rank 2: it is 1 times sent and 0 times taken",
    );
    refused(&|record| record.groups[0] = vec![0, 5], "rank 0, event 1: rank 4 is not in group 0");
}

#[test]
fn computations_cost_what_the_preset_says_and_experts_by_their_load() {
    let job = "version: 1\nkind: train\nname: tiny\nseed: 7\nmodel: { preset: tiny }\n\
        data: { train: train.txt, tokenizer: bytes }\nparallel: { pipeline: 2, expert: 4 }\ntrain:\n  \
        - { steps: 20, sequence: 32, batch: 32, microbatch: 1, learning_rate: { peak: 1.0e-3, warmup: 5 } }\n\
        cluster: { device: cuda }\n";
    let plan = JobPlan::new(read(job, "job.yaml", &[]).expect("it reads").spec).expect("a plan");
    let prices = Prices::new(&plan, &hardware("h800").expect("a machine"));
    let Some(&Action::One(piece)) = plan.actions(0).first() else { panic!("it begins with a forward") };
    assert_eq!(piece.pass, Pass::Forward);
    let of = |part: u32, load: f64| {
        let does = Does::Compute { part, load };
        prices.seconds(0, &Event { action: Some(0), piece: Some(piece), after: Vec::new(), does })
    };
    let (even, heavy): (Vec<f64>, Vec<f64>) =
        ((0..20).map(|part| of(part, 1.0)).collect(), (0..20).map(|p| of(p, 2.0)).collect());
    assert!(even.iter().sum::<f64>() > 0.0);
    let doubled = even.iter().zip(&heavy).filter(|(even, heavy)| **even > 0.0 && **heavy == 2.0 * **even).count();
    let same = even.iter().zip(&heavy).filter(|(even, heavy)| **even > 0.0 && heavy == even).count();
    assert!(doubled > 0 && same > 0, "{even:?} {heavy:?}");
    let does = Does::Compute { part: 0, load: 1.0 };
    assert!(prices.seconds(0, &Event { action: None, piece: None, after: Vec::new(), does }) > 0.0);
}
