//! Strands on their way: they begin, land, or go another way when the fabric changes.

use super::super::run::Record;
use super::{Event, Flight, NOBODY, Player};

impl Player<'_> {
    pub(super) fn take_off_all(&mut self, meeting: u32, strands: &[u32], begins: f64) {
        for &strand in strands {
            let class = &self.quotient.states[self.state].strands[strand as usize];
            let flight = Flight { meeting, state: self.state as u32, strand, bytes: class.bytes, began: 0.0 };
            self.take_off(flight, begins + class.latency);
        }
    }

    pub(super) fn take_off(&mut self, flight: Flight, begins: f64) {
        let number = self.flights.keep(flight);
        self.push(begins, Event::Begin(number));
    }

    pub(super) fn begin(&mut self, number: u32) {
        let flight = self.flights[number];
        if flight.state as usize != self.state {
            self.flights.let_go(number);
            self.go_another_way(flight, flight.bytes);
            return;
        }
        let class = &self.quotient.states[self.state].strands[flight.strand as usize];
        self.n_played += 1;
        self.flights[number].began = self.now;
        if flight.bytes == 0.0 || class.path.is_empty() {
            self.land(number);
        } else {
            for &(link, _) in class.path.iter() {
                self.sink(self.holder[link as usize]);
                self.clash |= self.is_beside_others(link);
            }
            self.fluid.begin(u64::from(number), flight.bytes, class.path.clone(), self.now);
        }
    }

    /// Whether something is on the other lane of a link.
    pub(super) fn is_beside_others(&self, link: u32) -> bool {
        let is_taken = |&other: &u32| self.holder[other as usize] != NOBODY || !self.fluid.is_idle(other);
        self.quotient.beside[link as usize].iter().any(is_taken)
    }

    /// The last byte of a strand.
    pub(super) fn land(&mut self, number: u32) {
        let flight = self.flights[number];
        self.flights.let_go(number);
        let class = &self.quotient.states[flight.state as usize].strands[flight.strand as usize];
        if self.options.record {
            let (bytes, began, ended) = (flight.bytes, flight.began, self.now);
            self.records.push(Record { path: class.path.clone(), bytes, began, ended });
        }
        let waiting = if self.meetings[flight.meeting].send.is_some() { &class.reaches } else { &class.touches };
        for &rank in waiting {
            self.count_down(flight.meeting, rank, 1);
        }
        self.close_if_over(flight.meeting);
    }

    /// The fabric changes: what was under way where nothing passes any more goes another way.
    pub(super) fn change(&mut self, state: u32) {
        let mut held = self.holder.clone();
        held.sort_unstable();
        held.dedup();
        held.into_iter().for_each(|number| self.sink(number));
        self.state = state as usize;
        self.scratch.change(&self.quotient.states[self.state].capacity, 0.0);
        let cut = self.fluid.change(&self.quotient.states[self.state].capacity, self.now);
        for (number, left) in cut {
            let number = number as u32;
            let flight = self.flights[number];
            self.flights.let_go(number);
            self.go_another_way(flight, left);
        }
    }

    /// What is left of a strand goes over the paths that its message has now.
    pub(super) fn go_another_way(&mut self, flight: Flight, left: f64) {
        let old = &self.quotient.states[flight.state as usize].strands[flight.strand as usize];
        let strands = self.epochs[self.state].of(old.message);
        let all: f64 = strands.clone().map(|strand| self.epochs[self.state].bytes[strand]).sum();
        let mut ways: Vec<(u32, f64)> = Vec::new();
        for strand in strands {
            let colour = self.quotient.strand_colour[self.state][strand];
            let share = if all > 0.0 { self.epochs[self.state].bytes[strand] / all } else { 1.0 };
            if ways.iter().all(|&(other, _)| other != colour) {
                ways.push((colour, share));
            }
        }
        let meeting = &mut self.meetings[flight.meeting];
        let waiting = if meeting.send.is_some() { &old.reaches } else { &old.touches };
        for (rank, n) in &mut meeting.left {
            if waiting.contains(rank) {
                *n = *n + ways.len() as u32 - 1;
            }
        }
        for (strand, share) in ways {
            let begins = self.now + self.quotient.states[self.state].strands[strand as usize].latency;
            let state = self.state as u32;
            self.take_off(Flight { state, strand, bytes: left * share, ..flight }, begins);
        }
    }
}
