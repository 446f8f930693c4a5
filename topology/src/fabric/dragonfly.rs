//! Dragonfly: groups that are wholly joined, of switches that are wholly joined (Kim, Dally, Scott and Abts, ISCA 2008).

/// Sizes of a Dragonfly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dragonfly {
    pub(crate) hosts: u32,
    pub(crate) groups: u32,
    /// Switches of a group (`a` in the paper).
    pub(crate) switches: u32,
    /// Of a switch (`p`).
    pub(crate) hosts_per_switch: u32,
    /// Cables of a switch to other groups (`h`).
    pub(crate) global_links: u32,
}

impl Dragonfly {
    /// Of all groups.
    pub(crate) fn n_switches(&self) -> u32 {
        self.groups * self.switches
    }

    /// Cables between each two groups; ports that do not go round stay empty.
    fn cables_per_pair(&self) -> u32 {
        if self.groups > 1 { self.switches * self.global_links / (self.groups - 1) } else { 0 }
    }

    /// Between switches.
    pub(crate) fn n_cables(&self) -> u32 {
        let within = self.groups * self.switches * (self.switches - 1) / 2;
        within + self.groups * (self.groups - 1) / 2 * self.cables_per_pair()
    }

    /// Neighbours of every switch, in rising order, twice where two cables join them.
    ///
    /// Switch i of group G has number G·a + i. Global port k of a group (of its switch k / h) leads to the group
    /// G + 1 + k, port g - 2 - k there; where groups are fewer, ports go round more than once.
    pub(crate) fn neighbours(&self) -> Vec<Vec<u32>> {
        let (a, g) = (self.switches, self.groups);
        let mut all = vec![Vec::new(); self.n_switches() as usize];
        for group in 0..g {
            for switch in 0..a {
                let others = (0..a).filter(|&other| other != switch);
                all[(group * a + switch) as usize].extend(others.map(|other| group * a + other));
            }
            for round in 0..self.cables_per_pair() {
                for offset in 0..g - 1 {
                    let (port, peer_port) = (round * (g - 1) + offset, round * (g - 1) + g - 2 - offset);
                    let peer = (group + offset + 1) % g * a + peer_port / self.global_links;
                    all[(group * a + port / self.global_links) as usize].push(peer);
                }
            }
        }
        all.iter_mut().for_each(|neighbours| neighbours.sort_unstable());
        all
    }
}
