//! Islands on their way: they float while they have their links for themselves, and sink when somebody else comes.

use super::super::islands::{Afloat, Fate, Left};
use super::super::run::Record;
use super::{Event, Flight, NOBODY, Player};

impl<'a> Player<'a> {
    /// An island begins, or ranks have all of it.
    pub(super) fn float(&mut self, number: u32) {
        match self.afloat[number].fate {
            Fate::Waits => self.set_out(number),
            Fate::Floats(landed) => self.drift(number, landed),
            Fate::Sank => self.afloat.let_go(number),
        }
    }

    fn set_out(&mut self, number: u32) {
        let Afloat { island, state, began, .. } = self.afloat[number];
        let is_free = |&link: &u32| self.holder[link as usize] == NOBODY && self.fluid.is_idle(link);
        if state as usize != self.state || !island.links.iter().all(is_free) {
            let afloat = self.afloat[number];
            self.afloat.let_go(number);
            self.begin_all(&afloat);
            return;
        }
        self.clash |= island.links.iter().any(|&link| self.is_beside_others(link));
        island.links.iter().for_each(|&link| self.holder[link as usize] = number);
        let classes = &self.quotient.states[state as usize].strands;
        let first = island.alone(classes, &mut self.scratch, &mut self.n_played).landings[0].0;
        self.afloat[number].fate = Fate::Floats(0);
        self.push(began + first, Event::Float(number));
    }

    fn drift(&mut self, number: u32, mut landed: usize) {
        let Afloat { island, meeting, state, began, .. } = self.afloat[number];
        let classes: &'a _ = &self.quotient.states[state as usize].strands;
        let alone = island.alone(classes, &mut self.scratch, &mut self.n_played);
        while let Some(&(_, rank, n)) = alone.landings.get(landed).filter(|l| began + l.0 <= self.now) {
            self.count_down(meeting, rank, n);
            landed += 1;
        }
        self.afloat[number].fate = Fate::Floats(landed);
        if let Some(&(next, ..)) = alone.landings.get(landed) {
            self.push(began + next, Event::Float(number));
            return;
        }
        island.links.iter().for_each(|&link| self.holder[link as usize] = NOBODY);
        for &(link, bytes) in &alone.carried {
            self.fluid.carried[link as usize] += bytes;
        }
        if self.options.record {
            for ((&strand, &end), &later) in island.strands.iter().zip(&alone.ends).zip(&island.later) {
                let class = &classes[strand as usize];
                let (path, bytes) = (class.path.clone(), class.bytes);
                self.records.push(Record { path, bytes, began: began + later, ended: began + end });
            }
        }
        self.afloat.let_go(number);
        self.close_if_over(meeting);
    }

    /// An island that cannot have its links for itself.
    fn begin_all(&mut self, afloat: &Afloat<'a>) {
        for (&strand, later) in afloat.island.strands.iter().zip(&afloat.island.later) {
            self.begin_later(afloat, strand, afloat.began + later);
        }
    }

    fn begin_later(&mut self, afloat: &Afloat<'a>, strand: u32, begins: f64) {
        let Afloat { meeting, state, .. } = *afloat;
        let bytes = self.quotient.states[state as usize].strands[strand as usize].bytes;
        self.take_off(Flight { meeting, state, strand, bytes, began: 0.0 }, begins);
    }

    /// Turns an island into flows like all others.
    pub(super) fn sink(&mut self, number: u32) {
        if number == NOBODY {
            return;
        }
        let afloat = self.afloat[number];
        let Afloat { island, meeting, state, began, fate } = afloat;
        let Fate::Floats(landed) = fate else { unreachable!("only what floats holds links") };
        // Its number is free again when its next event comes.
        self.afloat[number].fate = Fate::Sank;
        let classes: &'a _ = &self.quotient.states[state as usize].strands;
        for &link in &island.links {
            self.holder[link as usize] = NOBODY;
        }
        let left = island.left(classes, &mut self.scratch, self.now - began);
        let alone = island.alone(classes, &mut self.scratch, &mut self.n_played);
        let has_all: Vec<u32> = alone.landings[..landed].iter().map(|&(_, rank, _)| rank).collect();
        for ((&strand, left), later) in island.strands.iter().zip(left).zip(&island.later) {
            let class = &classes[strand as usize];
            let sent = match left {
                Left::All => 0.0,
                Left::Some(bytes) => class.bytes - bytes,
                Left::Nothing => class.bytes,
            };
            for &(link, times) in class.path.iter() {
                self.fluid.carried[link as usize] += times * sent;
            }
            match left {
                Left::All => self.begin_later(&afloat, strand, began + later),
                Left::Some(bytes) => {
                    let flight = self.flights.keep(Flight { meeting, state, strand, bytes, began: began + later });
                    self.n_played += 1;
                    self.fluid.begin(u64::from(flight), bytes, class.path.clone(), self.now);
                }
                Left::Nothing => {
                    for &rank in class.touches.iter().filter(|rank| !has_all.contains(rank)) {
                        self.count_down(meeting, rank, 1);
                    }
                }
            }
        }
        self.close_if_over(meeting);
    }
}
