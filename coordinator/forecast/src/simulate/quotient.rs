//! One of each colour, and how often a link of one colour is crossed by strands of another.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::classes::Colours;
use super::islands::Islands;
use super::scene::{Kind, Scene};
use super::strands::Strands;

/// Strands of one colour, in one state of the fabric.
#[derive(Clone, Debug)]
pub(super) struct StrandClass {
    /// Of one of them.
    pub(super) bytes: f64,
    pub(super) latency: f64,
    /// Colours of the links, each with how many of these strands cross a link of that colour.
    pub(super) path: Rc<[(u32, f64)]>,
    /// The actors that send or get one.
    pub(super) touches: Vec<u32>,
    /// Those that get one.
    pub(super) reaches: Vec<u32>,
    /// The message of one of them.
    pub(super) message: u32,
}

/// What begins when a group, or a sender, of one colour begins a template.
#[derive(Clone, Debug, Default)]
pub(super) struct Start {
    pub(super) strands: Vec<u32>,
    /// Actors, each with the number of strand colours that it waits for.
    pub(super) waits: Vec<(u32, u32)>,
    /// The same for those that get something; none for what crosses nothing.
    pub(super) arrivals: Vec<(u32, u32)>,
    islands: OnceCell<Islands>,
}

/// One state of the fabric.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) capacity: Vec<f64>,
    pub(super) strands: Vec<StrandClass>,
    /// By template: the colour of who begins it, in order, and what it begins.
    starts: Vec<Vec<(u32, Start)>>,
}

/// One of each colour. An actor is one rank for all of its colour; where what ends a step is apart, actors that end a
/// step come after those that do everything else.
#[derive(Clone, Debug, Default)]
pub(super) struct Quotient {
    /// Of every rank: who acts for it, and who ends its step.
    pub(super) actor: Vec<u32>,
    pub(super) closer: Vec<u32>,
    /// One rank of every actor, and the number of that actor.
    pub(super) rank: Vec<u32>,
    pub(super) numbers: Vec<u32>,
    /// As many actors do more than end a step.
    pub(super) n_main: usize,
    /// Of each of those: who ends the step of its ranks, in order. Empty where they do that themselves.
    pub(super) closers: Vec<Vec<u32>>,
    /// Per actor: the groups of its rank.
    pub(super) groups_of: Vec<Vec<u32>>,
    pub(super) group_colour: Vec<u32>,
    /// Per group colour: its actors, each once.
    pub(super) members: Vec<Vec<u32>>,
    /// Of all links; where what ends a step is apart, the lanes for it follow.
    pub(super) link_colour: Vec<u32>,
    /// By link colour: those of the other lanes of such links.
    pub(super) beside: Vec<Vec<u32>>,
    pub(super) states: Vec<State>,
    /// Per state, the colour of every strand.
    pub(super) strand_colour: Vec<Vec<u32>>,
}

impl State {
    pub(super) fn start(&self, template: u32, owner: u32) -> Option<&Start> {
        let of_template = &self.starts[template as usize];
        let place = of_template.binary_search_by_key(&owner, |&(owner, _)| owner).ok()?;
        Some(&of_template[place].1)
    }

    pub(super) fn islands<'a>(&self, start: &'a Start) -> &'a Islands {
        start.islands.get_or_init(|| Islands::new(&self.strands, &self.capacity, &start.strands))
    }
}

impl Quotient {
    pub(super) fn new(scene: &Scene, epochs: &[Rc<Strands>], colours: Colours) -> Self {
        let mut rank = firsts(&colours.ranks);
        let n_main = rank.len();
        let (mut closer, mut closers) = (colours.ranks.clone(), Vec::new());
        if let Some(apart) = &colours.closers {
            let ending = firsts(apart);
            closers = vec![Vec::new(); n_main];
            for (number, &rank) in (n_main as u32..).zip(&ending) {
                closers[colours.ranks[rank as usize] as usize].push(number);
            }
            rank.extend(ending);
            closer = apart.iter().map(|&colour| n_main as u32 + colour).collect();
        }
        let numbers = (0..rank.len() as u32).collect();
        let mut quotient = Self { actor: colours.ranks, closer, rank, numbers, n_main, closers, ..Self::default() };
        quotient.add_groups(scene, colours.groups);
        quotient.link_colour = colours.links;
        let links = firsts(&quotient.link_colour);
        quotient.beside = beside(&quotient.link_colour, epochs[0].capacity.len(), links.len());
        let states = epochs.iter().zip(&colours.strands);
        quotient.states = states.map(|(strands, colours)| quotient.state(scene, strands, colours, &links)).collect();
        quotient.strand_colour = colours.strands;
        quotient
    }

    fn add_groups(&mut self, scene: &Scene, colours: Vec<u32>) {
        self.groups_of = vec![Vec::new(); self.rank.len()];
        for (number, ranks) in (0..).zip(&scene.groups) {
            for &member in ranks {
                let actor = self.seat(member, scene.group_closes(number));
                if self.rank[actor as usize] == member {
                    self.groups_of[actor as usize].push(number);
                }
            }
        }
        let members = |group: u32| {
            let ranks = scene.groups[group as usize].iter();
            let mut members: Vec<u32> = ranks.map(|&rank| self.seat(rank, scene.group_closes(group))).collect();
            members.sort_unstable();
            members.dedup();
            members
        };
        self.members = firsts(&colours).into_iter().map(members).collect();
        self.group_colour = colours;
    }

    /// Who acts for a rank.
    fn seat(&self, rank: u32, closes: bool) -> u32 {
        if closes { self.closer[rank as usize] } else { self.actor[rank as usize] }
    }

    fn state(&self, scene: &Scene, strands: &Strands, colour_of: &[u32], links: &[u32]) -> State {
        let n_links = strands.capacity.len();
        let apart = self.link_colour.len() > n_links;
        // Where the lanes of a message's links begin.
        let lane = |message: u32| if apart && scene.closes(message) { n_links as u32 } else { 0 };
        let colours = &self.link_colour;
        let mut crossings: HashMap<(u32, u32), u32> = HashMap::new();
        for (strand, &colour) in colour_of.iter().enumerate() {
            let lane = lane(strands.message[strand]);
            for link in strands.path(strand).iter().map(|&link| lane + link) {
                let of = colours[link as usize];
                if links[of as usize] == link {
                    *crossings.entry((colour, of)).or_default() += 1;
                }
            }
        }
        let class = |(strand, colour): (&u32, u32)| {
            let strand = *strand as usize;
            let message = strands.message[strand];
            let lane = lane(message);
            let mut path: Vec<u32> = strands.path(strand).iter().map(|&link| colours[(lane + link) as usize]).collect();
            path.sort_unstable();
            path.dedup();
            StrandClass {
                bytes: strands.bytes[strand],
                latency: strands.latency[strand],
                path: path.into_iter().map(|link| (link, f64::from(crossings[&(colour, link)]))).collect(),
                touches: Vec::new(),
                reaches: Vec::new(),
                message,
            }
        };
        let mut classes: Vec<StrandClass> = firsts(colour_of).iter().zip(0..).map(class).collect();
        for (strand, &colour) in colour_of.iter().enumerate() {
            let number = strands.message[strand];
            let (message, closes) = (&scene.messages[number as usize], scene.closes(number));
            let class = &mut classes[colour as usize];
            let (from, to) = (self.seat(message.from, closes), self.seat(message.to, closes));
            add(&mut class.touches, from);
            add(&mut class.touches, to);
            add(&mut class.reaches, to);
        }
        let capacity = links.iter().map(|&link| strands.capacity[link as usize % n_links]).collect();
        State { capacity, starts: self.starts(scene, strands, colour_of, &classes), strands: classes }
    }

    fn starts(
        &self,
        scene: &Scene,
        strands: &Strands,
        colour_of: &[u32],
        classes: &[StrandClass],
    ) -> Vec<Vec<(u32, Start)>> {
        let first_group = firsts(&self.group_colour);
        let of_template = |template: &super::scene::Template| {
            let mut starts: HashMap<u32, Start> = HashMap::new();
            for message in template.messages.clone() {
                let super::scene::Message { owner, to, .. } = scene.messages[message as usize];
                let (colour, is_first) = if template.kind == Kind::Send {
                    let colour = self.actor[owner as usize];
                    (colour, self.rank[colour as usize] == owner)
                } else {
                    let colour = self.group_colour[owner as usize];
                    (colour, first_group[colour as usize] == owner)
                };
                if template.kind == Kind::Send && strands.of(message).is_empty() {
                    add(&mut starts.entry(colour).or_default().arrivals, (self.actor[to as usize], 0));
                }
                if is_first {
                    let start = starts.entry(colour).or_default();
                    start.strands.extend(&colour_of[strands.of(message)]);
                }
            }
            let mut starts: Vec<(u32, Start)> = starts.into_iter().collect();
            starts.sort_unstable_by_key(|&(owner, _)| owner);
            starts.iter_mut().for_each(|(_, start)| start.count(classes));
            starts
        };
        scene.templates.iter().map(of_template).collect()
    }
}

impl Start {
    fn count(&mut self, classes: &[StrandClass]) {
        self.strands.sort_unstable();
        self.strands.dedup();
        self.waits = counts(self.strands.iter().flat_map(|&strand| &classes[strand as usize].touches));
        self.arrivals.extend(counts(self.strands.iter().flat_map(|&strand| &classes[strand as usize].reaches)));
        self.arrivals.sort_unstable();
    }
}

/// The first of every colour.
fn firsts(colours: &[u32]) -> Vec<u32> {
    let n = colours.iter().max().map_or(0, |&most| most as usize + 1);
    let mut first = vec![u32::MAX; n];
    for (number, &colour) in (0..).zip(colours) {
        let first = &mut first[colour as usize];
        *first = (*first).min(number);
    }
    first
}

/// Which colours lie beside which on links of two lanes.
fn beside(colours: &[u32], n_links: usize, n_colours: usize) -> Vec<Vec<u32>> {
    let mut beside = vec![Vec::new(); n_colours];
    for (&a, &b) in colours.iter().zip(&colours[n_links..]) {
        add(&mut beside[a as usize], b);
        add(&mut beside[b as usize], a);
    }
    beside
}

fn add<T: PartialEq>(to: &mut Vec<T>, what: T) {
    if !to.contains(&what) {
        to.push(what);
    }
}

/// How often each comes, in order.
fn counts<'a>(ranks: impl Iterator<Item = &'a u32>) -> Vec<(u32, u32)> {
    let mut counts: HashMap<u32, u32> = HashMap::new();
    ranks.for_each(|&rank| *counts.entry(rank).or_default() += 1);
    let mut counts: Vec<(u32, u32)> = counts.into_iter().collect();
    counts.sort_unstable();
    counts
}
