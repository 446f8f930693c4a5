//! A row of the table of fields: where a value stands, what may stand there, and how it gets in and out of a spec.

use std::time::Duration;

use super::JobSpec;
use super::kind::{Kind, Range, Word};
use super::value::Value;

/// Which phase and which piece of its learning rate, for fields that stand in lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct At {
    pub(super) phase: usize,
    pub(super) piece: usize,
}

impl At {
    /// The path with its `[]` filled in.
    pub(super) fn path(self, path: &str) -> String {
        let mut filled = path.to_owned();
        for index in [self.phase, self.piece] {
            filled = filled.replacen("[]", &format!("[{index}]"), 1);
        }
        filled
    }

    /// Within a list of that path, at that item.
    pub(super) fn item(self, list: &str, index: usize) -> Self {
        if list == PIECES { Self { piece: index, ..self } } else { Self { phase: index, piece: 0 } }
    }
}

/// The list of pieces within the list of phases.
pub(super) const PIECES: &str = "train[].learning_rate.pieces";
/// The list of phases.
pub(super) const PHASES: &str = "train";

/// Out of a spec, and into it.
#[derive(Clone, Copy)]
pub(super) struct Lens {
    pub(super) get: fn(&JobSpec, At) -> Value,
    pub(super) set: fn(&mut JobSpec, At, Value),
}

/// The lens of a place: `lens!(spec, at => spec.train[at.phase].steps)`.
macro_rules! lens {
    ($spec:ident, $at:ident => $place:expr) => {
        $crate::spec::field::Lens {
            get: |$spec, $at| {
                let _ = $at;
                $crate::spec::value::Slot::value(&$place)
            },
            set: |$spec, $at, value| {
                let _ = $at;
                $place = $crate::spec::value::slot(value);
            },
        }
    };
}
pub(super) use lens;

/// What holds when nobody wrote a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absent {
    /// It must be written (or come from a preset).
    Required,
    /// This, as one would write it.
    Default(&'static str),
    /// What that other field says.
    SameAs(&'static str),
}

/// A field that only stands beside certain words in another field of its section.
#[derive(Clone, Copy, Debug)]
pub(super) struct When {
    pub(super) key: &'static str,
    pub(super) is: &'static [&'static str],
}

/// A row of the table of fields.
#[derive(Clone, Copy)]
pub(super) struct Field {
    /// With `[]` after a list: `train[].steps`.
    pub(super) path: &'static str,
    pub(super) kind: Kind,
    /// Whether null may stand there, for none.
    pub(super) is_nullable: bool,
    pub(super) absent: Absent,
    pub(super) when: Option<When>,
    /// One sentence, with the unit.
    pub(super) doc: &'static str,
    pub(super) lens: Lens,
}

/// A required field.
pub(super) const fn field(path: &'static str, kind: Kind, lens: Lens, doc: &'static str) -> Field {
    Field { path, kind, is_nullable: false, absent: Absent::Required, when: None, doc, lens }
}

impl Field {
    /// When nobody writes it, as if this were written.
    pub(super) const fn default(mut self, written: &'static str) -> Self {
        self.absent = Absent::Default(written);
        self
    }

    /// When nobody writes it, as that other field.
    pub(super) const fn same_as(mut self, path: &'static str) -> Self {
        self.absent = Absent::SameAs(path);
        self
    }

    /// Null may stand there.
    pub(super) const fn nullable(mut self) -> Self {
        self.is_nullable = true;
        self
    }

    /// It stands only beside those words at `key` of the same section.
    pub(super) const fn when(mut self, key: &'static str, is: &'static [&'static str]) -> Self {
        self.when = Some(When { key, is });
        self
    }

    /// The section that it stands in, with `[]` after a list; empty for the top.
    pub(super) fn section(&self) -> &'static str {
        self.path.rsplit_once('.').map_or("", |(section, _)| section)
    }

    /// Its own key.
    pub(super) fn key(&self) -> &'static str {
        self.path.rsplit_once('.').map_or(self.path, |(_, key)| key)
    }
}

/// A whole number, both ends included.
pub(super) const fn whole(least: i128, most: i128) -> Kind {
    Kind::Whole { least, most }
}

/// A number of steps, or of what else cannot run out.
pub(super) const fn count(least: i128) -> Kind {
    whole(least, 1 << 53)
}

/// A number of more than 0.
pub(super) const POSITIVE: Kind = Kind::Real(Range::Positive);
/// A number of at least 0.
pub(super) const NOT_NEGATIVE: Kind = Kind::Real(Range::NotNegative);
/// A number of at least 0 and less than 1.
pub(super) const SHARE: Kind = Kind::Real(Range::Share);

/// A word and what it means.
pub(super) const fn word(word: &'static str, doc: &'static str) -> Word {
    Word { word, doc }
}

/// A duration, both ends included.
pub(super) const fn time(least: Duration, most: Duration) -> Kind {
    Kind::Time { least, most }
}
