//! What has failed or is slow, as short text: `plane=3`, `nic=node5/2`, `switch=leaf3.p2`, `link=P2.l0s1.up:x0.5`.

use std::fmt;
use std::str::FromStr;

use super::{Fabric, Point, Switch, Tier};
use crate::flow::LinkId;

/// One part of a fabric, and what is the matter with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// What.
    pub part: Part,
    /// How.
    pub health: Health,
}

/// What can fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// All links of a plane.
    Plane(u32),
    /// All ports of a NIC.
    Nic {
        /// Of the fabric.
        node: u32,
        /// Of the node.
        nic: u32,
    },
    /// All links of a switch, by its name.
    Switch(String),
    /// Links by their names; `*` stands for any text.
    Link(String),
}

/// How well a part does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Health {
    /// Nothing passes; routes go around it.
    Down,
    /// This part of its capacity is left.
    Slow(f64),
}

/// Text that names no fault, or a part that the fabric does not have.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FaultError {
    /// It does not read.
    #[error(
        "`{found}` is no fault: write plane=3, nic=node5/2, switch=leaf3.p2 or link=P2.l0s1.up, then :down or :x0.5"
    )]
    Unreadable {
        /// What was given.
        found: String,
    },
    /// A share of the capacity that makes no sense.
    #[error("`{found}`: {factor} must be greater than 0 and at most 1; what carries nothing is `down`")]
    Factor {
        /// What was given.
        found: String,
        /// Of it.
        factor: f64,
    },
    /// It is not there.
    #[error("`{part}` is not part of this fabric, which has {have}")]
    NoSuchPart {
        /// What was given.
        part: String,
        /// What there is.
        have: String,
    },
}

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        let unreadable = || FaultError::Unreadable { found: text.to_owned() };
        let (part, health) = text.split_once(':').unwrap_or((text, "down"));
        let health = match health.trim() {
            "down" => Health::Down,
            slow => {
                let factor: f64 = slow.strip_prefix('x').and_then(|x| x.parse().ok()).ok_or_else(unreadable)?;
                if !(factor > 0.0 && factor <= 1.0) {
                    return Err(FaultError::Factor { found: text.to_owned(), factor });
                }
                Health::Slow(factor)
            }
        };
        let (kind, name) = part.split_once('=').ok_or_else(unreadable)?;
        let name = name.trim();
        let part = match kind.trim() {
            "plane" => Part::Plane(name.parse().map_err(|_| unreadable())?),
            "nic" => {
                let (node, nic) =
                    name.strip_prefix("node").and_then(|rest| rest.split_once('/')).ok_or_else(unreadable)?;
                Part::Nic { node: node.parse().map_err(|_| unreadable())?, nic: nic.parse().map_err(|_| unreadable())? }
            }
            "switch" if !name.is_empty() => Part::Switch(name.to_owned()),
            "link" if !name.is_empty() => Part::Link(name.to_owned()),
            _ => return Err(unreadable()),
        };
        Ok(Self { part, health })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.health {
            Health::Down => write!(f, "{}:down", self.part),
            Health::Slow(factor) => write!(f, "{}:x{factor}", self.part),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plane(plane) => write!(f, "plane={plane}"),
            Self::Nic { node, nic } => write!(f, "nic=node{node}/{nic}"),
            Self::Switch(name) => write!(f, "switch={name}"),
            Self::Link(name) => write!(f, "link={name}"),
        }
    }
}

impl Part {
    /// The links that it is made of.
    ///
    /// # Errors
    /// When the fabric has no such part.
    pub fn links(&self, fabric: &Fabric) -> Result<Vec<LinkId>, FaultError> {
        let no_such = |have: String| FaultError::NoSuchPart { part: self.to_string(), have };
        let found: Vec<LinkId> = match self {
            Self::Plane(plane) if *plane < fabric.n_planes() => fabric.links_of_plane(*plane).collect(),
            Self::Plane(_) => return Err(no_such(format!("{} planes, counted from 0", fabric.n_planes()))),
            Self::Nic { node, nic } if *node < fabric.n_nodes() && *nic < fabric.nics_per_node() => {
                let ports = nic * fabric.ports_per_nic()..(nic + 1) * fabric.ports_per_nic();
                ports.flat_map(|port| [fabric.port_up(*node, port), fabric.port_down(*node, port)]).collect()
            }
            Self::Nic { .. } => {
                let (nodes, nics) = (fabric.n_nodes(), fabric.nics_per_node());
                return Err(no_such(format!("{nodes} nodes of {nics} NICs, counted from 0")));
            }
            Self::Switch(name) => links_of_switch(fabric, name),
            Self::Link(pattern) => {
                let links = fabric.network().iter().zip(0..);
                links.filter(|(link, _)| matches(pattern, &link.name)).map(|(_, id)| LinkId(id)).collect()
            }
        };
        if found.is_empty() {
            let have = match self {
                Self::Switch(_) => format!("switches named like {}", example_switches(fabric)),
                _ => format!("links named like {}", example_links(fabric)),
            };
            return Err(no_such(have));
        }
        Ok(found)
    }
}

fn links_of_switch(fabric: &Fabric, name: &str) -> Vec<LinkId> {
    let Some(switch) = fabric.switch_named(name) else { return Vec::new() };
    let ids = fabric.links_of_plane(switch.plane);
    ids.filter(|&link| {
        let (from, to) = fabric.ends(link);
        [from, to].contains(&Point::Switch(switch))
    })
    .collect()
}

fn example_links(fabric: &Fabric) -> String {
    let links = fabric.network();
    let pick = [0, links.len() / 2, links.len().saturating_sub(1)];
    let names: Vec<&str> = pick.iter().filter_map(|&i| Some(links.get(i)?.name.as_str())).collect();
    if names.is_empty() { "none: it has no links".to_owned() } else { names.join(", ") }
}

fn example_switches(fabric: &Fabric) -> String {
    let tiers = [Tier::Leaf, Tier::Spine, Tier::Aggregation, Tier::Core, Tier::Flat];
    let plane = fabric.n_planes().saturating_sub(1);
    let last = |tier| Some(Switch { plane, tier, number: fabric.n_switches_of(tier).checked_sub(1)? });
    let names: Vec<String> = tiers.into_iter().filter_map(last).map(|switch| fabric.switch_name(switch)).collect();
    if names.is_empty() { "none: it has no switches".to_owned() } else { names.join(", ") }
}

/// Whether a name is what a pattern says; `*` stands for any text.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(start) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(at) = name.find(part) else { return false };
        name = &name[at + part.len()..];
    }
    name.ends_with(end)
}
