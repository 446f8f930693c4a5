use ds_plan::schedule::Pass;

use super::super::event::{Epoch, Straggler};
use super::super::job::{Copies, Options};
use super::super::{Run, Span, Stream, simulate};
use super::fabric::Planes;
use super::jobs::Owned;

fn planes() -> Planes {
    Planes::new(8, 4, 4, 2)
}

fn run_on(job: &Owned, mut planes: Planes, options: &Options) -> Run {
    let down = planes.down();
    job.with(|job| {
        let mut epochs = [Epoch { from: 0.0, routes: &mut planes, down }];
        simulate(job, &mut epochs, options).expect("it runs")
    })
}

fn run(job: &Owned) -> Run {
    run_on(job, planes(), &Options::default())
}

#[test]
fn replicas_fare_alike_and_are_played_once() {
    let run = run(&Owned::new(2, 2, 8, 4));
    assert!(run.n_ranks_played() <= 4, "{} of {} ranks are played", run.n_ranks_played(), run.n_ranks());
    let alone = run_on(&Owned::new(2, 2, 8, 4), planes(), &Options { reuse: false, ..Options::default() });
    assert_eq!(alone.n_ranks_played(), 32);
}

#[test]
fn a_stream_does_one_thing_at_a_time() {
    for job in [Owned::new(4, 1, 8, 8), Owned::new(4, 1, 8, 8).overlapped()] {
        let run = run(&job);
        for rank in 0..run.n_ranks() {
            for stream in [Stream::Compute, Stream::Exchange] {
                let mut spans: Vec<_> = run.spans(rank).filter(|span| span.stream == stream).collect();
                spans.sort_by(|a, b| a.start.total_cmp(&b.start));
                for pair in spans.windows(2) {
                    assert!(pair[0].end <= pair[1].start, "{pair:?}");
                }
            }
        }
    }
}

#[test]
fn links_carry_as_much_whether_or_not_it_is_played_once() {
    let job = Owned::new(2, 2, 8, 4).overlapped();
    let (once, each) = (run(&job), run_on(&job, planes(), &Options { reuse: false, ..Options::default() }));
    for link in 0..once.n_links() {
        let (a, b) = (once.link(link).bytes, each.link(link).bytes);
        assert!((a - b).abs() <= 1e-9 * b, "link {link}: {a} {b}");
        assert!(b <= each.link(link).capacity * each.seconds() * (1.0 + 1e-9), "link {link} carried more than it can");
    }
}

#[test]
fn hiding_exchanges_behind_computation_makes_a_step_shorter() {
    let (serial, overlapped) = (run(&Owned::new(1, 1, 16, 16)), run(&Owned::new(1, 1, 16, 16).overlapped()));
    assert!(overlapped.seconds() < serial.seconds(), "{} {}", overlapped.seconds(), serial.seconds());
}

#[test]
fn nothing_gets_faster_by_stragglers_lost_planes_or_skew() {
    let job = Owned::new(2, 2, 8, 6).overlapped();
    let base = run(&job).seconds();
    let options = Options { stragglers: vec![Straggler { rank: 3, factor: 1.5 }], ..Options::default() };
    assert!(run_on(&job, planes(), &options).seconds() > base);
    let mut lost = planes();
    lost.lost = vec![2];
    assert!(run_on(&job, lost, &Options::default()).seconds() > base);
    assert!(run(&Owned::new(2, 2, 8, 6).overlapped().skewed(1.2)).seconds() > base);
}

#[test]
fn jitter_follows_from_its_seed() {
    let job = Owned::new(2, 1, 8, 4);
    let with = |seed| run_on(&job, planes(), &Options { jitter: 0.05, seed, ..Options::default() }).seconds();
    assert_eq!(with(1), with(1));
    assert_ne!(with(1), with(2));
    assert!(with(1) > run(&job).seconds(), "groups wait for their slowest rank");
}

#[test]
fn steps_follow_each_other() {
    let job = Owned::new(2, 1, 8, 4);
    let ends = run_on(&job, planes(), &Options { steps: 3, ..Options::default() }).step_ends();
    let one = run(&job).seconds();
    assert_eq!(ends[0], one);
    for (step, end) in ends.iter().enumerate() {
        let expected = one * (step + 1) as f64;
        assert!((end - expected).abs() < 0.02 * expected, "{ends:?}");
    }
}

/// The step with a plane that is lost at a time, and comes back at another.
fn with_a_lost_plane(job: &Owned, at: f64, until: f64, reuse: bool) -> Run {
    let (mut before, mut without, mut after) = (planes(), planes(), planes());
    without.lost = vec![1];
    let down = without.down();
    job.with(|job| {
        let mut epochs = [
            Epoch { from: 0.0, routes: &mut before, down: Vec::new() },
            Epoch { from: at, routes: &mut without, down },
            Epoch { from: until, routes: &mut after, down: Vec::new() },
        ];
        simulate(job, &mut epochs, &Options { reuse, ..Options::default() }).expect("it runs")
    })
}

#[test]
fn a_plane_that_is_lost_on_the_way_costs_less_than_one_that_was_never_there() {
    let job = Owned::new(2, 2, 8, 6).overlapped();
    let whole = run(&job).seconds();
    let mut lost = planes();
    lost.lost = vec![1];
    let never = run_on(&job, lost, &Options::default()).seconds();
    let (middle, late) = (0.5 * whole, 10.0 * whole);
    let on_the_way = with_a_lost_plane(&job, middle, late, true).seconds();
    assert!(whole < on_the_way && on_the_way < never, "{whole} {on_the_way} {never}");
    let repaired = with_a_lost_plane(&job, 0.3 * whole, 0.6 * whole, true).seconds();
    assert!(whole < repaired && repaired < never, "{whole} {repaired} {never}");
    // What happens after the end changes nothing.
    assert_eq!(with_a_lost_plane(&job, late, 2.0 * late, true).seconds(), whole);
}

#[test]
fn reuse_changes_nothing_when_a_plane_is_lost_on_the_way() {
    let job = Owned::new(2, 2, 8, 4).overlapped();
    let whole = run(&job).seconds();
    let (once, each) = (
        with_a_lost_plane(&job, 0.41 * whole, 0.63 * whole, true),
        with_a_lost_plane(&job, 0.41 * whole, 0.63 * whole, false),
    );
    for rank in 0..once.n_ranks() {
        for (a, b) in once.spans(rank).zip(each.spans(rank)) {
            assert!((a.end - b.end).abs() <= 1e-10 * b.end, "rank {rank}: {a:?} {b:?}");
        }
    }
}

#[test]
fn copies_cost_what_their_shares_take_over_the_slowest_link() {
    let mut job = Owned::new(2, 2, 8, 4);
    let before = run(&job);
    job.copies = vec![Copies { pipelines: vec![0, 1], bytes: 10e6 }];
    let each = run_on(&job, planes(), &Options { reuse: false, ..Options::default() });
    let once = run(&job);
    assert!((once.seconds() - each.seconds()).abs() < 1e-9 * each.seconds());
    for rank in 0..once.n_ranks() {
        let span = once.spans(rank).find(|span| span.label == "sum of copies").expect("every rank sums");
        let (alone, link) = once.alone(span.template.expect("messages"));
        assert!(link.is_some() && alone >= 10e6 / once.link(link.unwrap()).capacity);
        assert!(span.end - span.opened >= alone * (1.0 - 1e-9), "{span:?}");
    }
    assert!(once.seconds() > before.seconds());
}

#[test]
fn more_rows_of_an_expert_make_its_weight_gradients_longer() {
    let (even, skewed) = (Owned::new(1, 1, 8, 2).split(), Owned::new(1, 1, 8, 2).split().skewed(1.0));
    let longest = |job: &Owned| {
        let run = run(job);
        let weight = |rank: u32| -> Vec<f64> {
            let own = |span: &Span| span.piece.is_some_and(|piece| piece.pass == Pass::BackwardWeight);
            run.spans(rank).filter(|span| own(span) && span.label == "experts").map(|s| s.end - s.start).collect()
        };
        (0..run.n_ranks()).map(weight).collect::<Vec<_>>()
    };
    let (even, skewed) = (longest(&even), longest(&skewed));
    let longer = |rank: usize| skewed[rank].iter().zip(&even[rank]).map(|(a, b)| a / b).collect::<Vec<f64>>();
    let all: Vec<f64> = (0..even.len()).flat_map(longer).collect();
    assert!(all.iter().any(|&ratio| ratio > 1.1) && all.iter().any(|&ratio| ratio < 0.9), "{all:?}");
}
