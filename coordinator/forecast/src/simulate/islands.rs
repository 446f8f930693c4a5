//! Strands of a meeting that share links with each other and, while they are on their way, with nobody else: how they
//! fare does not depend on when they begin, so it is found once. Whoever comes to one of their links meanwhile turns
//! them back into flows like all others.

use std::cell::OnceCell;
use std::collections::HashMap;

use super::fluid::Fluid;
use super::quotient::StrandClass;

/// Strands that are joined by links.
#[derive(Clone, Debug)]
pub(super) struct Island {
    /// As their state counts them.
    pub(super) strands: Vec<u32>,
    pub(super) links: Vec<u32>,
    /// Of the strand whose first byte comes first.
    pub(super) latency: f64,
    /// By how many seconds the first byte of each strand comes later than that.
    pub(super) later: Vec<f64>,
    /// Places of strands in the order in which they begin.
    order: Vec<u32>,
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

/// How far a strand of an island has come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Left {
    /// Its first byte is still to come.
    All,
    /// It is under way, with bytes left.
    Some(f64),
    /// It has ended.
    Nothing,
}

/// What becomes of an island.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Its first byte is still to come.
    Waits,
    /// It has its links for itself; so many of its landings have been.
    Floats(usize),
    /// It went on as flows like all others.
    Sank,
}

/// An island on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Afloat<'a> {
    pub(super) island: &'a Island,
    pub(super) meeting: u32,
    pub(super) state: u32,
    pub(super) began: f64,
    pub(super) fate: Fate,
}

/// The islands of a start; what cannot be one, for it crosses nothing or what is closed, is given as strands.
#[derive(Clone, Debug, Default)]
pub(super) struct Islands {
    pub(super) islands: Vec<Island>,
    pub(super) others: Vec<u32>,
}

impl Islands {
    /// `classes` and `capacity` are those of a state.
    pub(super) fn new(classes: &[StrandClass], capacity: &[f64], strands: &[u32]) -> Self {
        // Strands joined by links, as a forest over the places in `strands`.
        let mut parent: Vec<usize> = (0..strands.len()).collect();
        let mut first_on: HashMap<u32, usize> = HashMap::new();
        for (place, &strand) in strands.iter().enumerate() {
            for &(link, _) in classes[strand as usize].path.iter() {
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
            match Island::new(classes, capacity, &strands) {
                Some(island) => all.islands.push(island),
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
    fn new(classes: &[StrandClass], capacity: &[f64], strands: &[u32]) -> Option<Self> {
        let class = |&strand: &u32| &classes[strand as usize];
        let fits = |strand: &u32| {
            let class = class(strand);
            let open = class.path.iter().all(|&(link, _)| capacity[link as usize] > 0.0);
            class.bytes > 0.0 && !class.path.is_empty() && open
        };
        if !strands.iter().all(fits) {
            return None;
        }
        let latency = strands.iter().map(|strand| class(strand).latency).fold(f64::INFINITY, f64::min);
        let later: Vec<f64> = strands.iter().map(|strand| class(strand).latency - latency).collect();
        let mut order: Vec<u32> = (0..strands.len() as u32).collect();
        order.sort_by(|&a, &b| later[a as usize].total_cmp(&later[b as usize]));
        let mut links: Vec<u32> = strands.iter().flat_map(|s| class(s).path.iter().map(|&(link, _)| link)).collect();
        links.sort_unstable();
        links.dedup();
        Some(Self { strands: strands.to_vec(), links, latency, later, order, alone: OnceCell::new() })
    }

    /// How it fares alone, found on `scratch`, where nothing is on its way.
    pub(super) fn alone(&self, classes: &[StrandClass], scratch: &mut Fluid, n_played: &mut u64) -> &Alone {
        self.alone.get_or_init(|| {
            *n_played += self.strands.len() as u64;
            let mut ends = vec![0.0; self.strands.len()];
            self.play(classes, scratch, f64::INFINITY, |place, end| ends[place] = end);
            self.tell(classes, ends)
        })
    }

    /// Plays it on `scratch` for some seconds; `end` hears of each strand that ends. Gives how many have begun, in
    /// their order.
    fn play(
        &self,
        classes: &[StrandClass],
        scratch: &mut Fluid,
        seconds: f64,
        mut end: impl FnMut(usize, f64),
    ) -> usize {
        let (mut now, mut begun, mut ended) = (0.0, 0, Vec::new());
        let begins = |begun: usize| self.order.get(begun).map_or(f64::INFINITY, |&place| self.later[place as usize]);
        loop {
            while begins(begun) <= now {
                let place = self.order[begun];
                let class = &classes[self.strands[place as usize] as usize];
                scratch.begin(u64::from(place), class.bytes, class.path.clone(), now);
                begun += 1;
            }
            let next = begins(begun);
            match scratch.next_end(now) {
                Some(first) if first <= next && first <= seconds => {
                    now = first;
                    scratch.take_ended(now, &mut ended);
                    ended.drain(..).for_each(|place| end(place as usize, now));
                }
                _ if next.is_finite() && next <= seconds => now = next,
                _ => return begun,
            }
        }
    }

    fn tell(&self, classes: &[StrandClass], ends: Vec<f64>) -> Alone {
        let mut of_rank: HashMap<u32, (f64, u32)> = HashMap::new();
        let mut carried: HashMap<u32, f64> = HashMap::new();
        for (&strand, &end) in self.strands.iter().zip(&ends) {
            let class = &classes[strand as usize];
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

    /// What each strand has left after `seconds` alone.
    pub(super) fn left(&self, classes: &[StrandClass], scratch: &mut Fluid, seconds: f64) -> Vec<Left> {
        let begun = self.play(classes, scratch, seconds, |_, _| ());
        let mut left = vec![Left::Nothing; self.strands.len()];
        for &place in &self.order[begun..] {
            left[place as usize] = Left::All;
        }
        for (place, bytes) in scratch.clear(seconds) {
            left[place as usize] = Left::Some(bytes);
        }
        left
    }
}
