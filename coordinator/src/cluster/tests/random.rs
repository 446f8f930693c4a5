//! Whatever happens in whatever order: no device has two owners, no effect is for an attempt that is over, ranks of an
//! attempt that is over are told to end, and every job ends.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::chaos::{Chaos, NODES};
use super::world::spec;
use crate::cluster::{Blame, ByRank, Event, RankRun};

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % n as u64) as usize
    }

    fn pick<T: Clone>(&mut self, all: impl IntoIterator<Item = T>) -> Option<T> {
        let all: Vec<T> = all.into_iter().collect();
        (!all.is_empty()).then(|| all[self.below(all.len())].clone())
    }
}

/// What happens next, and how often.
fn anything(chaos: &mut Chaos, chance: &mut Chance) {
    match chance.below(100) {
        0..=2 => submit(chaos, chance),
        3..=4 => {
            if let Some(job) = some_job(chaos, chance) {
                chaos.on(Event::Cancelled { job, at_once: chance.below(2) == 0 });
            }
        }
        5..=6 => {
            if let Some(job) = some_job(chaos, chance) {
                chaos.resume(&job);
            }
        }
        7..=8 => {
            if let Some(run) = some_rank(chaos, chance) {
                chaos.die(&run, None);
            }
        }
        9 => {
            if let Some(run) = some_rank(chaos, chance) {
                fail(chaos, chance, &run);
            }
        }
        10..=13 => chaos.attach(some_node(chance)),
        14 => chaos.detach(some_node(chance)),
        15 => chaos.kill_node(some_node(chance)),
        16 => chaos.restart(),
        17..=22 => chaos.wait(Duration::from_millis(1 << chance.below(13))),
        23..=50 => chaos.agent_speaks(some_node(chance)),
        _ => {
            if let Some(run) = some_rank(chaos, chance) {
                chaos.rank_speaks(&run);
            }
        }
    }
}

fn submit(chaos: &mut Chaos, chance: &mut Chance) {
    let mut spec = spec([1, 2, 4][chance.below(3)]);
    spec.cluster.share_devices = chance.below(6) == 0;
    chaos.submit(spec, chance.below(3) as i32);
}

fn fail(chaos: &mut Chaos, chance: &mut Chance, run: &RankRun) {
    let culprit = Some(chance.below(4) as u32).filter(|&culprit| culprit != run.rank);
    let blame = [Blame::Peer, Blame::World, Blame::User, Blame::Bug][chance.below(4)];
    let said = ByRank::Failed { blame, message: "no".to_owned(), culprit, step: 1 };
    chaos.on(Event::ByRank { run: run.clone(), said });
    chaos.die(run, Some(1));
}

fn some_node(chance: &mut Chance) -> &'static str {
    NODES[chance.below(NODES.len())].0
}

fn some_job(chaos: &Chaos, chance: &mut Chance) -> Option<String> {
    chance.pick(chaos.world.cluster.jobs().into_iter().map(|job| job.id.clone()))
}

fn some_rank(chaos: &Chaos, chance: &mut Chance) -> Option<RankRun> {
    chance.pick(chaos.alive())
}

fn live(chaos: &mut Chaos, mut chance: Chance) {
    for (node, _) in NODES {
        chaos.attach(node);
    }
    for _ in 0..600 {
        anything(chaos, &mut chance);
        chaos.check();
    }
    chaos.calm_down();
    chaos.world.assert_kept();
}

#[test]
fn whatever_happens_nothing_is_shared_nothing_is_stale_and_every_job_ends() {
    for seed in 0..300 {
        let mut chaos = Chaos::new();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| live(&mut chaos, Chance(seed)))) {
            let says = panic.downcast_ref::<String>().cloned().unwrap_or_default();
            let log = chaos.log[chaos.log.len().saturating_sub(200)..].join("\n");
            panic!("seed {seed}: {says}\n{log}");
        }
    }
}
