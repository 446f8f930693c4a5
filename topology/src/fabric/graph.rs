//! Switches and their neighbours in one flat list; the place in it is the number of the directed cable.

/// A graph of switches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Graph {
    first: Vec<u32>,
    neighbour: Vec<u32>,
}

impl Graph {
    /// From the neighbours of every switch, in rising order.
    pub(crate) fn new(neighbours: &[Vec<u32>]) -> Self {
        let mut first = vec![0];
        for of_one in neighbours {
            first.push(first[first.len() - 1] + of_one.len() as u32);
        }
        Self { first, neighbour: neighbours.concat() }
    }

    /// How many.
    pub(crate) fn n_switches(&self) -> u32 {
        self.first.len() as u32 - 1
    }

    /// Directed cables of all switches.
    pub(crate) fn n_directed(&self) -> u32 {
        self.neighbour.len() as u32
    }

    /// Directed cables out of a switch, each with where it leads.
    pub(crate) fn out(&self, switch: u32) -> impl Iterator<Item = (u32, u32)> + '_ {
        let range = self.first[switch as usize]..self.first[switch as usize + 1];
        range.map(|cable| (cable, self.neighbour[cable as usize]))
    }

    /// Where a directed cable comes from, and where it leads.
    pub(crate) fn ends(&self, cable: u32) -> (u32, u32) {
        let from = self.first.partition_point(|&first| first <= cable) - 1;
        (from as u32, self.neighbour[cable as usize])
    }

    /// Which of several cables between the same two switches it is.
    pub(crate) fn lane(&self, cable: u32) -> u32 {
        let (from, to) = self.ends(cable);
        (self.first[from as usize]..cable).filter(|&other| self.neighbour[other as usize] == to).count() as u32
    }
}
