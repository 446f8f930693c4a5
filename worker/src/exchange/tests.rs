//! What exchanges give, whatever tokens choose.

use std::thread;
use std::time::Duration;

use ds_kernels::fp8::ScaleRule;
use ds_kernels::fused::Permutation;
use ds_model::{ExpertExchange, SummingExchange, Visits};
use ds_plan::{GroupId, RankId};
use ds_topology::EndpointId;
use ds_topology::traffic::moe::{self, Demand, ExpertGroup, Forwarding, Gate, Mode, Random};
use ds_topology::traffic::{Frontier, Traffic};
use tch::{Device, Kind, Tensor};

use super::*;
use crate::comm::{Endpoint, threads};
use crate::step::Ledger;

const D: i64 = 3;

/// Nodes of ranks with experts, and the tokens of every rank.
#[derive(Clone, Debug)]
struct Case {
    n_nodes: usize,
    n_ranks_a_node: usize,
    n_local: usize,
    k: usize,
    /// Of every rank: the choices of its tokens.
    experts: Vec<Vec<i64>>,
}

impl Case {
    fn n_ranks(&self) -> usize {
        self.n_nodes * self.n_ranks_a_node
    }

    /// Tokens choose among experts `among`, each different ones; ranks have up to 6 tokens, or none.
    fn drawn(seed: u64, (n_nodes, n_ranks_a_node, n_local, k): (usize, usize, usize, usize), among: usize) -> Self {
        let mut random = Random::new(seed);
        let mut below = |n: usize| (random.next_u64() % n as u64) as usize;
        let of_rank = |_| {
            let n_tokens = below(7);
            let token = |_| {
                let mut left: Vec<i64> = (0..among as i64).collect();
                (0..k).map(|_| left.swap_remove(below(left.len()))).collect::<Vec<_>>()
            };
            (0..n_tokens).flat_map(token).collect()
        };
        let experts = (0..n_nodes * n_ranks_a_node).map(of_rank).collect();
        Self { n_nodes, n_ranks_a_node, n_local, k, experts }
    }

    fn n_tokens(&self, rank: usize) -> usize {
        self.experts[rank].len() / self.k
    }

    /// Every element of every token of every rank is another number.
    fn tokens(&self, rank: usize) -> Tensor {
        let n = self.n_tokens(rank) as i64;
        (Tensor::arange(n * D, (Kind::Double, Device::Cpu)) + (1000 * rank) as f64).view([n, D])
    }

    fn weights(&self, rank: usize) -> Tensor {
        let n = self.n_tokens(rank) as i64;
        let k = self.k as i64;
        (Tensor::arange(n * k, (Kind::Double, Device::Cpu)) * 0.01 + rank as f64 + 0.5).view([n, k])
    }

    fn permutation(&self, rank: usize) -> Permutation {
        let n_experts = (self.n_ranks() * self.n_local) as i64;
        Permutation::new(&self.experts(rank), n_experts, &self.tokens(rank)).unwrap()
    }

    fn experts(&self, rank: usize) -> Tensor {
        Tensor::from_slice(&self.experts[rank]).view([self.n_tokens(rank) as i64, self.k as i64])
    }

    /// Runs `body` on every rank, over nodes.
    fn run<T: Send>(&self, body: impl Fn(usize, &dyn SummingExchange) -> T + Sync) -> Vec<T> {
        self.run_any(true, Formats::COMPUTE, Endpoint::close, |rank, booked| body(rank, booked.summing().unwrap()))
    }

    /// Runs `body` on every rank, over nodes or from rank to rank; then each leaves.
    fn run_any<T: Send>(
        &self,
        over_nodes: bool,
        formats: Formats,
        leave: impl Fn(Endpoint) + Sync,
        body: impl Fn(usize, &Booked<'_>) -> T + Sync,
    ) -> Vec<T> {
        thread::scope(|scope| {
            let ranks: Vec<_> = threads(self.n_ranks())
                .into_iter()
                .enumerate()
                .map(|(rank, endpoint)| {
                    let (body, leave) = (&body, &leave);
                    scope.spawn(move || {
                        let mut exchange = self.exchange(rank, &endpoint, formats);
                        exchange.nodes = exchange.nodes.filter(|_| over_nodes);
                        let ledger = Ledger::open();
                        let result = body(rank, &exchange.booked(&ledger));
                        leave(endpoint);
                        result
                    })
                })
                .collect();
            ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
        })
    }

    fn exchange(&self, rank: usize, endpoint: &Endpoint, formats: Formats) -> CommExchange {
        let group = |id: usize, ranks: Vec<usize>| {
            let ranks: Vec<RankId> = ranks.into_iter().map(|rank| RankId(rank as u32)).collect();
            endpoint.group(GroupId(id as u32), &ranks)
        };
        let (each, n) = (self.n_ranks_a_node, self.n_ranks());
        let (node, index) = (rank / each, rank % each);
        let peers = group(1 + index, (0..n).filter(|r| r % each == index).collect());
        let node = group(100 + node, (0..n).filter(|r| r / each == node).collect());
        CommExchange {
            group: group(0, (0..n).collect()),
            nodes: Some(Nodes { peers, node }),
            context: None,
            n_on_node: each,
            n_local: self.n_local,
            formats,
            timeout: Duration::from_secs(60),
        }
    }
}

/// Sizes: nodes, ranks a node, experts a rank, choices.
fn cases() -> Vec<Case> {
    let sizes = [(1, 1, 4, 2), (2, 2, 2, 2), (4, 2, 2, 3), (2, 4, 1, 2), (3, 1, 2, 2), (1, 3, 2, 4)];
    let mut cases = Vec::new();
    for (seed, &(nodes, ranks, local, k)) in (0..6).flat_map(|seed| sizes.iter().map(move |size| (seed, size))) {
        let all = nodes * ranks * local;
        // The last two: no token of any rank chooses an expert of most nodes.
        for among in [all, all, (all / 2).max(k), k] {
            cases.push(Case::drawn(seed * 31 + among as u64, (nodes, ranks, local, k), among));
        }
    }
    cases
}

fn route(case: &Case, rank: usize, exchange: &dyn SummingExchange) -> Visits {
    exchange.route(&case.experts(rank), &case.weights(rank)).unwrap()().unwrap()
}

fn numbers(t: &Tensor) -> Vec<f64> {
    Vec::try_from(t.to_kind(Kind::Double).reshape([-1])).unwrap()
}

#[test]
fn no_token_is_dropped_and_rows_stand_by_expert_then_rank_then_token() {
    for case in cases() {
        let rows = case.run(|rank, exchange| {
            let visits = route(&case, rank, exchange);
            let came = exchange.dispatch(&visits, &case.tokens(rank)).unwrap()().unwrap();
            (visits.arrived.clone(), numbers(&visits.rows(&came).unwrap()))
        });
        for (rank, (arrived, rows)) in rows.into_iter().enumerate() {
            let (mut n_expected, mut expected) = (Vec::new(), Vec::new());
            for expert in (rank * case.n_local..(rank + 1) * case.n_local).map(|expert| expert as i64) {
                let mut n = 0;
                for home in 0..case.n_ranks() {
                    for (token, experts) in case.experts[home].chunks(case.k).enumerate() {
                        if experts.contains(&expert) {
                            n += 1;
                            expected.extend(numbers(&case.tokens(home).get(token as i64)));
                        }
                    }
                }
                n_expected.push(n);
            }
            assert_eq!((arrived, rows), (n_expected, expected), "rank {rank} of {case:?}");
        }
    }
}

#[test]
fn results_come_home_as_the_weighted_sum_of_all_experts() {
    for case in cases() {
        let homes = case.run(|rank, exchange| {
            let visits = route(&case, rank, exchange);
            let came = exchange.dispatch(&visits, &case.tokens(rank)).unwrap()().unwrap();
            // Expert e multiplies by e + 1.
            let factors: Vec<f64> = (0..case.n_local)
                .flat_map(|local| vec![(rank * case.n_local + local + 1) as f64; visits.arrived[local] as usize])
                .collect();
            let weighed = visits.rows(&came).unwrap() * (visits.weights() * Tensor::from_slice(&factors)).unsqueeze(1);
            numbers(&exchange.combine(&visits, &visits.sums(&weighed).unwrap()).unwrap()().unwrap())
        });
        for (rank, found) in homes.into_iter().enumerate() {
            let factor =
                (case.weights(rank) * (case.experts(rank) + 1)).sum_dim_intlist([1_i64].as_slice(), true, None);
            let expected = numbers(&(case.tokens(rank) * factor));
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() <= 1e-12 * expected.abs(), "rank {rank} of {case:?}");
            }
        }
    }
}

#[test]
fn what_belongs_to_a_choice_comes_back_to_it() {
    for case in cases() {
        let homes = case.run(|rank, exchange| {
            let visits = route(&case, rank, exchange);
            numbers(&exchange.return_weights(&visits, &visits.by_choice(visits.weights()).unwrap()).unwrap())
        });
        for (rank, found) in homes.into_iter().enumerate() {
            assert_eq!(found, numbers(&case.weights(rank)), "rank {rank} of {case:?}");
        }
    }
}

fn sum_of(bytes: Vec<ExchangeBytes>) -> ExchangeBytes {
    let mut sum = ExchangeBytes::default();
    bytes.into_iter().for_each(|of_rank| sum += of_rank);
    sum
}

/// Bytes across nodes and within, of the planner's traffic for the same choices.
fn planned(case: &Case, row_bytes: [f64; 2]) -> [f64; 2] {
    let endpoints: Vec<EndpointId> = (0..case.n_ranks() as u32).map(EndpointId).collect();
    let group = ExpertGroup::new(&endpoints, case.n_ranks_a_node as u32);
    let gate = Gate::new((case.n_ranks() * case.n_local) as u32, case.k as u32, 1, 1).unwrap();
    let of_rank = |experts: &Vec<i64>| {
        experts.chunks(case.k).map(|token| token.iter().map(|&expert| expert as u32).collect()).collect()
    };
    let choices: Vec<Vec<Vec<u32>>> = case.experts.iter().map(of_rank).collect();
    let demand = Demand::counted(&gate, &group, &choices);
    let mut traffic = Traffic::new();
    let (mode, start) = (Mode::Deduplicated(Forwarding::CutThrough), Frontier::start(group.len()));
    moe::dispatch(&mut traffic, &group, &demand, mode, row_bytes[0], &start);
    moe::combine(&mut traffic, &group, &demand, mode, row_bytes[1], &start);
    let all: f64 = traffic.messages().iter().map(|message| message.bytes).sum();
    let across = traffic.bytes_between_nodes(case.n_ranks_a_node as u32);
    [across, all - across]
}

#[test]
fn bytes_that_are_sent_are_those_of_the_planner_and_what_is_saved_is_what_the_plain_exchange_sends_more() {
    let formats = Formats { dispatch: Format::Fp8(ScaleRule::Exact), combine: Format::Bf16 };
    // E4M3 and a scale; two bytes an element.
    let row_bytes = [D as f64 + 4.0, 2.0 * D as f64];
    for case in cases() {
        let limited = case.run_any(true, formats, Endpoint::close, |rank, booked| {
            let exchange: &dyn SummingExchange = booked;
            let visits = route(&case, rank, exchange);
            let came = exchange.dispatch(&visits, &case.tokens(rank)).unwrap()().unwrap();
            let _ = exchange.combine(&visits, &came).unwrap()().unwrap();
            booked.ledger.exchanged()
        });
        let plain = case.run_any(false, formats, Endpoint::close, |rank, booked| {
            let exchange: &dyn ExpertExchange = booked;
            let permutation = case.permutation(rank);
            let route = exchange.route(permutation.counts.clone()).unwrap()().unwrap();
            let came = exchange.dispatch(&route, &permutation.spread(&case.tokens(rank)).unwrap()).unwrap()().unwrap();
            let _ = exchange.combine(&route, &came).unwrap()().unwrap();
            booked.ledger.exchanged()
        });
        let (limited, plain) = (sum_of(limited), sum_of(plain));
        assert_eq!([limited.across as f64, limited.within as f64], planned(&case, row_bytes), "{case:?}");
        assert_eq!(limited.across + limited.saved, plain.across, "{case:?}");
        assert_eq!(plain.saved, 0);
    }
}

/// The errors of all ranks but `spoiler`, which does not go on after its tokens were sent, or goes on wrongly.
fn errors(spoiler: usize, spoil: impl Fn(&dyn SummingExchange, &Visits, &Tensor) + Sync) -> Vec<String> {
    let case = Case::drawn(3, (2, 2, 2, 2), 8);
    let found = case.run_any(true, Formats::COMPUTE, drop, |rank, booked| {
        let exchange = booked.summing().unwrap();
        let arrived =
            exchange.route(&case.experts(rank), &case.weights(rank)).and_then(|coming| coming()).and_then(|visits| {
                let came = exchange.dispatch(&visits, &case.tokens(rank))?()?;
                Ok((visits, came))
            });
        if rank == spoiler {
            let (visits, came) = arrived.unwrap();
            spoil(exchange, &visits, &came);
            return None;
        }
        // A failure may overtake what was sent before it, and who needs nothing of the spoiler learns of it with what
        // follows.
        let error = arrived.and_then(|(visits, came)| {
            let _ = exchange.combine(&visits, &came)?()?;
            exchange.return_weights(&visits, &came).map(|_| ())
        });
        Some(error.unwrap_err().to_string())
    });
    found.into_iter().flatten().collect()
}

#[test]
fn whoever_spoils_an_exchange_is_named_with_group_operation_and_number_and_nobody_hangs() {
    let vanishes = errors(1, |_, _, _| ());
    let sends_other_rows = errors(1, |exchange, visits, came| {
        let _ = exchange.combine(visits, &came.repeat([1, 2])).and_then(|arrival| arrival()).unwrap_err();
    });
    let sends_too_few = errors(1, |exchange, visits, came| {
        let _ = exchange.combine(visits, &came.narrow(0, 0, came.size()[0] - 1)).and_then(|arrival| arrival());
    });
    for error in vanishes.iter().chain(&sends_other_rows).chain(&sends_too_few) {
        for part in ["rank 1", "group", "all-to-all"] {
            assert!(error.contains(part), "{part:?} is not in {error:?}");
        }
        assert!(error.contains(" number ") || error.contains("operation "), "{error}");
    }
    assert_eq!(vanishes.len() + sends_other_rows.len() + sends_too_few.len(), 9);
}

#[test]
fn rows_of_an_expert_stand_together_in_the_order_of_their_ranks() {
    let arrived_from = vec![vec![2, 1], vec![1, 2]];
    let route = Route { sent: vec![], arrived: vec![3, 3], arrived_from };
    let order = Vec::<i64>::try_from(by_expert(&route).unwrap()).unwrap();
    assert_eq!(order, [0, 1, 3, 2, 4, 5]);
}
