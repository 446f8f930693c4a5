//! Islands on their way: they float while they have their links for themselves, and sink when somebody else comes.

use super::super::islands::Afloat;
use super::super::run::Record;
use super::{Event, Flight, NOBODY, Player};

impl Player<'_> {
    /// An island begins, or ranks have all of it.
    pub(super) fn float(&mut self, number: u32) {
        let afloat = self.afloat[number as usize].clone();
        let quotient = self.quotient;
        let states = &quotient.states;
        if !afloat.holds && afloat.landed == 0 {
            let links = &afloat.island.links;
            let is_free = |&link: &u32| self.holder[link as usize] == NOBODY && self.fluid.is_idle(link);
            if afloat.state as usize != self.state || !links.iter().all(is_free) {
                self.vacant_afloat.push(number);
                self.begin_all(&afloat);
                return;
            }
            links.iter().for_each(|&link| self.holder[link as usize] = number);
            let alone = afloat.island.alone(&states[self.state], &mut self.scratch, &mut self.n_played);
            let first = alone.landings[0].0;
            self.afloat[number as usize].holds = true;
            self.push(afloat.began + first, Event::Float(number));
            return;
        }
        if !afloat.holds {
            // It went on as flows like all others.
            self.vacant_afloat.push(number);
            return;
        }
        let alone = afloat.island.alone(&states[afloat.state as usize], &mut self.scratch, &mut self.n_played);
        let mut landed = afloat.landed;
        while let Some(&(_, rank, n)) = alone.landings.get(landed).filter(|l| afloat.began + l.0 <= self.now) {
            self.count_down(afloat.meeting, rank, n);
            landed += 1;
        }
        self.afloat[number as usize].landed = landed;
        if let Some(&(next, ..)) = alone.landings.get(landed) {
            self.push(afloat.began + next, Event::Float(number));
            return;
        }
        afloat.island.links.iter().for_each(|&link| self.holder[link as usize] = NOBODY);
        for &(link, bytes) in &alone.carried {
            self.fluid.carried[link as usize] += bytes;
        }
        if self.options.record {
            for (&strand, &end) in afloat.island.strands.iter().zip(&alone.ends) {
                let class = &states[afloat.state as usize].strands[strand as usize];
                let (bytes, began) = (class.bytes, afloat.began);
                self.records.push(Record { path: class.path.clone(), bytes, began, ended: began + end });
            }
        }
        self.vacant_afloat.push(number);
        self.close_if_over(afloat.meeting);
    }

    /// An island that cannot have its links for itself.
    pub(super) fn begin_all(&mut self, afloat: &Afloat) {
        for &strand in &afloat.island.strands {
            let bytes = self.quotient.states[afloat.state as usize].strands[strand as usize].bytes;
            let Afloat { meeting, state, .. } = *afloat;
            self.take_off(Flight { meeting, state, strand, bytes, began: 0.0 }, self.now);
        }
    }

    /// Turns an island into flows like all others.
    pub(super) fn sink(&mut self, number: u32) {
        if number == NOBODY {
            return;
        }
        // Its slot is free again when its next event comes.
        self.afloat[number as usize].holds = false;
        let afloat = self.afloat[number as usize].clone();
        self.afloat[number as usize].landed = usize::MAX;
        let quotient = self.quotient;
        let state = &quotient.states[afloat.state as usize];
        for &link in &afloat.island.links {
            self.holder[link as usize] = NOBODY;
        }
        let left = afloat.island.left(state, &mut self.scratch, self.now - afloat.began);
        let alone = afloat.island.alone(state, &mut self.scratch, &mut self.n_played);
        let mut left_of = vec![None; afloat.island.strands.len()];
        left.into_iter().for_each(|(place, bytes)| left_of[place] = Some(bytes));
        let has_all: Vec<u32> = alone.landings[..afloat.landed].iter().map(|&(_, rank, _)| rank).collect();
        for (&strand, left) in afloat.island.strands.iter().zip(left_of) {
            let class = &state.strands[strand as usize];
            for &(link, times) in class.path.iter() {
                self.fluid.carried[link as usize] += times * (class.bytes - left.unwrap_or(0.0));
            }
            match left {
                Some(bytes) => {
                    let Afloat { meeting, state, began, .. } = afloat;
                    let flight = self.keep_flight(Flight { meeting, state, strand, bytes, began });
                    self.n_played += 1;
                    self.fluid.begin(u64::from(flight), bytes, class.path.clone(), self.now);
                }
                None => {
                    for &rank in class.touches.iter().filter(|rank| !has_all.contains(rank)) {
                        self.count_down(afloat.meeting, rank, 1);
                    }
                }
            }
        }
        self.close_if_over(afloat.meeting);
    }
}
