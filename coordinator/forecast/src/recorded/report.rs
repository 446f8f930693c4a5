//! What a replay says: how long the step takes, what every plane and link carries, and what is lost to what.

use ds_topology::fabric::Fabric;
use ds_topology::flow::LinkId;
use serde::Serialize;

use crate::picture::Unit;
use crate::simulate::{BusyLink, Run, Span, Stream};

/// A recorded step on a fabric.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Replayed {
    /// From the first event to the last, in seconds of the virtual clock.
    pub step_seconds: f64,
    /// Ranks.
    pub ranks: u32,
    /// Where the time of a rank goes, in the mean over ranks.
    pub shares: Shares,
    /// Bytes within nodes.
    pub bytes_within_nodes: f64,
    /// Planes of the network, in order.
    pub planes: Vec<PlaneLoad>,
    /// The busiest links.
    pub links: Vec<BusyLink>,
}

/// Shares of a step, which add up to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Shares {
    /// A rank computes.
    pub compute: f64,
    /// It does not, and something that it sends or gets is on the wire: communication that nothing hides.
    pub exposed_communication: f64,
    /// It waits for others of its group, who have more to do.
    pub imbalance: f64,
    /// All else: the pipeline fills and drains.
    pub bubble: f64,
}

/// What a plane carries.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlaneLoad {
    /// Which.
    pub plane: u32,
    /// Bytes that NICs send into it.
    pub bytes: f64,
    /// Of what those NICs could send in that time that send anything.
    pub utilization: f64,
    /// Of its busiest link.
    pub busiest_link: f64,
}

/// The report of a replay on that fabric.
pub fn report(run: &Run, fabric: &Fabric) -> Replayed {
    let within = |gpu: u32| fabric.gpu_out(gpu).map_or(0.0, |link| run.link(link.0).bytes);
    Replayed {
        step_seconds: run.seconds(),
        ranks: run.n_ranks(),
        shares: shares(run),
        bytes_within_nodes: (0..fabric.n_gpus()).map(within).sum(),
        planes: planes(run, fabric),
        links: busiest(run, fabric),
    }
}

fn planes(run: &Run, fabric: &Fabric) -> Vec<PlaneLoad> {
    let seconds = run.seconds();
    let share = |bytes: f64, capacity: f64| match capacity * seconds {
        most if most > 0.0 => bytes / most,
        _ => 0.0,
    };
    let empty = |plane| PlaneLoad { plane, bytes: 0.0, utilization: 0.0, busiest_link: 0.0 };
    let mut planes: Vec<PlaneLoad> = (0..fabric.n_planes()).map(empty).collect();
    let mut capacity = vec![0.0; planes.len()];
    let n_ports = fabric.nics_per_node() * fabric.ports_per_nic();
    for link in (0..fabric.n_nodes()).flat_map(|node| (0..n_ports).map(move |port| fabric.port_up(node, port))) {
        let Some(plane) = fabric.plane_of(link) else { continue };
        let load = run.link(link.0);
        if load.bytes > 0.0 {
            planes[usize::from(plane.0)].bytes += load.bytes;
            capacity[usize::from(plane.0)] += load.capacity;
        }
    }
    for link in (0..run.n_links()).map(LinkId) {
        let Some(plane) = fabric.plane_of(link) else { continue };
        let load = run.link(link.0);
        let busiest = &mut planes[usize::from(plane.0)].busiest_link;
        *busiest = busiest.max(share(load.bytes, load.capacity));
    }
    for (plane, capacity) in planes.iter_mut().zip(capacity) {
        plane.utilization = share(plane.bytes, capacity);
    }
    planes
}

/// Links that are named.
const N_LINKS: usize = 8;

/// The busiest links, each for all that carried as much.
fn busiest(run: &Run, fabric: &Fabric) -> Vec<BusyLink> {
    let seconds = run.seconds();
    let mut links: Vec<BusyLink> = Vec::new();
    for (link, of) in (0..run.n_links()).zip(fabric.network()) {
        let load = run.link(link);
        if load.bytes <= 0.0 {
            continue;
        }
        let utilization = load.bytes / (load.capacity * seconds);
        // Equal sums differ in their last bits when they were added in another order.
        let is_alike = |other: &&mut BusyLink| {
            (other.utilization / utilization - 1.0).abs() < 1e-9 && (other.bytes / load.bytes - 1.0).abs() < 1e-9
        };
        match links.iter_mut().find(is_alike) {
            Some(other) => other.count += 1,
            None => links.push(BusyLink { name: of.name.clone(), count: 1, bytes: load.bytes, utilization }),
        }
    }
    links.sort_by(|a, b| b.utilization.total_cmp(&a.utilization));
    links.truncate(N_LINKS);
    links
}

/// Stretches of time, each from and until.
type Stretches = Vec<(f64, f64)>;

fn shares(run: &Run) -> Shares {
    let (seconds, n) = (run.seconds(), f64::from(run.n_ranks()));
    if seconds <= 0.0 {
        return Shares { bubble: 1.0, ..Shares::default() };
    }
    let inbound = run.inbound();
    let mut sum = Shares::default();
    for (rank, inbound) in (0..run.n_ranks()).zip(inbound) {
        let spans: Vec<Span> = run.spans(rank).collect();
        let of = |stream: Stream, stretch: fn(&Span) -> (f64, f64)| -> Stretches {
            spans.iter().filter(|span| span.stream == stream).map(stretch).collect()
        };
        let compute = of(Stream::Compute, |span| (span.start, span.end));
        let mut wire = of(Stream::Exchange, |span| (span.opened, span.end));
        wire.extend(inbound);
        let waits = of(Stream::Exchange, |span| (span.start, span.opened));
        let computing = covered(&compute);
        let busy = covered(&[&compute[..], &wire].concat());
        let all = covered(&[&compute[..], &wire, &waits].concat());
        sum.compute += computing;
        sum.exposed_communication += busy - computing;
        sum.imbalance += all - busy;
        sum.bubble += seconds - all;
    }
    let share = |of: f64| of / seconds / n;
    Shares {
        compute: share(sum.compute),
        exposed_communication: share(sum.exposed_communication),
        imbalance: share(sum.imbalance),
        bubble: share(sum.bubble),
    }
}

/// How much time some stretches cover together.
fn covered(stretches: &[(f64, f64)]) -> f64 {
    let mut sorted = stretches.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut covered, mut until) = (0.0, f64::NEG_INFINITY);
    for (from, end) in sorted {
        covered += (end - f64::max(from, until)).max(0.0);
        until = until.max(end);
    }
    covered
}

impl Replayed {
    /// For people.
    pub fn text(&self) -> String {
        let mut text = format!(
            "recorded step of {} ranks: {}\n  {}\n  within nodes {}\n",
            self.ranks,
            Unit::Seconds.text(self.step_seconds),
            self.shares.text(),
            ds_plan::bytes(self.bytes_within_nodes as u64),
        );
        let planes = self.planes.iter().map(PlaneLoad::text);
        planes.chain(self.links.iter().map(BusyLink::text)).for_each(|line| text += &format!("  {line}\n"));
        text
    }
}

impl Shares {
    /// One line.
    pub fn text(&self) -> String {
        let [compute, exposed, imbalance, bubble] =
            [self.compute, self.exposed_communication, self.imbalance, self.bubble]
                .map(|share| Unit::Share.text(share));
        format!(
            "computes {compute}, communication that nothing hides {exposed}, waits for the rest of a group {imbalance}, else \
             idle {bubble}"
        )
    }
}

impl PlaneLoad {
    /// One line.
    pub fn text(&self) -> String {
        let [used, busiest] = [self.utilization, self.busiest_link].map(|share| Unit::Share.text(share));
        let bytes = ds_plan::bytes(self.bytes as u64);
        format!("plane {}  {bytes}, {used} of the rate of the NICs that send, busiest link {busiest}", self.plane)
    }
}

impl BusyLink {
    /// One line.
    pub fn text(&self) -> String {
        let others = if self.count > 1 { format!(" and {} more like it", self.count - 1) } else { String::new() };
        let (bytes, used) = (ds_plan::bytes(self.bytes as u64), Unit::Share.text(self.utilization));
        format!("link {}{others}  {bytes}, {used}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::covered;

    #[test]
    fn what_overlaps_counts_once() {
        assert_eq!(covered(&[]), 0.0);
        assert_eq!(covered(&[(2.0, 3.0), (0.0, 1.0), (0.5, 1.5)]), 2.5);
        assert_eq!(covered(&[(0.0, 4.0), (1.0, 2.0), (3.0, 5.0)]), 5.0);
    }
}
