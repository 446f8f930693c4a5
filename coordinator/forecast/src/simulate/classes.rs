//! What fares alike: colours of ranks, groups, links and strands, refined until equal colours see equal surroundings.
//!
//! A strand's fate depends on who begins it, on its bytes, and on its links; a link's on the strands that cross it; a
//! rank's on its program, its groups and its messages; a group's on its ranks. When these give no new colours, the
//! colouring is equitable: at any moment, if all of one colour were in the same state so far, they go on alike, for
//! max-min shares are unique. It is the coarsest such colouring that begins as it does (Paige and Tarjan, 1987, give
//! faster ways to find it).
//!
//! # What ends a step, apart
//! Rings over all nodes would tell every node apart by its distance from one that fares differently, though what
//! crosses a link to end a step is mostly alone there. So ranks have a second colour for what ends a step, and links a
//! second lane, which only that crosses. This holds while nothing else is on its way over a link together with what
//! ends a step; the player looks out for that.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;
use std::rc::Rc;

use super::job::{Options, StepJob};
use super::scene::{Kind, Scene, Template};
use super::strands::Strands;

/// A number for the colour of each, counted from zero.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Colours {
    pub(super) ranks: Vec<u32>,
    /// Of ranks while they end a step, where that is apart.
    pub(super) closers: Option<Vec<u32>>,
    pub(super) groups: Vec<u32>,
    /// Where what ends a step is apart, the lanes for it come after all others.
    pub(super) links: Vec<u32>,
    /// By state of the fabric.
    pub(super) strands: Vec<Vec<u32>>,
}

pub(super) fn colours(
    job: &StepJob<'_>,
    scene: &Scene,
    epochs: &[Rc<Strands>],
    options: &Options,
    apart: bool,
) -> Colours {
    if !options.reuse {
        let all = |n: usize| (0..n as u32).collect::<Vec<u32>>();
        let (ranks, groups, links) = (all(scene.n_ranks), all(scene.groups.len()), all(epochs[0].capacity.len()));
        let strands = epochs.iter().map(|strands| all(strands.len())).collect();
        return Colours { ranks, closers: None, groups, links, strands };
    }
    let mut painter = Painter::new(job, scene, epochs, options, apart);
    let (first, all) = (scene.closing_from.0, scene.messages.len() as u32);
    if apart {
        // How steps end tells nothing else apart, so it comes after.
        painter.refine_while_it_tells(0..first);
        painter.refine_while_it_tells(first..all);
    } else {
        painter.refine_while_it_tells(0..all);
    }
    painter.finish()
}

struct Painter<'a> {
    scene: &'a Scene,
    epochs: &'a [Rc<Strands>],
    ranks: Vec<u64>,
    /// Where what ends a step is apart.
    closers: Vec<u64>,
    apart: bool,
    groups: Vec<u64>,
    links: Vec<u64>,
    /// Where the fabric changes, what is under way may have to go another way: so strands see the other paths of
    /// their message.
    messages: Vec<u64>,
    /// By message.
    template: Vec<u32>,
    /// By state: messages that go other ways than in the first one.
    moved: Vec<Vec<u32>>,
    /// By message: a number for the states in which it goes other ways than in the first one.
    moves: Vec<u64>,
}

fn mix(a: u64, b: u64) -> u64 {
    let mut z = a.rotate_left(25) ^ b.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl<'a> Painter<'a> {
    fn new(job: &StepJob<'_>, scene: &'a Scene, epochs: &'a [Rc<Strands>], options: &Options, apart: bool) -> Self {
        let mut ranks: Vec<u64> = (0..scene.n_ranks as u32)
            .map(|rank| {
                let place = job.expert_place(rank) as usize;
                let loads = scene.loads.iter().map(|loads| loads.get(place).map_or(0, |load| load.to_bits()));
                let colour = loads.fold(u64::from(rank / job.per_pipeline), mix);
                // With jitter no two ranks take as long.
                if options.jitter > 0.0 { mix(colour, u64::from(rank)) } else { colour }
            })
            .collect();
        for straggler in &options.stragglers {
            let colour = &mut ranks[straggler.rank as usize];
            *colour = mix(*colour, straggler.factor.to_bits());
        }
        let lane = |seed: u64| {
            let colour = move |link: usize| epochs.iter().map(|e| e.capacity[link].to_bits()).fold(seed, mix);
            (0..epochs[0].capacity.len()).map(colour)
        };
        let links = if apart { lane(1).chain(lane(2)).collect() } else { lane(1).collect() };
        let mut template = vec![0; scene.messages.len()];
        for (number, Template { messages, .. }) in (0..).zip(&scene.templates) {
            template[messages.start as usize..messages.end as usize].fill(number);
        }
        let all = || 0..template.len() as u32;
        let differs = |e: &Rc<Strands>| all().filter(|&message| !e.are_alike(&epochs[0], message)).collect();
        let moved: Vec<Vec<u32>> = epochs.iter().skip(1).map(differs).collect();
        let mut moves = vec![0; template.len()];
        for (state, &message) in moved.iter().zip(1_u64..).flat_map(|(moved, e)| moved.iter().map(move |m| (e, m))) {
            moves[message as usize] = mix(moves[message as usize], state);
        }
        let messages = vec![0; if epochs.len() > 1 { template.len() } else { 0 }];
        let closers = if apart { ranks.clone() } else { Vec::new() };
        let groups = vec![0; scene.groups.len()];
        Self { scene, epochs, ranks, closers, apart, groups, links, messages, template, moved, moves }
    }

    /// By the surroundings that some messages give.
    fn refine_while_it_tells(&mut self, part: Range<u32>) {
        let mut n_colours = 0;
        loop {
            let n = self.count();
            if n == n_colours {
                return;
            }
            n_colours = n;
            self.refine(part.clone());
        }
    }

    /// What a message is, and who begins it.
    fn begun(&self, number: u32) -> u64 {
        let (message, template) = (&self.scene.messages[number as usize], self.template[number as usize]);
        let owner = match self.scene.templates[template as usize].kind {
            Kind::Exchange | Kind::Closing | Kind::Recorded => self.groups[message.owner as usize],
            Kind::Send => self.ranks[message.owner as usize],
        };
        let others = self.messages.get(number as usize).copied().unwrap_or(0);
        mix(mix(u64::from(template), owner), mix(others, self.moves[number as usize]))
    }

    /// Where the lanes of a message's links begin.
    fn lane(&self, message: u32) -> usize {
        if self.apart && self.scene.closes(message) { self.epochs[0].capacity.len() } else { 0 }
    }

    /// `begun` is that of its message.
    fn strand(&self, epoch: usize, strand: usize, begun: u64) -> u64 {
        let strands = &self.epochs[epoch];
        let base = mix(begun, strands.bytes[strand].to_bits());
        let base = mix(base, strands.latency[strand].to_bits().rotate_left(8) ^ epoch as u64);
        let links = &self.links[self.lane(strands.message[strand])..];
        strands.path(strand).iter().fold(base, |colour, &link| mix(colour, links[link as usize]))
    }

    fn of_message(&self, epoch: usize, message: u32) -> impl Iterator<Item = (usize, u64)> + '_ {
        let begun = self.begun(message);
        self.epochs[epoch].of(message).map(move |strand| (strand, self.strand(epoch, strand, begun)))
    }

    fn colour_groups(&mut self) {
        for (number, (colour, ranks)) in (0..).zip(self.groups.iter_mut().zip(&self.scene.groups)) {
            let seats = if self.apart && self.scene.group_closes(number) { &self.closers } else { &self.ranks };
            let sum = ranks.iter().map(|&rank| mix(2, seats[rank as usize])).fold(0, u64::wrapping_add);
            *colour = mix(ranks.len() as u64, sum);
        }
    }

    fn refine(&mut self, part: Range<u32>) {
        self.colour_groups();
        let mut on_link = vec![0_u64; self.links.len()];
        let mut of_message: Vec<u64> = vec![0; part.len()];
        let mut see = |epoch: usize, message: u32| {
            let strands = &self.epochs[epoch];
            let (sum, on_lane) = (&mut of_message[(message - part.start) as usize], &mut on_link[self.lane(message)..]);
            for (strand, colour) in self.of_message(epoch, message) {
                *sum = sum.wrapping_add(mix(3, colour));
                for (place, &link) in strands.path(strand).iter().enumerate() {
                    let sum = &mut on_lane[link as usize];
                    *sum = sum.wrapping_add(mix(place as u64, colour));
                }
            }
        };
        part.clone().for_each(|message| see(0, message));
        for (epoch, moved) in (1..).zip(&self.moved) {
            moved.iter().filter(|message| part.contains(message)).for_each(|&message| see(epoch, message));
        }
        for (number, sum) in part.clone().zip(&mut of_message) {
            *sum = sum.wrapping_add(self.begun(number));
        }
        let n_ranks = self.ranks.len();
        let mut at_rank = vec![0_u64; n_ranks + self.closers.len()];
        let mut tell = |rank: u32, closes: bool, what: u64| {
            let first = if closes && self.apart { n_ranks } else { 0 };
            let sum = &mut at_rank[first + rank as usize];
            *sum = sum.wrapping_add(what);
        };
        for (number, (ranks, &colour)) in (0..).zip(self.scene.groups.iter().zip(&self.groups)) {
            ranks.iter().for_each(|&rank| tell(rank, self.scene.group_closes(number), mix(4, colour)));
        }
        let messages = &self.scene.messages[part.start as usize..part.end as usize];
        for (number, (message, &colour)) in part.clone().zip(messages.iter().zip(&of_message)) {
            tell(message.from, self.scene.closes(number), mix(5, colour));
            tell(message.to, self.scene.closes(number), mix(6, colour));
        }
        if !self.messages.is_empty() {
            self.messages[part.start as usize..part.end as usize].copy_from_slice(&of_message);
        }
        self.links.iter_mut().zip(on_link).for_each(|(colour, sum)| *colour = mix(*colour, sum));
        self.ranks.iter_mut().zip(&at_rank).for_each(|(colour, &sum)| *colour = mix(*colour, sum));
        for ((colour, &sum), &rank) in self.closers.iter_mut().zip(&at_rank[n_ranks..]).zip(&self.ranks) {
            *colour = mix(mix(*colour, sum), rank);
        }
    }

    /// Distinct colours of ranks, links and, where they count, messages: those of the rest follow.
    fn count(&self) -> usize {
        let distinct = |colours: &[u64]| {
            let all: HashSet<u64, BuildHasherDefault<AsItIs>> = colours.iter().copied().collect();
            all.len()
        };
        [&self.ranks, &self.closers, &self.links, &self.messages].into_iter().map(|colours| distinct(colours)).sum()
    }

    fn finish(mut self) -> Colours {
        // Groups as the last colours of ranks tell them apart.
        self.colour_groups();
        // Two kinds of groups may have the same ranks; no template begins for both.
        let mut kind = vec![0; self.groups.len()];
        for template in &self.scene.templates {
            for group in template.groups.clone() {
                kind[group as usize] = u64::from(template.groups.start) + 1;
            }
        }
        self.groups.iter_mut().zip(kind).for_each(|(colour, kind)| *colour = mix(*colour, kind));
        let all = 0..self.template.len() as u32;
        let first: Vec<u64> = all.flat_map(|m| self.of_message(0, m).map(|(_, colour)| colour)).collect();
        let later =
            (1..).zip(&self.moved).map(|(epoch, moved)| number(self.in_state(epoch, moved, &first).into_iter()));
        let strands = std::iter::once(number(first.iter().copied())).chain(later).collect();
        Colours {
            ranks: number(self.ranks.iter().copied()),
            closers: self.apart.then(|| number(self.closers.iter().copied())),
            groups: number(self.groups.iter().copied()),
            links: number(self.links.iter().copied()),
            strands,
        }
    }

    /// Colours of the strands of a state: those of the first one where messages go the same way.
    fn in_state(&self, epoch: usize, moved: &[u32], first: &[u64]) -> Vec<u64> {
        let mut moved = moved.iter().peekable();
        let mut colours = Vec::with_capacity(self.epochs[epoch].len());
        for message in 0..self.template.len() as u32 {
            if moved.next_if_eq(&&message).is_some() {
                colours.extend(self.of_message(epoch, message).map(|(_, colour)| colour));
            } else {
                colours.extend(&first[self.epochs[0].of(message)]);
            }
        }
        colours
    }
}

/// Colours are mixed well already.
#[derive(Clone, Copy, Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.0 = mix(self.0, u64::from(byte)));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

/// Colours as numbers in the order in which they first come.
fn number(colours: impl Iterator<Item = u64>) -> Vec<u32> {
    let mut numbers: HashMap<u64, u32, BuildHasherDefault<AsItIs>> = HashMap::default();
    let mut number = |colour| {
        let next = numbers.len() as u32;
        *numbers.entry(colour).or_insert(next)
    };
    colours.map(&mut number).collect()
}
