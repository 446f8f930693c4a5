//! Experts spread over ranks give what experts on one rank give. Each rank is a thread here.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use ds_arch::{ModelConfig, preset};
use ds_model::{
    Arrival, Coming, ExpertExchange, Gradients, LossWeights, Microbatch, ModelError, OneRank, Route, StageInput,
    StageLosses, StageModel, StagePart,
};
use tch::{Device, Kind, Tensor};

const WEIGHTS: LossWeights = LossWeights { token: 0.01, mtp: 0.004, balance: 0.05, batch_balance: 0.0 };

/// A rank's end of a meeting: one channel to each rank and one from each.
struct Seat {
    to: Vec<Sender<Tensor>>,
    from: Vec<Receiver<Tensor>>,
    n_local: usize,
}

impl Seat {
    fn all(n: usize, n_experts: usize) -> Vec<Self> {
        let mut seats: Vec<Self> =
            (0..n).map(|_| Self { to: Vec::new(), from: Vec::new(), n_local: n_experts / n }).collect();
        for source in 0..n {
            for target in 0..n {
                let (to, from) = channel();
                seats[source].to.push(to);
                seats[target].from.push(from);
            }
        }
        seats
    }

    fn send(&self, rows: &Tensor, counts: &[i64]) {
        for (to, part) in self.to.iter().zip(rows.split_with_sizes(counts, 0)) {
            to.send(part.copy()).expect("the other rank lives");
        }
    }

    fn receive(&self) -> Vec<Tensor> {
        self.from.iter().map(|from| from.recv().expect("the other rank lives")).collect()
    }

    fn sums(counts: &[Vec<i64>]) -> Vec<i64> {
        counts.iter().map(|of_rank| of_rank.iter().sum()).collect()
    }

    fn to_ranks(&self, route: &Route) -> Vec<i64> {
        Self::sums(&route.sent.chunks(self.n_local).map(<[i64]>::to_vec).collect::<Vec<_>>())
    }

    /// Blocks (source, expert) in the order of arrival, put into the order (expert, source), or the other way round.
    fn turned(parts: &[Tensor], n: usize) -> Tensor {
        let rows = parts.len() / n;
        let turned: Vec<&Tensor> = (0..n).flat_map(|j| (0..rows).map(move |i| &parts[i * n + j])).collect();
        Tensor::cat(&turned, 0)
    }
}

impl ExpertExchange for Seat {
    fn route<'a>(&'a self, sent: Vec<i64>) -> Result<Coming<'a, Route>, ModelError> {
        self.send(&Tensor::from_slice(&sent), &vec![self.n_local as i64; self.to.len()]);
        Ok(Box::new(move || {
            let arrived_from: Vec<Vec<i64>> =
                self.receive().into_iter().map(|counts| Vec::try_from(counts).expect("counts")).collect();
            let arrived = (0..self.n_local).map(|e| arrived_from.iter().map(|from| from[e]).sum()).collect();
            Ok(Route { sent, arrived, arrived_from })
        }))
    }

    fn dispatch<'a>(&'a self, route: &Route, rows: &Tensor) -> Result<Arrival<'a>, ModelError> {
        self.send(rows, &self.to_ranks(route));
        let sizes: Vec<i64> = route.arrived_from.concat();
        Ok(Box::new(move || {
            let parts = Tensor::cat(&self.receive(), 0).split_with_sizes(sizes.as_slice(), 0);
            Ok(Self::turned(&parts, self.n_local))
        }))
    }

    fn combine<'a>(&'a self, route: &Route, rows: &Tensor) -> Result<Arrival<'a>, ModelError> {
        let n = self.to.len();
        let sizes: Vec<i64> =
            (0..self.n_local).flat_map(|e| route.arrived_from.iter().map(move |from| from[e])).collect();
        let back = Self::turned(&rows.split_with_sizes(sizes.as_slice(), 0), n);
        self.send(&back, &Self::sums(&route.arrived_from));
        Ok(Box::new(move || Ok(Tensor::cat(&self.receive(), 0))))
    }
}

fn microbatch(seed: i64) -> Microbatch {
    let token = |i: i64| (i * 7919 + i * i * 31 + seed * 97) % 257;
    let shifted = |by: i64| {
        let values: Vec<i64> = (0..2).flat_map(|s| (by..by + 6).map(move |i| token(s * 1000 + i))).collect();
        Tensor::from_slice(&values).view([2, 6])
    };
    Microbatch { ids_bt: shifted(0), targets_bt: shifted(1), mtp: vec![(shifted(1), shifted(2))] }
}

struct Done {
    losses: StageLosses,
    loads: Vec<Vec<f64>>,
    gradients: BTreeMap<String, Tensor>,
}

fn run(config: &ModelConfig, part: StagePart, seed: i64, exchange: &dyn ExpertExchange) -> Done {
    let model = StageModel::new(config, part, Device::Cpu, Kind::Double, 3).expect("a model");
    let microbatch = microbatch(seed);
    let forward =
        model.forward(StageInput { microbatch: &microbatch, hidden: None }, &WEIGHTS, exchange).expect("it runs");
    let mut gradients = Gradients::zeros(&model);
    model.backward(forward.saved, None, &mut gradients, exchange).expect("it goes back");
    let rows = model.parameters().iter().zip(gradients.tensors()).flat_map(|(stored, gradient)| {
        let row = |i: Option<i64>| i.map_or_else(|| gradient.shallow_clone(), |i| gradient.get(i));
        stored.logical.iter().map(move |logical| (logical.name.clone(), row(logical.index)))
    });
    let loads = forward.loads.into_iter().map(|(_, load)| load).collect();
    Done { losses: forward.losses, loads, gradients: rows.collect() }
}

fn sum_gradients(all: Vec<Done>) -> BTreeMap<String, Tensor> {
    let mut sums: BTreeMap<String, Tensor> = BTreeMap::new();
    for (name, gradient) in all.into_iter().flat_map(|done| done.gradients) {
        let sum = sums.remove(&name).map_or_else(|| gradient.shallow_clone(), |sum| sum + &gradient);
        sums.insert(name, sum);
    }
    sums
}

#[test]
fn experts_on_several_ranks_are_experts_on_one() {
    let mut config = preset("tiny").expect("a preset");
    config.init_std = 0.3;
    let n_experts = config.moe.n_experts;
    let alone = |seed: i64| run(&config, StagePart::whole(&config), seed, &OneRank);
    for n in [2_u32, 4, 8] {
        let expected: Vec<Done> = (0..i64::from(n)).map(alone).collect();
        let ranks: Vec<_> = (0..n)
            .zip(Seat::all(n as usize, n_experts as usize))
            .map(|(rank, seat)| {
                let each = n_experts / n;
                let part = StagePart { experts: rank * each..(rank + 1) * each, ..StagePart::whole(&config) };
                let config = config.clone();
                thread::spawn(move || run(&config, part, i64::from(rank), &seat))
            })
            .collect();
        let spread: Vec<Done> = ranks.into_iter().map(|rank| rank.join().expect("a rank that ended well")).collect();
        for (one, other) in spread.iter().zip(&expected) {
            assert!((one.losses.loss.0 - other.losses.loss.0).abs() < 1e-10);
            assert!((one.losses.mtp.0 - other.losses.mtp.0).abs() < 1e-10);
            assert_eq!(one.loads, other.loads);
        }
        let (spread, expected) = (sum_gradients(spread), sum_gradients(expected));
        assert_eq!(spread.len(), expected.len());
        for (name, gradient) in expected {
            assert!(spread[&name].allclose(&gradient, 1e-10, 1e-12, false), "{n} ranks: {name}");
        }
    }
}
