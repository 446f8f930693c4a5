//! Groups meet, and senders send: who still waits for what.

use std::rc::Rc;

use super::super::islands::{Afloat, Islands};
use super::super::quotient::Start;
use super::{Event, Meeting, Player};

impl Player<'_> {
    pub(super) fn keep(&mut self, meeting: Meeting) -> u32 {
        match self.vacant_meetings.pop() {
            Some(number) => {
                self.meetings[number as usize] = meeting;
                number
            }
            None => {
                self.meetings.push(meeting);
                self.meetings.len() as u32 - 1
            }
        }
    }

    pub(super) fn arrive(&mut self, step: u32, colour: u32, op: u32, template: u32, time: f64) {
        let groups = &self.scene.templates[template as usize].groups;
        let group = self.quotient.groups_of[colour as usize].iter().find(|group| groups.contains(group));
        let group = self.quotient.group_colour[*group.expect("a rank meets groups of its own") as usize];
        let number = match self.gathering.get(&(step, group, op)) {
            Some(&number) => number,
            None => {
                let meeting = Meeting {
                    step,
                    template,
                    owner: group,
                    op,
                    arrived: 0,
                    opens: 0.0,
                    left: Vec::new(),
                    n_left: 0,
                    send: None,
                };
                let number = self.keep(meeting);
                self.gathering.insert((step, group, op), number);
                number
            }
        };
        let meeting = &mut self.meetings[number as usize];
        meeting.arrived += 1;
        meeting.opens = meeting.opens.max(time);
        if meeting.arrived as usize == self.quotient.members[group as usize].len() {
            let opens = meeting.opens;
            self.gathering.remove(&(step, group, op));
            self.push(opens, Event::Open(number));
        }
    }

    pub(super) fn open(&mut self, number: u32) {
        let meeting = &self.meetings[number as usize];
        let (step, template, owner, op, send) =
            (meeting.step, meeting.template, meeting.owner, meeting.op, meeting.send);
        let none = Start::default();
        let start = self.quotient.states[self.state].starts.get(&(template, owner)).unwrap_or(&none);
        let delay = self.scene.templates[template as usize].delay;
        if send.is_some() {
            for &(rank, _) in start.arrivals.iter().filter(|(_, n)| *n == 0) {
                self.one_less(step, rank, op, self.now);
            }
            let left: Vec<(u32, u32)> = start.arrivals.iter().copied().filter(|(_, n)| *n > 0).collect();
            self.meetings[number as usize].left = left;
        } else {
            for &rank in &self.quotient.members[owner as usize] {
                self.times[step as usize][rank as usize].opened[op as usize] = self.now;
                if start.waits.binary_search_by_key(&rank, |&(rank, _)| rank).is_err() {
                    self.done.push((step, rank, op, self.now));
                }
            }
            self.meetings[number as usize].left.clone_from(&start.waits);
        }
        let meeting = &mut self.meetings[number as usize];
        meeting.n_left = meeting.left.len();
        if meeting.n_left == 0 {
            self.close(number);
            return;
        }
        let begins = self.now + delay;
        // What is sent contends with exchanges by its nature; what a group sends mostly with itself.
        if send.is_some() || !self.options.reuse {
            self.take_off_all(number, &start.strands, begins);
            return;
        }
        let (state, quotient) = (self.state as u32, self.quotient);
        let islands = self
            .islands
            .entry((state, template, owner))
            .or_insert_with(|| Rc::new(Islands::new(&quotient.states[state as usize], &start.strands)));
        let islands = islands.clone();
        for island in &islands.islands {
            let began = begins + island.latency;
            let afloat = Afloat { island: island.clone(), meeting: number, state, began, landed: 0, holds: false };
            let place = match self.vacant_afloat.pop() {
                Some(place) => {
                    self.afloat[place as usize] = afloat;
                    place
                }
                None => {
                    self.afloat.push(afloat);
                    self.afloat.len() as u32 - 1
                }
            };
            self.push(began, Event::Float(place));
        }
        self.take_off_all(number, &islands.others, begins);
    }

    /// A rank has `n` strands more of a meeting.
    pub(super) fn count_down(&mut self, number: u32, rank: u32, n: u32) {
        let meeting = &mut self.meetings[number as usize];
        let place = meeting.left.binary_search_by_key(&rank, |&(rank, _)| rank).expect("it waits for this");
        meeting.left[place].1 -= n;
        if meeting.left[place].1 > 0 {
            return;
        }
        meeting.n_left -= 1;
        let (step, op) = (meeting.step, meeting.op);
        if meeting.send.is_some() {
            self.one_less(step, rank, op, self.now);
        } else {
            self.done.push((step, rank, op, self.now));
        }
    }

    pub(super) fn close_if_over(&mut self, number: u32) {
        if self.meetings[number as usize].n_left == 0 {
            self.close(number);
        }
    }

    pub(super) fn close(&mut self, number: u32) {
        let meeting = &self.meetings[number as usize];
        if let Some(send) = meeting.send {
            self.done.push((meeting.step, meeting.owner, send, self.now));
        }
        self.vacant_meetings.push(number);
    }
}
