//! How a way is chosen among several.

use std::fmt;
use std::str::FromStr;

/// How a way is chosen among several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Policy {
    /// By the destination alone: on trees D-mod-k (Zahavi 2010), on graphs the least neighbour that is nearer.
    #[default]
    Static,
    /// The same on fabrics with rails by the destination's number within its rail, so that the few hosts of a leaf spread
    /// over all its uplinks. Elsewhere as `Static`.
    StaticRail,
    /// By a hash of sender, receiver and message: what switches do with flows by default.
    Ecmp {
        /// Another seed, other collisions.
        seed: u64,
    },
    /// The way whose busiest link carries the least; on graphs a detour when that is the least (UGAL: Singh 2005).
    Adaptive,
    /// Packet by packet over all shortest ways, in equal parts.
    Spray,
    /// First to a random switch, then to the destination (Valiant 1982). On trees the random switch is the top of the way,
    /// as with ECMP.
    Valiant {
        /// Another seed, other switches.
        seed: u64,
    },
}

/// Text that names no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{found}` is no routing policy: write static, static-rail, ecmp, ecmp:SEED, adaptive, spray, valiant or valiant:SEED"
)]
pub struct UnknownPolicy {
    found: String,
}

impl Policy {
    pub(super) fn seed(self) -> u64 {
        match self {
            Self::Ecmp { seed } | Self::Valiant { seed } => seed,
            Self::Static | Self::StaticRail | Self::Adaptive | Self::Spray => 0,
        }
    }

    pub(super) fn hashes(self) -> bool {
        matches!(self, Self::Ecmp { .. } | Self::Valiant { .. })
    }
}

impl FromStr for Policy {
    type Err = UnknownPolicy;

    fn from_str(text: &str) -> Result<Self, UnknownPolicy> {
        let unknown = || UnknownPolicy { found: text.to_owned() };
        let (word, seed) = match text.split_once(':') {
            Some((word, seed)) => (word, Some(seed.parse().map_err(|_| unknown())?)),
            None => (text, None),
        };
        match (word, seed) {
            ("static", None) => Ok(Self::Static),
            ("static-rail", None) => Ok(Self::StaticRail),
            ("adaptive", None) => Ok(Self::Adaptive),
            ("spray", None) => Ok(Self::Spray),
            ("ecmp", seed) => Ok(Self::Ecmp { seed: seed.unwrap_or(0) }),
            ("valiant", seed) => Ok(Self::Valiant { seed: seed.unwrap_or(0) }),
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Static => f.write_str("static"),
            Self::StaticRail => f.write_str("static-rail"),
            Self::Adaptive => f.write_str("adaptive"),
            Self::Spray => f.write_str("spray"),
            Self::Ecmp { seed } => write!(f, "ecmp:{seed}"),
            Self::Valiant { seed } => write!(f, "valiant:{seed}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_as_the_same() {
        for text in ["static", "static-rail", "adaptive", "spray", "ecmp:7", "valiant:3"] {
            assert_eq!(text.parse::<Policy>().expect("a policy").to_string(), text);
        }
        assert_eq!("ecmp".parse(), Ok(Policy::Ecmp { seed: 0 }));
        assert!("static:3".parse::<Policy>().is_err());
        assert!("fastest".parse::<Policy>().is_err());
    }
}
