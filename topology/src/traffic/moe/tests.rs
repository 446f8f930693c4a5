use super::*;
use crate::EndpointId;
use crate::Routes as _;
use crate::flow::{Weighting, simulate};
use crate::traffic::star::Star;
use crate::traffic::{Frontier, Traffic};

fn group(nodes: u32, per_node: u32) -> ExpertGroup {
    let endpoints: Vec<EndpointId> = (0..nodes * per_node).map(EndpointId).collect();
    ExpertGroup::new(&endpoints, per_node)
}

const DEDUPLICATED: Mode = Mode::Deduplicated(Forwarding::CutThrough);

fn rows(demand: &Demand, group: &ExpertGroup, mode: Mode, back: bool) -> Traffic {
    let mut traffic = Traffic::new();
    let exchange = if back { combine } else { dispatch };
    exchange(&mut traffic, group, demand, mode, 1.0, &Frontier::start(group.len()));
    traffic
}

fn assert_close(a: f64, b: f64, tolerance: f64) {
    assert!((a - b).abs() <= tolerance * b.abs(), "{a} is not {b}");
}

/// Every way in which a token can choose, all equally likely.
fn all_choices(n_experts: u32, top_k: u32, n_groups: u32, picked: u32) -> Vec<Vec<u32>> {
    let subsets = |items: &[u32], k: u32| -> Vec<Vec<u32>> {
        (0..1_u32 << items.len())
            .filter(|set| set.count_ones() == k)
            .map(|set| items.iter().enumerate().filter(|(i, _)| set >> i & 1 == 1).map(|(_, &item)| item).collect())
            .collect()
    };
    let size = n_experts / n_groups;
    let mut all = Vec::new();
    for groups in subsets(&(0..n_groups).collect::<Vec<_>>(), picked) {
        let eligible: Vec<u32> = groups.iter().flat_map(|group| group * size..(group + 1) * size).collect();
        all.extend(subsets(&eligible, top_k));
    }
    all
}

#[test]
fn expected_rows_are_the_mean_over_every_choice() {
    for (n_experts, top_k, n_groups, picked, nodes, per_node) in
        [(8, 3, 4, 2, 2, 2), (8, 2, 4, 2, 4, 1), (12, 4, 3, 2, 2, 3), (6, 2, 1, 1, 3, 1), (8, 3, 2, 1, 2, 4)]
    {
        let gate = Gate::new(n_experts, top_k, n_groups, picked).expect("a gate");
        let group = group(nodes, per_node);
        let demand = Demand::expected(&gate, &group, 1.0);
        let choices = all_choices(n_experts, top_k, n_groups, picked);
        let share = |hit: &dyn Fn(u32) -> bool| {
            choices.iter().filter(|choice| choice.iter().any(|&e| hit(e))).count() as f64 / choices.len() as f64
        };
        for place in 0..group.len() {
            let hit = share(&|expert| group.rank_of(&gate, expert) == place);
            assert_close(demand.to_rank(0, place), hit, 1e-12);
        }
        for node in 0..group.n_nodes() {
            let hit = share(&|expert| group.node_of(group.rank_of(&gate, expert)) == node);
            assert_close(demand.to_node(0, node), hit, 1e-12);
        }
    }
}

#[test]
fn many_drawn_tokens_come_close_to_what_is_expected() {
    let gate = Gate::new(64, 6, 8, 3).expect("a gate");
    let group = group(4, 4);
    let expected = Demand::expected(&gate, &group, 1.0);
    let drawn = Demand::sampled(&gate, &group, &Popularity::uniform(), 4000, 11);
    for to in 0..group.len() {
        let mean: f64 = (0..16).map(|from| drawn.to_rank(from, to)).sum::<f64>() / 64_000.0;
        assert_close(mean, expected.to_rank(0, to), 0.02);
    }
    for node in 0..4 {
        let mean: f64 = (0..16).map(|from| drawn.to_node(from, node)).sum::<f64>() / 64_000.0;
        assert_close(mean, expected.to_node(0, node), 0.02);
    }
}

#[test]
fn rows_of_drawn_tokens_are_those_of_a_token_by_token_count() {
    let gate = Gate::new(32, 4, 4, 2).expect("a gate");
    let group = group(4, 2);
    let popularity = Popularity::zipf(32, 1.0, 5);
    let demand = Demand::sampled(&gate, &group, &popularity, 50, 9);
    let (mut plain, mut across, mut forwarded) = (0.0, 0.0, 0.0);
    for from in 0..group.len() {
        let mut random = Random::part(9, from as u64);
        for _ in 0..50 {
            let mut experts = Vec::new();
            gate.draw(&popularity, &mut random, &mut experts);
            let mut ranks: Vec<usize> = experts.iter().map(|&e| group.rank_of(&gate, e)).collect();
            ranks.dedup();
            let mut nodes: Vec<usize> = ranks.iter().map(|&rank| group.node_of(rank)).collect();
            nodes.dedup();
            plain += ranks.iter().filter(|&&rank| rank != from).count() as f64;
            let away = nodes.iter().filter(|&&node| node != group.node_of(from));
            across += away.count() as f64;
            let relay = |rank: usize| {
                if group.node_of(rank) == group.node_of(from) { from } else { group.peer(from, group.node_of(rank)) }
            };
            forwarded += ranks.iter().filter(|&&rank| rank != relay(rank)).count() as f64;
            assert!(nodes.len() <= 2, "a token crosses to no more nodes than groups that it picks");
        }
    }
    for back in [false, true] {
        let sum = |traffic: Traffic| traffic.messages().iter().map(|m| m.bytes).sum::<f64>();
        assert_eq!(sum(rows(&demand, &group, Mode::Plain, back)), plain);
        let deduplicated = rows(&demand, &group, DEDUPLICATED, back);
        assert_eq!(deduplicated.bytes_between_nodes(2), across);
        assert_eq!(sum(deduplicated), across + forwarded);
    }
}

#[test]
fn what_goes_out_comes_in_and_returns_the_way_it_came() {
    let gate = Gate::new(64, 6, 8, 3).expect("a gate");
    let group = group(4, 4);
    for seed in 0..4 {
        let demand = Demand::sampled(&gate, &group, &Popularity::zipf(64, 1.2, seed), 100, seed);
        for mode in [Mode::Plain, DEDUPLICATED, Mode::Deduplicated(Forwarding::StoreAndForward)] {
            let (there, back) = (rows(&demand, &group, mode, false), rows(&demand, &group, mode, true));
            for endpoint in (0..16).map(EndpointId) {
                assert_eq!(there.bytes_from(endpoint), back.bytes_to(endpoint), "{mode:?}");
                assert_eq!(there.bytes_to(endpoint), back.bytes_from(endpoint), "{mode:?}");
            }
        }
        let between = |mode| rows(&demand, &group, mode, false).bytes_between_nodes(4);
        assert!(between(DEDUPLICATED) <= between(Mode::Plain));
        // Three groups of eight experts, two groups a node.
        assert!(between(DEDUPLICATED) <= 3.0 * 1600.0);
    }
}

#[test]
fn forwarding_chunk_by_chunk_is_never_later_than_message_by_message() {
    let gate = Gate::new(256, 8, 8, 4).expect("a gate");
    let (mut star, group) = (Star::new(8, 4), group(8, 4));
    let demand = Demand::expected(&gate, &group, 256.0);
    let mut seconds = |forwarding, back| {
        let traffic = rows(&demand, &group, Mode::Deduplicated(forwarding), back);
        let routed = traffic.flows(&mut star).expect("there is a route");
        simulate(star.network(), &routed.flows, Weighting::Equal).expect("it can be simulated").makespan
    };
    for back in [false, true] {
        let (cut, stored) = (seconds(Forwarding::CutThrough, back), seconds(Forwarding::StoreAndForward, back));
        assert!(cut < stored, "{cut} {stored}");
    }
}

#[test]
fn a_popular_expert_loads_its_rank() {
    let gate = Gate::new(64, 4, 1, 1).expect("a gate");
    let group = group(4, 2);
    let mut tokens = vec![10_u64; 64];
    tokens[20] = 400;
    let popularity = Popularity::recorded(3, 64, &tokens).expect("loads");
    let demand = Demand::estimated(&gate, &group, &popularity, 100.0, 2000, 1);
    let hot = group.rank_of(&gate, 20);
    let loads: Vec<f64> = (0..8).map(|rank| demand.load(rank)).collect();
    assert!((0..8).all(|rank| rank == hot || loads[rank] < loads[hot]), "{loads:?}");
    assert_close(loads.iter().sum::<f64>(), 8.0, 1e-9);
}

#[test]
fn rows_are_as_long_as_their_format_says() {
    assert_eq!(RowFormat::Fp8.row_bytes(7168), 7168.0 + 224.0);
    assert_eq!(RowFormat::Bf16.row_bytes(7168), 14_336.0);
}

#[test]
fn gates_and_loads_that_cannot_be_are_refused_with_their_numbers() {
    let refused = |gate: Result<Gate, GateError>| gate.expect_err("refused").to_string();
    assert_eq!(refused(Gate::new(10, 2, 4, 2)), "gate: 10 experts cannot lie in 4 equal groups");
    assert_eq!(refused(Gate::new(8, 2, 4, 5)), "gate: a token picks 5 of 4 groups: it must be 1 to 4");
    let few = "gate: a token goes to 5 experts, but the groups that it picks have 4: it must be 1 to 4";
    assert_eq!(refused(Gate::new(8, 5, 4, 2)), few);
    let short = Popularity::recorded(2, 8, &[1, 2]).expect_err("refused").to_string();
    assert_eq!(short, "loads of layer 2: 2 experts, the model has 8");
    assert!(recorded_loads("{\"step\":1}\n").is_err());
    let text = "{\"step\":1,\"loads\":[[1,[1,2]]]}\n{\"step\":2,\"loads\":[[1,[3,4]]]}\n{\"evaluation\":1}\n";
    assert_eq!(recorded_loads(text).expect("loads"), vec![(1, vec![3, 4])]);
}

#[test]
fn replicas_share_what_their_expert_is_asked_for_and_equal_runs_are_a_placement_like_any_other() {
    let gate = Gate::new(8, 2, 1, 1).unwrap();
    let popularity = Popularity::zipf(8, 1.5, 3);
    let group = group(2, 2);
    let runs: Vec<Vec<usize>> = (0..8).map(|expert| vec![expert / 2]).collect();
    let estimated = |group: &ExpertGroup| Demand::estimated(&gate, group, &popularity, 100.0, 4096, 1);
    let loads = |demand: &Demand| (0..4).map(|rank| demand.load(rank)).collect::<Vec<f64>>();
    let (ours, same) = (loads(&estimated(&group)), loads(&estimated(&group.clone().placed(runs))));
    let near = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 0.1);
    assert!(near(&ours, &same), "{ours:?} {same:?}");
    // Every expert on every rank: all work on as much.
    let everywhere = loads(&estimated(&group.clone().placed(vec![(0..4).collect(); 8])));
    assert!(
        near(&everywhere, &[1.0; 4]) && ours.iter().any(|load| (load - 1.0).abs() > 0.2),
        "{ours:?} {everywhere:?}"
    );
}
