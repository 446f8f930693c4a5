//! What exchanges give, whatever tokens choose.

use std::thread;
use std::time::Duration;

use ds_model::{ExpertExchange, SummingExchange, Visits};
use ds_plan::{GroupId, RankId};
use ds_topology::traffic::moe::Random;
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

    fn experts(&self, rank: usize) -> Tensor {
        Tensor::from_slice(&self.experts[rank]).view([self.n_tokens(rank) as i64, self.k as i64])
    }

    /// Runs `body` on every rank.
    fn run<T: Send>(&self, body: impl Fn(usize, &dyn SummingExchange) -> T + Sync) -> Vec<T> {
        thread::scope(|scope| {
            let ranks: Vec<_> = threads(self.n_ranks())
                .into_iter()
                .enumerate()
                .map(|(rank, endpoint)| {
                    let body = &body;
                    scope.spawn(move || {
                        let exchange = self.exchange(rank, &endpoint);
                        let ledger = Ledger::open();
                        let booked = exchange.booked(&ledger);
                        let result = body(rank, booked.summing().unwrap());
                        endpoint.close();
                        result
                    })
                })
                .collect();
            ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
        })
    }

    fn exchange(&self, rank: usize, endpoint: &Endpoint) -> CommExchange {
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
            n_local: self.n_local,
            formats: Formats::COMPUTE,
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
    exchange.route(&case.experts(rank), &case.weights(rank)).unwrap()
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

#[test]
fn rows_of_an_expert_stand_together_in_the_order_of_their_ranks() {
    let arrived_from = vec![vec![2, 1], vec![1, 2]];
    let route = Route { sent: vec![], arrived: vec![3, 3], arrived_from };
    let order = Vec::<i64>::try_from(by_expert(&route).unwrap()).unwrap();
    assert_eq!(order, [0, 1, 3, 2, 4, 5]);
}
