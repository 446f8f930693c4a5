//! A link and the flows on it.

/// What a link gives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in super::super) enum Capacity {
    /// So many bytes per second to all flows together.
    Shared(f64),
    /// So many bytes per second to every flow, for each unit of its weight.
    Each(f64),
}

/// A link and the flows on it.
pub(super) struct Shared {
    pub(super) capacity: f64,
    /// No flow gets more than this, by weight.
    pub(super) ceiling: f64,
    /// The weight of those that it limits, and of all.
    pub(super) own: f64,
    pub(super) total: f64,
    /// Bytes per second of the others.
    pub(super) limited: f64,
    /// What it had given to a unit of weight at the time `since`.
    pub(super) given: f64,
    pub(super) since: f64,
    pub(super) n_own: u32,
    pub(super) n_total: u32,
    /// It is in the queue, at this level.
    pub(super) is_wrong: bool,
    pub(super) queued: f64,
    pub(super) is_touched: bool,
    pub(super) is_changed: bool,
    /// Seconds with any flow on it before `busy_since`.
    pub(super) busy: f64,
    pub(super) busy_since: f64,
}

impl Shared {
    pub(super) fn new(capacity: Capacity) -> Self {
        let (capacity, ceiling) = match capacity {
            Capacity::Shared(capacity) => (capacity, f64::INFINITY),
            Capacity::Each(level) => (f64::INFINITY, level),
        };
        Self {
            capacity,
            ceiling,
            own: 0.0,
            total: 0.0,
            limited: 0.0,
            given: 0.0,
            since: 0.0,
            n_own: 0,
            n_total: 0,
            is_wrong: false,
            queued: 0.0,
            is_touched: false,
            is_changed: false,
            busy: 0.0,
            busy_since: 0.0,
        }
    }

    /// What it gives to a unit of weight if so much grows on it and others take `limited`.
    #[inline]
    pub(super) fn level_for(&self, limited: f64, weight: f64) -> f64 {
        ((self.capacity - limited).max(0.0) / weight).min(self.ceiling)
    }

    /// Bytes per second over it.
    pub(super) fn load(&self, level: f64) -> f64 {
        if self.n_own == 0 { self.limited } else { self.limited + self.own * level }
    }

    /// What it has given to a unit of weight, if it has been at this level.
    pub(super) fn given_at(&self, now: f64, level: f64) -> f64 {
        // Nothing times infinity is not a number.
        if self.n_own == 0 { 0.0 } else { self.given + level * (now - self.since) }
    }

    pub(super) fn advance(&mut self, now: f64, level: f64) {
        self.given = self.given_at(now, level);
        self.since = now;
    }

    /// Takes one of the flows that it limits out of the count.
    pub(super) fn lose(&mut self, weight: f64) {
        self.n_own -= 1;
        self.own = if self.n_own == 0 { 0.0 } else { self.own - weight };
    }

    pub(super) fn gain(&mut self, weight: f64) {
        self.n_own += 1;
        self.own += weight;
    }
}
