//! What befell the fabric, as the cause of what took longer.

use serde::Serialize;

use super::run::Run;
use super::summary::{Phase, Summary};
use crate::picture::Unit;

/// From this share of its own time on, a phase that took longer is said to be bound by what befell the fabric.
const COUNTS: f64 = 0.02;

/// By how much steps took longer for what befell the fabric, and where.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Blame {
    /// What befell it, as it was asked.
    pub events: Vec<String>,
    /// All steps, beyond what they take if nothing befalls it.
    pub longer_seconds: f64,
    /// What they take if nothing befalls it.
    pub base_seconds: f64,
    /// Phases of a step and by how much each takes longer, most first; the parts that add up to it, so some may be
    /// shorter.
    pub phases: Vec<(&'static str, f64)>,
    /// The link whose load grew most for its capacity, and how many times the bytes of before it carries.
    pub link: Option<(String, f64)>,
}

impl Run {
    /// What took longer than in a run where nothing befell the fabric. `name` gives the names of links.
    pub fn blame(&self, base: &Self, events: &[String], name: &dyn Fn(u32) -> String) -> Blame {
        let (now, before) = (self.summary(name), base.summary(name));
        let mut phases: Vec<(&'static str, f64)> =
            now.phases.iter().map(|phase| (phase.name, phase.seconds - before.seconds_of(phase.name))).collect();
        phases.sort_by(|a, b| b.1.total_cmp(&a.1));
        Blame {
            events: events.to_vec(),
            longer_seconds: self.seconds() - base.seconds(),
            base_seconds: base.seconds(),
            phases,
            link: self.burdened(base).map(|(link, times)| (name(link), times)),
        }
    }

    /// The link that carries most more for its capacity, and how many times its bytes of before.
    fn burdened(&self, base: &Self) -> Option<(u32, f64)> {
        let more = |&link: &u32| (self.link(link).bytes - base.link(link).bytes) / self.link(link).capacity;
        let open = (0..self.n_links()).filter(|&link| self.link(link).capacity > 0.0);
        let link = open.max_by(|a, b| more(a).total_cmp(&more(b)).then(b.cmp(a)))?;
        let times = self.link(link).bytes / base.link(link).bytes;
        (times.is_finite() && times > 1.0 + COUNTS).then_some((link, times))
    }
}

impl Summary {
    /// Seconds of a phase of a step; 0 for one that the step has not.
    fn seconds_of(&self, name: &str) -> f64 {
        self.phases.iter().find(|phase| phase.name == name).map_or(0.0, |phase| phase.seconds)
    }

    /// With what befell the fabric as the cause of what takes longer: phases that do are bound by that.
    #[must_use]
    pub fn blaming(mut self, blame: Blame) -> Self {
        let longer = |phase: &Phase| blame.phases.iter().find(|(name, _)| *name == phase.name).map_or(0.0, |p| p.1);
        for phase in &mut self.phases {
            if longer(phase) > COUNTS * phase.seconds {
                phase.bottleneck = blame.events.join(" and ");
            }
        }
        self.blame = Some(blame);
        self
    }
}

impl Blame {
    /// What took how much longer, as a sentence.
    pub fn verdict(&self) -> String {
        let events = self.events.join(" and ");
        let share = 100.0 * self.longer_seconds / self.base_seconds.max(f64::MIN_POSITIVE);
        if share.abs() < 0.005 {
            return format!("{events} costs nothing");
        }
        let mut text = format!("{events} makes it {} longer ({share:+.2}%)", Unit::Seconds.text(self.longer_seconds));
        if let Some((phase, seconds)) = self.phases.first().filter(|(_, seconds)| *seconds > 0.0) {
            text += &format!(": {} of a step in {phase}", Unit::Seconds.text(*seconds));
        }
        if let Some((link, times)) = &self.link {
            text += &format!(", and {link} carries {times:.2} times as much");
        }
        text
    }
}
