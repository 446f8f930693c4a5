//! Fabrics: from YAML to links, checked.
//!
//! ```
//! use ds_topology::fabric::{Fabric, FabricSpec};
//!
//! let spec = FabricSpec::parse(
//!     "{ version: 1, name: pair, nodes: 2, node: { gpus: 1, nics: 1, nic: { bandwidth: 400Gbps, latency: 1us } },
//!        network: { kind: fat_tree, radix: 64, link: { bandwidth: 400Gbps, latency: 400ns } } }",
//! )?;
//! let fabric = Fabric::new(&spec)?;
//! assert_eq!(fabric.n_gpus(), 2);
//! assert_eq!(fabric.network()[0].name, "h0.up");
//! # Ok::<(), ds_topology::fabric::FabricError>(())
//! ```

mod bisection;
mod build;
mod built_in;
mod check;
mod check_network;
mod cost;
mod diameter;
mod dragonfly;
mod facts;
mod fault;
mod galois;
mod graph;
mod paper;
mod point;
mod problem;
mod shape;
mod slim_fly;
mod spec;
mod tree;
mod units;

pub use built_in::{BUILT_IN, built_in};
pub use cost::ISCA25;
pub use facts::{Counts, Facts};
pub use fault::{Fault, FaultError, Health, Part};
pub use paper::{PaperRow, paper_table};
pub use point::{Point, Switch, Tier};
pub use problem::{FabricError, Problem, Problems};
pub use spec::{
    FabricSpec, LinkSpec, NetworkKind, NetworkSpec, NicSpec, NodeSpec, PriceSpec, Prices, WithinKind, WithinSpec,
};
pub use units::{NoQuantity, Rate, Seconds};

pub(crate) use graph::Graph;
pub(crate) use point::switch_of_host;
pub(crate) use shape::{PlaneShape, Shape};

use crate::PlaneId;
use crate::flow::{LinkId, Network};

/// A fabric that can be: nodes, planes of switches, and every link between them with its capacity, latency and health.
#[derive(Clone, Debug)]
pub struct Fabric {
    spec: FabricSpec,
    shape: Shape,
    graph: Option<Graph>,
    prices: Prices,
    pxn: bool,
    links: Network,
    /// Whether nothing passes, by link.
    down: Vec<bool>,
    any_down: bool,
    faults: Vec<Fault>,
    /// Links within nodes come first; then every plane has as many.
    n_within: u32,
    per_plane: u32,
}

impl Fabric {
    /// Checks a spec and builds what it says.
    ///
    /// # Errors
    /// When it cannot be; says all that is wrong with it.
    pub fn new(spec: &FabricSpec) -> Result<Self, FabricError> {
        let impossible = |problems| FabricError::Impossible(Problems(problems));
        let checked = check::check(spec).map_err(impossible)?;
        let shape = checked.shape;
        let graph = match &shape.plane {
            Some(PlaneShape::SlimFly(fly)) => fly.neighbours().map(|neighbours| Graph::new(&neighbours)),
            Some(PlaneShape::Dragonfly(fly)) => Some(Graph::new(&fly.neighbours())),
            _ => None,
        };
        let links = build::links(spec, &shape, graph.as_ref());
        let mut fabric = Self {
            spec: spec.clone(),
            prices: checked.prices,
            pxn: checked.pxn,
            down: vec![false; links.len()],
            any_down: false,
            faults: Vec::new(),
            n_within: if spec.node.within.is_some() { 2 * shape.n_gpus() } else { 0 },
            per_plane: shape.plane.as_ref().map_or(0, |plane| build::links_of_plane(plane, graph.as_ref())),
            links,
            graph,
            shape,
        };
        let mut problems = Vec::new();
        for text in &spec.faults {
            let done = text.parse().and_then(|fault| fabric.break_down(fault));
            problems.extend(done.err().map(Problem::Fault));
        }
        if problems.is_empty() { Ok(fabric) } else { Err(impossible(problems)) }
    }

    /// Reads, checks and builds the text of a file.
    ///
    /// # Errors
    /// When it does not read or cannot be.
    pub fn parse(yaml: &str) -> Result<Self, FabricError> {
        Self::new(&FabricSpec::parse(yaml)?)
    }

    /// The same with more that has failed or is slow.
    ///
    /// # Errors
    /// When it has no such part.
    pub fn with_faults(mut self, faults: &[Fault]) -> Result<Self, FaultError> {
        for fault in faults {
            self.break_down(fault.clone())?;
        }
        Ok(self)
    }

    fn break_down(&mut self, fault: Fault) -> Result<(), FaultError> {
        for link in fault.part.links(self)? {
            match fault.health {
                Health::Down => {
                    self.down[link.0 as usize] = true;
                    self.any_down = true;
                }
                Health::Slow(factor) => self.links[link.0 as usize].capacity *= factor,
            }
        }
        self.faults.push(fault);
        Ok(())
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// What was written.
    pub fn spec(&self) -> &FabricSpec {
        &self.spec
    }

    /// The hardware preset of its GPUs, where it names one.
    pub fn gpu(&self) -> Option<&str> {
        self.spec.gpu.as_deref()
    }

    /// How many.
    pub fn n_nodes(&self) -> u32 {
        self.shape.nodes
    }

    /// How many.
    pub fn gpus_per_node(&self) -> u32 {
        self.shape.node.gpus
    }

    /// Of all nodes.
    pub fn n_gpus(&self) -> u32 {
        self.shape.n_gpus()
    }

    /// How many.
    pub fn nics_per_node(&self) -> u32 {
        self.shape.node.nics
    }

    /// How many.
    pub fn ports_per_nic(&self) -> u32 {
        self.shape.node.ports
    }

    /// Disjoint networks; none for a single node.
    pub fn n_planes(&self) -> u32 {
        self.shape.planes
    }

    /// What has failed or is slow.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// Whether its switches can reduce (SHARP).
    pub fn sharp(&self) -> bool {
        self.spec.network.as_ref().is_some_and(|network| network.sharp)
    }

    /// Whether a flow may change its GPU within its node so that it leaves by the NIC of the right plane or rail.
    pub fn pxn(&self) -> bool {
        self.pxn
    }

    /// All links; capacities are those that are left, also of links that are down.
    pub fn network(&self) -> &Network {
        &self.links
    }

    /// Whether nothing passes.
    pub fn is_down(&self, link: LinkId) -> bool {
        self.any_down && self.down[link.0 as usize]
    }

    /// Of every link, whether nothing passes.
    pub fn down(&self) -> &[bool] {
        &self.down
    }

    /// Whether everything passes, be it slowly.
    pub fn all_up(&self) -> bool {
        !self.any_down
    }

    /// The plane of a link; none within a node.
    pub fn plane_of(&self, link: LinkId) -> Option<PlaneId> {
        self.plane_and_number(link).map(|(plane, _)| PlaneId(plane as u8))
    }

    /// Out of a GPU into what joins its node. None where a node has one GPU and nothing to join it to.
    pub fn gpu_out(&self, gpu: u32) -> Option<LinkId> {
        (self.n_within > 0).then_some(LinkId(2 * gpu))
    }

    /// Into a GPU from what joins its node.
    pub fn gpu_in(&self, gpu: u32) -> Option<LinkId> {
        (self.n_within > 0).then_some(LinkId(2 * gpu + 1))
    }

    /// Out of a port of a NIC, counted over the NICs of its node.
    pub fn port_up(&self, node: u32, port: u32) -> LinkId {
        let (plane, host) = self.shape.plane_and_host(node, port);
        LinkId(self.first_of_plane(plane) + 2 * host)
    }

    /// Into a port of a NIC.
    pub fn port_down(&self, node: u32, port: u32) -> LinkId {
        LinkId(self.port_up(node, port).0 + 1)
    }

    /// Hosts of equal number modulo this many share leaves; 1 where there are no rails.
    pub fn n_rails(&self) -> u32 {
        match &self.shape.plane {
            Some(PlaneShape::Tree2(tree)) => tree.leaves.rails,
            Some(PlaneShape::Tree3(tree)) => tree.leaves.rails,
            _ => 1,
        }
    }

    /// Links of a plane.
    pub(crate) fn links_of_plane(&self, plane: u32) -> impl Iterator<Item = LinkId> + use<> {
        let first = self.first_of_plane(plane);
        (first..first + self.per_plane).map(LinkId)
    }

    pub(crate) fn first_of_plane(&self, plane: u32) -> u32 {
        self.n_within + plane * self.per_plane
    }

    /// The plane of a link and its number there; none within a node.
    pub(crate) fn plane_and_number(&self, link: LinkId) -> Option<(u32, u32)> {
        let number = link.0.checked_sub(self.n_within)?;
        Some((number / self.per_plane, number % self.per_plane))
    }

    pub(crate) fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Of every plane. Only for fabrics with planes.
    pub(crate) fn plane_shape(&self) -> &PlaneShape {
        self.shape.plane.as_ref().expect("a fabric with planes has their shape")
    }

    /// Only for kinds that are graphs.
    pub(crate) fn graph(&self) -> &Graph {
        self.graph.as_ref().expect("a Slim Fly or Dragonfly has a graph")
    }
}
