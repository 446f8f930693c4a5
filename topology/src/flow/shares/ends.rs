//! When the next flow of each link ends: a minimum over many links of which few change.

/// Links whose minimum is kept together; a cache line holds eight times.
const BLOCK: usize = 64;

/// Times by link, infinite where none ends, with the least of each block.
pub(super) struct Ends {
    times: Vec<f64>,
    least: Vec<f64>,
    /// Blocks whose least time may have gone.
    stale: Vec<u32>,
}

impl Ends {
    pub(super) fn new(n_links: usize) -> Self {
        Self {
            times: vec![f64::INFINITY; n_links],
            least: vec![f64::INFINITY; n_links.div_ceil(BLOCK)],
            stale: Vec::new(),
        }
    }

    pub(super) fn set(&mut self, link: u32, time: f64) {
        let block = link as usize / BLOCK;
        let old = std::mem::replace(&mut self.times[link as usize], time);
        if time <= self.least[block] {
            self.least[block] = time;
        } else if old == self.least[block] {
            self.stale.push(block as u32);
        }
    }

    /// The least of all times.
    pub(super) fn next(&mut self) -> f64 {
        for block in self.stale.drain(..) {
            let first = block as usize * BLOCK;
            let block_times = &self.times[first..self.times.len().min(first + BLOCK)];
            self.least[block as usize] = block_times.iter().copied().fold(f64::INFINITY, f64::min);
        }
        self.least.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// Links whose time is not after `until`.
    pub(super) fn until(&self, until: f64, links: &mut Vec<u32>) {
        for (block, _) in self.least.iter().enumerate().filter(|&(_, &least)| least <= until) {
            let first = block * BLOCK;
            let times = &self.times[first..self.times.len().min(first + BLOCK)];
            let due = (first as u32..).zip(times).filter(|&(_, &time)| time <= until);
            links.extend(due.map(|(link, _)| link));
        }
    }
}
