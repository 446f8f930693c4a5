//! What is asked on the command line, read.

use std::path::PathBuf;
use std::str::FromStr;

use ds_forecast::simulate::{Skew, Straggler};
use ds_topology::traffic::moe::recorded_loads;

use crate::failure::Failure;
use crate::files::read_text;

/// A word of the command line that was read.
#[derive(Clone, Debug)]
pub(super) struct Asked<T>(pub(super) T);

impl FromStr for Asked<Straggler> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let (rank, factor) = text.strip_prefix("rank=")?.split_once(":x")?;
            let factor: f64 = factor.parse().ok().filter(|f: &f64| f.is_finite() && *f > 0.0)?;
            Some(Straggler { rank: rank.parse().ok()?, factor })
        };
        read().map(Self).ok_or_else(|| "write rank=5:x1.3".to_owned())
    }
}

/// How popular experts are.
#[derive(Clone, Debug)]
pub(super) enum SkewAsked {
    Uniform,
    Zipf(f64),
    Recorded(PathBuf),
}

impl FromStr for SkewAsked {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let exponent = |text: &str| text.parse::<f64>().ok().filter(|e| e.is_finite() && *e >= 0.0);
        match text.split_once(':') {
            None if text == "uniform" => Ok(Self::Uniform),
            Some(("zipf", number)) if exponent(number).is_some() => Ok(Self::Zipf(exponent(number).unwrap_or(0.0))),
            Some(("recorded", path)) if !path.is_empty() => Ok(Self::Recorded(path.into())),
            _ => Err("write uniform, zipf:1.2 or recorded:runs/JOB/metrics.jsonl".to_owned()),
        }
    }
}

impl SkewAsked {
    /// With what its file says.
    pub(super) fn read(&self) -> Result<Skew, Failure> {
        match self {
            Self::Uniform => Ok(Skew::Uniform),
            Self::Zipf(exponent) => Ok(Skew::Zipf(*exponent)),
            Self::Recorded(path) => {
                let loads = recorded_loads(&read_text(path)?);
                Ok(Skew::Recorded(
                    loads.map_err(|error| Failure::Loads { path: path.clone(), reason: error.to_string() })?,
                ))
            }
        }
    }
}
