//! Groups meet, and senders send: who still waits for what.

use super::super::islands::{Afloat, Fate};
use super::super::quotient::Start;
use super::super::scene::Kind;
use super::{Event, Meeting, Player};

impl<'a> Player<'a> {
    pub(super) fn arrive(&mut self, step: u32, actor: u32, op: u32, template: u32, time: f64) {
        let groups = &self.scene.templates[template as usize].groups;
        let group = self.quotient.groups_of[actor as usize].iter().find(|group| groups.contains(group));
        let group = self.quotient.group_colour[*group.expect("a rank meets groups of its own") as usize];
        // Ranks of a coordinate meet at the same operation; those of several meet once a step to end it.
        let when = if self.has_own_operations(template) { template } else { op };
        let gathering = &mut self.gathering[group as usize];
        let place = gathering.iter().position(|&(of, at, _)| (of, at) == (step, when)).unwrap_or_else(|| {
            let meeting = Meeting { op, ..Meeting::new(step, template, group) };
            gathering.push((step, when, self.meetings.keep(meeting)));
            gathering.len() - 1
        });
        let number = gathering[place].2;
        let meeting = &mut self.meetings[number];
        meeting.arrived += 1;
        meeting.opens = meeting.opens.max(time);
        if meeting.arrived as usize == self.quotient.members[group as usize].len() {
            gathering.swap_remove(place);
            let opens = meeting.opens;
            self.push(opens, Event::Open(number));
        }
    }

    /// Whether those that meet come to it at operations of different numbers, once a step.
    fn has_own_operations(&self, template: u32) -> bool {
        matches!(self.scene.templates[template as usize].kind, Kind::Closing | Kind::Recorded)
    }

    /// The operation with which an actor takes part in a meeting.
    fn op_of(&self, actor: u32, template: u32, op: u32) -> u32 {
        let own = || self.program(actor).meets(template).expect("it came to the meeting");
        if self.has_own_operations(template) { own() } else { op }
    }

    pub(super) fn open(&mut self, number: u32) {
        let &Meeting { step, template, owner, op, send, .. } = &self.meetings[number];
        let quotient = self.quotient;
        let Some(start) = quotient.states[self.state].start(template, owner) else {
            self.open_empty(number);
            return;
        };
        let delay = self.scene.templates[template as usize].delay;
        let meeting = &mut self.meetings[number];
        if send.is_some() {
            meeting.left = start.arrivals.iter().copied().filter(|(_, n)| *n > 0).collect();
            for &(actor, _) in start.arrivals.iter().filter(|(_, n)| *n == 0) {
                self.one_less(step, actor, op, self.now);
            }
        } else {
            meeting.left.clone_from(&start.waits);
            for &actor in &quotient.members[owner as usize] {
                let op = self.op_of(actor, template, op);
                let place = self.place(actor, op);
                self.times[step as usize][actor as usize].opened[place] = self.now;
                if start.waits.binary_search_by_key(&actor, |&(actor, _)| actor).is_err() {
                    self.done.push((step, actor, op, self.now));
                }
            }
        }
        let meeting = &mut self.meetings[number];
        meeting.n_left = meeting.left.len();
        if meeting.n_left == 0 {
            self.close(number);
            return;
        }
        self.set_off(number, start, self.now + delay);
    }

    /// Of a group that sends nothing.
    fn open_empty(&mut self, number: u32) {
        let &Meeting { step, template, owner, op, send, .. } = &self.meetings[number];
        if send.is_none() {
            for &actor in &self.quotient.members[owner as usize] {
                let op = self.op_of(actor, template, op);
                let place = self.place(actor, op);
                self.times[step as usize][actor as usize].opened[place] = self.now;
                self.done.push((step, actor, op, self.now));
            }
        }
        self.close(number);
    }

    /// What a meeting sends goes on its way.
    fn set_off(&mut self, meeting: u32, start: &'a Start, begins: f64) {
        // What is sent contends with exchanges by its nature; what a group sends mostly with itself.
        if self.meetings[meeting].send.is_some() || !self.options.reuse {
            self.take_off_all(meeting, &start.strands, begins);
            return;
        }
        let state = self.state as u32;
        let islands = self.quotient.states[self.state].islands(start);
        for island in &islands.islands {
            let began = begins + island.latency;
            let place = self.afloat.keep(Afloat { island, meeting, state, began, fate: Fate::Waits });
            self.push(began, Event::Float(place));
        }
        self.take_off_all(meeting, &islands.others, begins);
    }

    /// An actor has `n` strands more of a meeting.
    pub(super) fn count_down(&mut self, number: u32, actor: u32, n: u32) {
        let meeting = &mut self.meetings[number];
        let place = meeting.left.binary_search_by_key(&actor, |&(actor, _)| actor).expect("it waits for this");
        meeting.left[place].1 -= n;
        if meeting.left[place].1 > 0 {
            return;
        }
        meeting.n_left -= 1;
        let (step, template, op) = (meeting.step, meeting.template, meeting.op);
        if meeting.send.is_some() {
            self.one_less(step, actor, op, self.now);
        } else {
            self.done.push((step, actor, self.op_of(actor, template, op), self.now));
        }
    }

    pub(super) fn close_if_over(&mut self, number: u32) {
        if self.meetings[number].n_left == 0 {
            self.close(number);
        }
    }

    pub(super) fn close(&mut self, number: u32) {
        let meeting = &self.meetings[number];
        if let Some(send) = meeting.send {
            self.done.push((meeting.step, meeting.owner, send, self.now));
        }
        self.meetings.let_go(number);
    }
}
