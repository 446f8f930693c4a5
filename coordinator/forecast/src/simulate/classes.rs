//! What fares alike: colours of ranks, groups, links and strands, refined until equal colours see equal surroundings.
//!
//! A strand's fate depends on who begins it, on its bytes, and on its links; a link's on the strands that cross it; a
//! rank's on its program, its groups and its messages; a group's on its ranks. When these give no new colours, the
//! colouring is equitable: at any moment, if all of one colour were in the same state so far, they go on alike, for
//! max-min shares are unique. It is the coarsest such colouring that begins as it does (Paige and Tarjan, 1987, give
//! faster ways to find it).

use std::collections::HashMap;

use super::job::{Options, StepJob};
use super::scene::{Begins, Scene, Template};

/// A number for the colour of each, counted from zero.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Colours {
    pub(super) ranks: Vec<u32>,
    pub(super) groups: Vec<u32>,
    pub(super) links: Vec<u32>,
    /// By state of the fabric.
    pub(super) strands: Vec<Vec<u32>>,
}

pub(super) fn colours(job: &StepJob<'_>, scene: &Scene, options: &Options) -> Colours {
    if !options.reuse {
        let all = |n: usize| (0..n as u32).collect::<Vec<u32>>();
        let links = scene.epochs[0].capacity.len();
        let strands = scene.epochs.iter().map(|strands| all(strands.len())).collect();
        return Colours { ranks: all(scene.n_ranks), groups: all(scene.groups.len()), links: all(links), strands };
    }
    let mut painter = Painter::new(job, scene, options);
    let mut n_colours = 0;
    loop {
        let n = painter.count();
        if n == n_colours {
            break;
        }
        n_colours = n;
        painter.refine();
    }
    painter.finish()
}

struct Painter<'a> {
    scene: &'a Scene,
    ranks: Vec<u64>,
    groups: Vec<u64>,
    links: Vec<u64>,
    /// Where the fabric changes, what is under way may have to go another way: so strands see the other paths of
    /// their message.
    messages: Vec<u64>,
    /// By message.
    template: Vec<u32>,
}

fn mix(a: u64, b: u64) -> u64 {
    let mut z = a.rotate_left(25) ^ b.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl<'a> Painter<'a> {
    fn new(job: &StepJob<'_>, scene: &'a Scene, options: &Options) -> Self {
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
        let links = (0..scene.epochs[0].capacity.len())
            .map(|link| scene.epochs.iter().map(|strands| strands.capacity[link].to_bits()).fold(1, mix))
            .collect();
        let mut template = vec![0; scene.messages.len()];
        for (number, Template { messages, .. }) in (0..).zip(&scene.templates) {
            template[messages.start as usize..messages.end as usize].fill(number);
        }
        let messages = vec![0; if scene.epochs.len() > 1 { template.len() } else { 0 }];
        Self { scene, ranks, groups: vec![0; scene.groups.len()], links, messages, template }
    }

    /// What a message is, and who begins it.
    fn begun(&self, number: u32) -> u64 {
        let (message, template) = (&self.scene.messages[number as usize], self.template[number as usize]);
        let owner = match self.scene.templates[template as usize].begins {
            Begins::Group => self.groups[message.owner as usize],
            Begins::Sender => self.ranks[message.owner as usize],
        };
        mix(mix(u64::from(template), owner), self.messages.get(number as usize).copied().unwrap_or(0))
    }

    fn strand(&self, epoch: usize, strand: usize) -> u64 {
        let strands = &self.scene.epochs[epoch];
        let base = mix(self.begun(strands.message[strand]), strands.bytes[strand].to_bits());
        let base = mix(mix(base, epoch as u64), strands.latency[strand].to_bits());
        strands.path(strand).iter().fold(base, |colour, &link| mix(colour, self.links[link as usize]))
    }

    fn refine(&mut self) {
        for (colour, ranks) in self.groups.iter_mut().zip(&self.scene.groups) {
            let sum = ranks.iter().map(|&rank| mix(2, self.ranks[rank as usize])).fold(0, u64::wrapping_add);
            *colour = mix(ranks.len() as u64, sum);
        }
        let mut on_link = vec![0_u64; self.links.len()];
        let mut of_message: Vec<u64> = (0..self.template.len() as u32).map(|message| self.begun(message)).collect();
        for (epoch, strands) in self.scene.epochs.iter().enumerate() {
            for strand in 0..strands.len() {
                let colour = self.strand(epoch, strand);
                let sum = &mut of_message[strands.message[strand] as usize];
                *sum = sum.wrapping_add(mix(3, colour));
                for (place, &link) in strands.path(strand).iter().enumerate() {
                    let sum = &mut on_link[link as usize];
                    *sum = sum.wrapping_add(mix(place as u64, colour));
                }
            }
        }
        let mut at_rank = vec![0_u64; self.ranks.len()];
        let mut tell = |rank: u32, what: u64| {
            let sum = &mut at_rank[rank as usize];
            *sum = sum.wrapping_add(what);
        };
        for (ranks, &colour) in self.scene.groups.iter().zip(&self.groups) {
            ranks.iter().for_each(|&rank| tell(rank, mix(4, colour)));
        }
        for (message, &colour) in self.scene.messages.iter().zip(&of_message) {
            tell(message.from, mix(5, colour));
            tell(message.to, mix(6, colour));
        }
        if !self.messages.is_empty() {
            self.messages = of_message;
        }
        self.links.iter_mut().zip(on_link).for_each(|(colour, sum)| *colour = mix(*colour, sum));
        self.ranks.iter_mut().zip(at_rank).for_each(|(colour, sum)| *colour = mix(*colour, sum));
    }

    /// Distinct colours of ranks, links and, where they count, messages: those of the rest follow.
    fn count(&self) -> usize {
        let distinct = |colours: &[u64]| {
            let mut sorted = colours.to_vec();
            sorted.sort_unstable();
            sorted.dedup();
            sorted.len()
        };
        distinct(&self.ranks) + distinct(&self.links) + distinct(&self.messages)
    }

    fn finish(mut self) -> Colours {
        // Groups as the last colours of ranks tell them apart.
        for (colour, ranks) in self.groups.iter_mut().zip(&self.scene.groups) {
            let sum = ranks.iter().map(|&rank| mix(2, self.ranks[rank as usize])).fold(0, u64::wrapping_add);
            *colour = mix(ranks.len() as u64, sum);
        }
        // Two kinds of groups may have the same ranks; no template begins for both.
        let mut kind = vec![0; self.groups.len()];
        for template in &self.scene.templates {
            for group in template.groups.clone() {
                kind[group as usize] = u64::from(template.groups.start) + 1;
            }
        }
        let groups: Vec<u64> = self.groups.iter().zip(kind).map(|(&colour, kind)| mix(colour, kind)).collect();
        self.groups = groups;
        let strands = (0..self.scene.epochs.len())
            .map(|epoch| number((0..self.scene.epochs[epoch].len()).map(|strand| self.strand(epoch, strand))))
            .collect();
        Colours {
            ranks: number(self.ranks.iter().copied()),
            groups: number(self.groups.iter().copied()),
            links: number(self.links.iter().copied()),
            strands,
        }
    }
}

/// Colours as numbers in the order in which they first come.
fn number(colours: impl Iterator<Item = u64>) -> Vec<u32> {
    let mut numbers: HashMap<u64, u32> = HashMap::new();
    let mut number = |colour| {
        let next = numbers.len() as u32;
        *numbers.entry(colour).or_insert(next)
    };
    colours.map(&mut number).collect()
}
