//! Strands of a meeting that share links with each other and, while they are on their way, with nobody else: how they
//! fare does not depend on when they begin, so it is found once. Whoever comes to one of their links meanwhile turns
//! them back into flows like all others.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::fluid::Fluid;
use super::quotient::State;

/// Strands that are joined by links, with the same latency.
#[derive(Clone, Debug)]
pub(super) struct Island {
    /// As their state counts them.
    pub(super) strands: Vec<u32>,
    pub(super) links: Vec<u32>,
    pub(super) latency: f64,
    alone: OnceCell<Alone>,
}

/// How an island fares alone, in seconds from its first byte.
#[derive(Clone, Debug)]
pub(super) struct Alone {
    /// Of each strand.
    pub(super) ends: Vec<f64>,
    /// When a rank has all of its strands: seconds, rank colour, strands; in order of time.
    pub(super) landings: Vec<(f64, u32, u32)>,
    /// Bytes on each link.
    pub(super) carried: Vec<(u32, f64)>,
}

/// An island on its way.
#[derive(Clone, Debug)]
pub(super) struct Afloat {
    pub(super) island: Rc<Island>,
    pub(super) meeting: u32,
    pub(super) state: u32,
    pub(super) began: f64,
    /// Landings that have been.
    pub(super) landed: usize,
    /// Whether it still holds its links.
    pub(super) holds: bool,
}

/// The islands of a start; what cannot be one, for it crosses nothing or its parts begin at different times, is given
/// as strands.
#[derive(Clone, Debug, Default)]
pub(super) struct Islands {
    pub(super) islands: Vec<Rc<Island>>,
    pub(super) others: Vec<u32>,
}

impl Islands {
    pub(super) fn new(state: &State, strands: &[u32]) -> Self {
        // Strands joined by links, as a forest over the places in `strands`.
        let mut parent: Vec<usize> = (0..strands.len()).collect();
        let mut first_on: HashMap<u32, usize> = HashMap::new();
        for (place, &strand) in strands.iter().enumerate() {
            for &(link, _) in state.strands[strand as usize].path.iter() {
                let first = *first_on.entry(link).or_insert(place);
                let (a, b) = (root(&mut parent, first), root(&mut parent, place));
                parent[a.max(b)] = a.min(b);
            }
        }
        let mut members: Vec<Vec<u32>> = vec![Vec::new(); strands.len()];
        for (place, &strand) in strands.iter().enumerate() {
            members[root(&mut parent, place)].push(strand);
        }
        let mut all = Self::default();
        for strands in members.into_iter().filter(|strands| !strands.is_empty()) {
            match Island::new(state, &strands) {
                Some(island) => all.islands.push(Rc::new(island)),
                None => all.others.extend(strands),
            }
        }
        all
    }
}

fn root(parent: &mut [usize], mut place: usize) -> usize {
    while parent[place] != place {
        parent[place] = parent[parent[place]];
        place = parent[place];
    }
    place
}

impl Island {
    fn new(state: &State, strands: &[u32]) -> Option<Self> {
        let class = |&strand: &u32| &state.strands[strand as usize];
        let latency = class(strands.first()?).latency;
        let fits = |strand: &u32| {
            let class = class(strand);
            let open = class.path.iter().all(|&(link, _)| state.capacity[link as usize] > 0.0);
            class.latency == latency && class.bytes > 0.0 && !class.path.is_empty() && open
        };
        if !strands.iter().all(fits) {
            return None;
        }
        let mut links: Vec<u32> = strands.iter().flat_map(|s| class(s).path.iter().map(|&(link, _)| link)).collect();
        links.sort_unstable();
        links.dedup();
        Some(Self { strands: strands.to_vec(), links, latency, alone: OnceCell::new() })
    }

    /// How it fares alone, found on `scratch`, where nothing is on its way.
    pub(super) fn alone(&self, state: &State, scratch: &mut Fluid, n_played: &mut u64) -> &Alone {
        self.alone.get_or_init(|| {
            *n_played += self.strands.len() as u64;
            self.begin(state, scratch);
            let mut ends = vec![0.0; self.strands.len()];
            let (mut now, mut ended) = (0.0, Vec::new());
            while let Some(end) = scratch.next_end(now) {
                now = end;
                scratch.take_ended(now, &mut ended);
                ended.drain(..).for_each(|place| ends[place as usize] = now);
            }
            self.tell(state, ends)
        })
    }

    fn tell(&self, state: &State, ends: Vec<f64>) -> Alone {
        let mut of_rank: HashMap<u32, (f64, u32)> = HashMap::new();
        let mut carried: HashMap<u32, f64> = HashMap::new();
        for (&strand, &end) in self.strands.iter().zip(&ends) {
            let class = &state.strands[strand as usize];
            for &rank in &class.touches {
                let (last, n) = of_rank.entry(rank).or_default();
                *last = last.max(end);
                *n += 1;
            }
            for &(link, times) in class.path.iter() {
                *carried.entry(link).or_default() += times * class.bytes;
            }
        }
        let mut landings: Vec<(f64, u32, u32)> = of_rank.into_iter().map(|(rank, (end, n))| (end, rank, n)).collect();
        landings.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        Alone { ends, landings, carried: carried.into_iter().collect() }
    }

    fn begin(&self, state: &State, scratch: &mut Fluid) {
        for (place, &strand) in (0..).zip(&self.strands) {
            let class = &state.strands[strand as usize];
            scratch.begin(place, class.bytes, class.path.clone(), 0.0);
        }
    }

    /// What each strand that is still on its way after `seconds` alone has left: its place, and bytes.
    pub(super) fn left(&self, state: &State, scratch: &mut Fluid, seconds: f64) -> Vec<(usize, f64)> {
        self.begin(state, scratch);
        let (mut now, mut ended) = (0.0, Vec::new());
        while let Some(end) = scratch.next_end(now).filter(|&end| end <= seconds) {
            now = end;
            scratch.take_ended(now, &mut ended);
        }
        scratch.clear(seconds).into_iter().map(|(place, left)| (place as usize, left)).collect()
    }
}
