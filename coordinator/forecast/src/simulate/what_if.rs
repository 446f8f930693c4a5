//! What befalls a fabric during a run, as short text: `plane=3:down@t=2s`, `link=P2.h5.up:x0.5@t=1s`,
//! `plane=3:up@t=4s`.

use std::fmt;
use std::str::FromStr;

use ds_topology::fabric::{Fabric, Fault, FaultError};

/// Something that befalls a fabric.
#[derive(Clone, Debug, PartialEq)]
pub struct WhatIf {
    /// Seconds from the beginning.
    pub at: f64,
    /// What fails, or is repaired.
    pub change: Change,
}

/// What fails, or is repaired.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// From then on.
    Fails(Fault),
    /// A part, as it was named when it failed.
    IsRepaired(String),
}

/// Text that says nothing that can befall a fabric.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum WhatIfError {
    /// The time does not read.
    #[error("`{found}` has no time: write {example}")]
    Time {
        /// What was given.
        found: String,
        /// What could be.
        example: &'static str,
    },
    /// What fails does not read.
    #[error("{0}")]
    Fault(#[from] FaultError),
    /// It is whole.
    #[error("`{part}` is repaired at {at} s, but it has not failed before")]
    NotBroken {
        /// What is repaired.
        part: String,
        /// When.
        at: f64,
    },
}

impl FromStr for WhatIf {
    type Err = WhatIfError;

    fn from_str(text: &str) -> Result<Self, WhatIfError> {
        let (what, time) = text.rsplit_once('@').unwrap_or((text, "t=0"));
        let seconds = || {
            let time = time.trim().strip_prefix("t=")?;
            let (number, unit) = match time.strip_suffix("ms") {
                Some(number) => (number, 1e-3),
                None => (time.strip_suffix('s').unwrap_or(time), 1.0),
            };
            number.trim().parse::<f64>().ok().map(|n| n * unit).filter(|n| n.is_finite() && *n >= 0.0)
        };
        let example = "plane=3:down@t=2s, link=P2.h5.up:x0.5@t=500ms or plane=3:up@t=4s";
        let at = seconds().ok_or_else(|| WhatIfError::Time { found: text.to_owned(), example })?;
        match what.strip_suffix(":up") {
            Some(part) => Ok(Self { at, change: Change::IsRepaired(part.trim().to_owned()) }),
            None => Ok(Self { at, change: Change::Fails(what.parse()?) }),
        }
    }
}

impl fmt::Display for WhatIf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.change {
            Change::Fails(fault) => write!(f, "{fault}@t={}s", self.at),
            Change::IsRepaired(part) => write!(f, "{part}:up@t={}s", self.at),
        }
    }
}

/// The states of a fabric in order, each with the time from which it holds. What befalls it at the beginning makes the
/// first state.
///
/// # Errors
/// When something fails that the fabric does not have, or is repaired that is whole.
pub fn states(fabric: &Fabric, events: &[WhatIf]) -> Result<Vec<(f64, Fabric)>, WhatIfError> {
    let mut events = events.to_vec();
    events.sort_by(|a, b| a.at.total_cmp(&b.at));
    let mut broken: Vec<Fault> = Vec::new();
    let mut states: Vec<(f64, Fabric)> = vec![(0.0, fabric.clone())];
    for event in events {
        match event.change {
            Change::Fails(fault) => broken.push(fault),
            Change::IsRepaired(part) => {
                let before = broken.len();
                broken.retain(|fault| fault.part.to_string() != part);
                if broken.len() == before {
                    return Err(WhatIfError::NotBroken { part, at: event.at });
                }
            }
        }
        if states.last().is_some_and(|(from, _)| *from == event.at) {
            states.pop();
        }
        states.push((event.at, fabric.clone().with_faults(&broken)?));
    }
    Ok(states)
}
