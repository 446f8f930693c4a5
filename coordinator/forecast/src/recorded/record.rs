//! What the ranks of a job did in one step, as they write it down while they run: computations by what they are, not by how
//! long they took, and every byte that left a rank for another.

use ds_plan::schedule::Piece;
use serde::{Deserialize, Serialize};

/// One step of all ranks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// The ranks of every group that something is done in, ascending; as the plan numbers groups.
    pub groups: Vec<Vec<u32>>,
    /// Per rank, what it did, in the order in which it began it.
    pub ranks: Vec<Vec<Event>>,
}

/// Something that a rank did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Of which of its actions; none for what ends a step.
    pub action: Option<u32>,
    /// About which pass of which microbatch.
    pub piece: Option<Piece>,
    /// Places of events of the same rank that had to be over before; all are earlier ones.
    pub after: Vec<u32>,
    /// What.
    pub does: Does,
}

/// What a rank did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Does {
    /// It computed. Without a piece it is the update of the weights.
    Compute {
        /// Which part of its pass, from zero, as the workload of the stage lists them, exchanges too; those of a whole
        /// backward are those of the input gradients, then those of the weight gradients.
        part: u32,
        /// How many times the mean rows of the layer its experts worked on; 1 where none of them did.
        load: f64,
    },
    /// It met the ranks of a group.
    Meet {
        /// Which, as `StepRecord::groups` lists them.
        group: u32,
        /// The number of the operation in its group: all ranks that meet say the same.
        number: u64,
        /// What for.
        what: Meeting,
        /// Ranks to which it sent, and bytes.
        sends: Vec<(u32, f64)>,
    },
    /// It sent, and went on.
    Send {
        /// To this rank.
        to: u32,
        /// Of several messages to it.
        number: u64,
        /// How much.
        bytes: f64,
    },
    /// It took what another rank sent.
    Receive {
        /// From this rank.
        from: u32,
        /// As the sender says.
        number: u64,
    },
}

/// What ranks meet for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Meeting {
    /// Tokens to their experts; in backward, gradients of the results.
    Dispatch,
    /// Results back to their tokens; in backward, gradients of the tokens.
    Combine,
    /// Sums of gradients.
    Reduce,
    /// Weights that are divided.
    Gather,
    /// All else: counts, norms, barriers.
    Agree,
}

impl Meeting {
    /// For traces.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Dispatch => "dispatch",
            Self::Combine => "combine",
            Self::Reduce => "reduce",
            Self::Gather => "gather",
            Self::Agree => "agree",
        }
    }
}

/// What a rank writes while it runs.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    action: Option<u32>,
    events: Vec<Event>,
    /// The last event that others wait for: a rank sends and goes on.
    last: Option<u32>,
}

impl Recorder {
    /// What follows belongs to that action; to none at the end of a step.
    pub fn begin(&mut self, action: Option<u32>) {
        self.action = action;
    }

    /// Something that waited for the last event before it that was no send. Gives its place.
    pub fn then(&mut self, piece: Option<Piece>, does: Does) -> u32 {
        let goes_on = matches!(does, Does::Send { .. });
        let place = self.beside(piece, self.last.into_iter().collect(), does);
        if !goes_on {
            self.last = Some(place);
        }
        place
    }

    /// Something that waited for those events only. Gives its place.
    pub fn beside(&mut self, piece: Option<Piece>, after: Vec<u32>, does: Does) -> u32 {
        self.events.push(Event { action: self.action, piece, after, does });
        self.events.len() as u32 - 1
    }

    /// The step of the rank; the next one begins empty.
    pub fn take(&mut self) -> Vec<Event> {
        (self.action, self.last) = (None, None);
        std::mem::take(&mut self.events)
    }
}
