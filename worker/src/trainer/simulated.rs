//! A simulated network: what all ranks sent in a step is played on the fabric of the job, on a virtual clock, by rank 0.

use std::collections::HashMap;
use std::fs;

use ds_arch::{LayerId, Place};
use ds_forecast::Exchange;
use ds_forecast::hardware::{hardware, named_by, usual};
use ds_forecast::recorded::{Measured, Player, Replayed};
use ds_plan::schedule::{Pass, Piece};
use ds_plan::spec::NetworkKind;
use ds_plan::{JobPlan, RankId};
use ds_proto::{LinkLoad, PlaneLoad, SimulatedStep};
use ds_topology::fabric::Fabric;

use super::Trainer;
use crate::error::RankError;
use crate::step::{Noted, Notes};

/// The fabric that ranks are laid on.
pub(super) struct SimulatedNetwork {
    /// At rank 0.
    player: Option<Player>,
    /// By stage, those with gates in the order of forward.
    layers: Vec<Vec<LayerId>>,
}

impl SimulatedNetwork {
    /// That of a job, if its network is one.
    ///
    /// # Errors
    /// When the fabric or the hardware that the job names cannot be used.
    pub(super) fn of(plan: &JobPlan, rank: RankId) -> Result<Option<Self>, RankError> {
        if plan.spec().cluster.network != NetworkKind::Simulated {
            return Ok(None);
        }
        let gated: Vec<LayerId> = plan.spec().model.moe_layers().collect();
        let layers = |places: Vec<Place>| {
            let layer = |place| if let Place::Layer(layer) = place { Some(layer) } else { None };
            places.into_iter().filter_map(layer).filter(|layer| gated.contains(layer)).collect()
        };
        let player = (rank == RankId(0)).then(|| player(plan)).transpose()?;
        Ok(Some(Self { player, layers: plan.stages().iter().map(|stage| layers(stage.places())).collect() }))
    }

    /// The notes of all ranks, in order, as the player takes them.
    fn measured(&self, ranks: &[Notes]) -> Measured {
        let mut measured = Measured::default();
        for (rank, notes) in (0..).zip(ranks) {
            let mut before: HashMap<(Piece, Exchange), usize> = HashMap::new();
            for Noted { piece, exchange, rows, sends } in &notes.exchanges {
                let nth = before.entry((*piece, *exchange)).or_default();
                let Some(layer) = self.layer(*piece, *nth) else { continue };
                *nth += 1;
                let sends = sends.iter().map(|(&to, &bytes)| (to, bytes as f64)).collect();
                measured.sent(rank, *piece, layer, *exchange, sends);
                if *exchange == Exchange::Dispatch {
                    measured.works_on(rank, *piece, layer, *rows as f64);
                }
            }
            notes.passed.iter().for_each(|&(piece, bytes)| measured.passed_on(rank, piece, bytes as f64));
        }
        measured
    }

    /// The layer of the nth exchange of a pass, one way.
    fn layer(&self, piece: Piece, nth: usize) -> Option<LayerId> {
        let layers = self.layers.get(piece.stage.0 as usize)?;
        let place = if piece.pass == Pass::Forward { nth } else { layers.len().checked_sub(nth + 1)? };
        layers.get(place).copied()
    }
}

fn player(plan: &JobPlan) -> Result<Player, RankError> {
    let cluster = &plan.spec().cluster;
    let path = cluster.fabric.as_ref().expect("a spec that reads names the fabric of a simulated network");
    let refused =
        |reason: String| RankError::Simulated { what: "cluster.fabric", given: path.display().to_string(), reason };
    let text = fs::read_to_string(path).map_err(|error| refused(error.to_string()))?;
    let fabric = Fabric::parse(&text).map_err(|error| refused(error.to_string()))?;
    // Nobody names a machine: then it is one like this.
    let name = named_by(plan.spec(), Some(&fabric)).unwrap_or(usual(cluster.device));
    let unknown = || RankError::Simulated {
        what: "cluster.hardware",
        given: name.to_owned(),
        reason: "there is no preset of that name".to_owned(),
    };
    let hardware = hardware(name).ok_or_else(unknown)?;
    Player::of(plan, &hardware, fabric).map_err(|error| refused(error.to_string()))
}

impl Trainer {
    /// Gathers what all ranks sent in the step that has ended; rank 0 plays it. Every rank calls it. None where the network
    /// is real, and on other ranks.
    pub(super) fn play_step(&self, notes: &Notes) -> Result<Option<SimulatedStep>, RankError> {
        let Some(network) = &self.network else { return Ok(None) };
        let told = self.groups.at_first(notes)?;
        let Some((player, ranks)) = network.player.as_ref().zip(told) else { return Ok(None) };
        let unplayed = |reason: String| RankError::Unplayed { step: self.n_updates, reason };
        let measured = network.measured(&ranks.map_err(|error| unplayed(error.to_string()))?);
        let run = player.play_measured(Some(&measured)).map_err(|error| unplayed(error.to_string()))?;
        Ok(Some(simulated(player.report(&run))))
    }
}

fn simulated(replayed: Replayed) -> SimulatedStep {
    let Replayed { step_seconds, shares, bytes_within_nodes, planes, links, .. } = replayed;
    SimulatedStep {
        seconds: step_seconds,
        compute_share: shares.compute,
        exposed_share: shares.exposed_communication,
        imbalance_share: shares.imbalance,
        bubble_share: shares.bubble,
        bytes_within_nodes,
        planes: planes
            .into_iter()
            .map(|p| PlaneLoad {
                plane: p.plane,
                bytes: p.bytes,
                utilization: p.utilization,
                busiest_link: p.busiest_link,
            })
            .collect(),
        links: links
            .into_iter()
            .map(|l| LinkLoad { name: l.name, count: l.count as u32, bytes: l.bytes, utilization: l.utilization })
            .collect(),
    }
}
