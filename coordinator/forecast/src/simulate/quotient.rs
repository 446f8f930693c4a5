//! One of each colour, and how often a link of one colour is crossed by strands of another.

use std::collections::HashMap;
use std::rc::Rc;

use super::classes::Colours;
use super::scene::{Begins, Scene};

/// Strands of one colour, in one state of the fabric.
#[derive(Clone, Debug)]
pub(super) struct StrandClass {
    /// Of one of them.
    pub(super) bytes: f64,
    pub(super) latency: f64,
    /// Colours of the links, each with how many of these strands cross a link of that colour.
    pub(super) path: Rc<[(u32, f64)]>,
    /// Colours of the ranks that send or get one.
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
    /// Colours of ranks, each with the number of strand colours that it waits for.
    pub(super) waits: Vec<(u32, u32)>,
    /// The same for those that get something; none for what crosses nothing.
    pub(super) arrivals: Vec<(u32, u32)>,
}

/// One state of the fabric.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) capacity: Vec<f64>,
    pub(super) strands: Vec<StrandClass>,
    /// By template and the colour of who begins it.
    pub(super) starts: HashMap<(u32, u32), Start>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Quotient {
    /// Colour of every rank, and one rank of every colour.
    pub(super) rank_colour: Vec<u32>,
    pub(super) rank: Vec<u32>,
    /// Per rank colour: the groups of that rank.
    pub(super) groups_of: Vec<Vec<u32>>,
    pub(super) group_colour: Vec<u32>,
    /// Per group colour: colours of its ranks, each once.
    pub(super) members: Vec<Vec<u32>>,
    pub(super) link_colour: Vec<u32>,
    pub(super) states: Vec<State>,
    /// Per state, the colour of every strand.
    pub(super) strand_colour: Vec<Vec<u32>>,
}

impl Quotient {
    pub(super) fn new(scene: &Scene, colours: &Colours) -> Self {
        let rank = firsts(&colours.ranks);
        let mut groups_of = vec![Vec::new(); rank.len()];
        for (number, ranks) in (0..).zip(&scene.groups) {
            for &member in ranks {
                let colour = colours.ranks[member as usize];
                if rank[colour as usize] == member {
                    groups_of[colour as usize].push(number);
                }
            }
        }
        let members = firsts(&colours.groups)
            .into_iter()
            .map(|group| {
                let mut members: Vec<u32> =
                    scene.groups[group as usize].iter().map(|&rank| colours.ranks[rank as usize]).collect();
                members.sort_unstable();
                members.dedup();
                members
            })
            .collect();
        let links = firsts(&colours.links);
        let states = (0..scene.epochs.len()).map(|epoch| state(scene, colours, epoch, &links)).collect();
        Self {
            rank_colour: colours.ranks.clone(),
            rank,
            groups_of,
            group_colour: colours.groups.clone(),
            members,
            link_colour: colours.links.clone(),
            states,
            strand_colour: colours.strands.clone(),
        }
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

fn state(scene: &Scene, colours: &Colours, epoch: usize, links: &[u32]) -> State {
    let (strands, colour_of) = (&scene.epochs[epoch], &colours.strands[epoch]);
    let is_first = |link: u32| links[colours.links[link as usize] as usize] == link;
    let mut crossings: HashMap<(u32, u32), u32> = HashMap::new();
    for (strand, &colour) in colour_of.iter().enumerate() {
        for &link in strands.path(strand).iter().filter(|&&link| is_first(link)) {
            *crossings.entry((colour, colours.links[link as usize])).or_default() += 1;
        }
    }
    let first = firsts(colour_of);
    let mut classes: Vec<StrandClass> = first
        .iter()
        .zip(0..)
        .map(|(&strand, colour)| {
            let strand = strand as usize;
            let mut path: Vec<u32> = strands.path(strand).iter().map(|&link| colours.links[link as usize]).collect();
            path.sort_unstable();
            path.dedup();
            let crossed = |link: u32| (link, f64::from(crossings[&(colour, link)]));
            StrandClass {
                bytes: strands.bytes[strand],
                latency: strands.latency[strand],
                path: path.into_iter().map(crossed).collect(),
                touches: Vec::new(),
                reaches: Vec::new(),
                message: strands.message[strand],
            }
        })
        .collect();
    for (strand, &colour) in colour_of.iter().enumerate() {
        let message = &scene.messages[strands.message[strand] as usize];
        let class = &mut classes[colour as usize];
        let (from, to) = (colours.ranks[message.from as usize], colours.ranks[message.to as usize]);
        add(&mut class.touches, from);
        add(&mut class.touches, to);
        add(&mut class.reaches, to);
    }
    let capacity = links.iter().map(|&link| strands.capacity[link as usize]).collect();
    State { capacity, starts: starts(scene, colours, &classes, epoch), strands: classes }
}

fn add(to: &mut Vec<u32>, what: u32) {
    if !to.contains(&what) {
        to.push(what);
    }
}

fn starts(scene: &Scene, colours: &Colours, classes: &[StrandClass], epoch: usize) -> HashMap<(u32, u32), Start> {
    let strands = &scene.epochs[epoch];
    let (first_group, first_rank) = (firsts(&colours.groups), firsts(&colours.ranks));
    let mut starts: HashMap<(u32, u32), Start> = HashMap::new();
    for (number, template) in (0..).zip(&scene.templates) {
        for message in template.messages.clone() {
            let owner = scene.messages[message as usize].owner;
            if template.begins == Begins::Sender && strands.of(message).is_empty() {
                let start = starts.entry((number, colours.ranks[owner as usize])).or_default();
                let to = colours.ranks[scene.messages[message as usize].to as usize];
                if !start.arrivals.contains(&(to, 0)) {
                    start.arrivals.push((to, 0));
                }
            }
            let colour = match template.begins {
                Begins::Group => Some(colours.groups[owner as usize]).filter(|&c| first_group[c as usize] == owner),
                Begins::Sender => Some(colours.ranks[owner as usize]).filter(|&c| first_rank[c as usize] == owner),
            };
            let Some(colour) = colour else { continue };
            let start = starts.entry((number, colour)).or_default();
            start.strands.extend(strands.of(message).map(|strand| colours.strands[epoch][strand]));
        }
    }
    for start in starts.values_mut() {
        start.strands.sort_unstable();
        start.strands.dedup();
        start.waits = counts(start.strands.iter().flat_map(|&strand| &classes[strand as usize].touches));
        start.arrivals.extend(counts(start.strands.iter().flat_map(|&strand| &classes[strand as usize].reaches)));
        start.arrivals.sort_unstable();
    }
    starts
}

/// How often each comes, in order.
fn counts<'a>(ranks: impl Iterator<Item = &'a u32>) -> Vec<(u32, u32)> {
    let mut counts: HashMap<u32, u32> = HashMap::new();
    ranks.for_each(|&rank| *counts.entry(rank).or_default() += 1);
    let mut counts: Vec<(u32, u32)> = counts.into_iter().collect();
    counts.sort_unstable();
    counts
}
