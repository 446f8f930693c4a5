//! Rates and times as people write them: `400Gbps`, `50GB/s`, `600ns`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Bytes per second, in one direction.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rate(pub f64);

/// Seconds.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Seconds(pub f64);

/// Text that is no number with a unit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is no {what}: write a number and a unit, as in {example}; units are {units}")]
pub struct NoQuantity {
    found: String,
    what: &'static str,
    example: &'static str,
    units: String,
}

/// Longest first, so that `Gbps` is not read as `bps`.
const RATES: &[(&str, f64)] = &[
    ("GiB/s", 1_073_741_824.0),
    ("MiB/s", 1_048_576.0),
    ("Tbps", 1e12 / 8.0),
    ("Gbps", 1e9 / 8.0),
    ("Mbps", 1e6 / 8.0),
    ("TB/s", 1e12),
    ("GB/s", 1e9),
    ("MB/s", 1e6),
    ("B/s", 1.0),
];

/// Divisors, since a billionth is no binary number: 450 / 1e9 is the number nearest to 450 ns, 450 · 1e-9 is not.
const TIMES: &[(&str, f64)] = &[("ns", 1e9), ("us", 1e6), ("µs", 1e6), ("ms", 1e3), ("s", 1.0)];

impl FromStr for Rate {
    type Err = NoQuantity;

    fn from_str(text: &str) -> Result<Self, NoQuantity> {
        quantity(text, RATES, |number, scale| number * scale)
            .map(Self)
            .ok_or_else(|| no_quantity(text, "rate", "400Gbps or 50GB/s", RATES))
    }
}

impl FromStr for Seconds {
    type Err = NoQuantity;

    fn from_str(text: &str) -> Result<Self, NoQuantity> {
        quantity(text, TIMES, |number, scale| number / scale)
            .map(Self)
            .ok_or_else(|| no_quantity(text, "time", "600ns or 3.6us", TIMES))
    }
}

impl TryFrom<String> for Rate {
    type Error = NoQuantity;

    fn try_from(text: String) -> Result<Self, NoQuantity> {
        text.parse()
    }
}

impl TryFrom<String> for Seconds {
    type Error = NoQuantity;

    fn try_from(text: String) -> Result<Self, NoQuantity> {
        text.parse()
    }
}

impl From<Rate> for String {
    fn from(rate: Rate) -> Self {
        rate.to_string()
    }
}

impl From<Seconds> for String {
    fn from(seconds: Seconds) -> Self {
        seconds.to_string()
    }
}

/// In `GB/s` from 1 GB/s on, else in `MB/s`.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, scale) = if self.0 >= 1e9 { ("GB/s", 1e9) } else { ("MB/s", 1e6) };
        write!(f, "{}{unit}", rounded(self.0 / scale))
    }
}

/// In `ns` below 1 µs, in `us` below 1 ms, then in `ms` and `s`.
impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, scale) = match self.0 {
            s if s < 1e-6 => ("ns", 1e-9),
            s if s < 1e-3 => ("us", 1e-6),
            s if s < 1.0 => ("ms", 1e-3),
            _ => ("s", 1.0),
        };
        write!(f, "{}{unit}", rounded(self.0 / scale))
    }
}

/// Without the dust that a change of unit leaves.
fn rounded(number: f64) -> f64 {
    (number * 1e6).round() / 1e6
}

fn quantity(text: &str, units: &[(&str, f64)], apply: impl Fn(f64, f64) -> f64) -> Option<f64> {
    let text = text.trim();
    let (number, scale) = units.iter().find_map(|(unit, scale)| Some((text.strip_suffix(unit)?, *scale)))?;
    let number: f64 = number.trim().parse().ok()?;
    Some(apply(number, scale)).filter(|value| value.is_finite() && *value >= 0.0)
}

fn no_quantity(found: &str, what: &'static str, example: &'static str, units: &[(&str, f64)]) -> NoQuantity {
    let units: Vec<&str> = units.iter().map(|(unit, _)| *unit).collect();
    NoQuantity { found: found.to_owned(), what, example, units: units.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_an_eighth_of_bytes() {
        assert_eq!("400Gbps".parse(), Ok(Rate(50e9)));
        assert_eq!("50 GB/s".parse(), Ok(Rate(50e9)));
        assert_eq!("1GiB/s".parse(), Ok(Rate(1_073_741_824.0)));
    }

    #[test]
    fn what_is_written_reads_as_the_same() {
        for rate in [Rate(160e9), Rate(12.5e9), Rate(2e6)] {
            assert_eq!(rate.to_string().parse(), Ok(rate));
        }
        for text in ["600ns", "1.665us", "2ms", "3s"] {
            assert_eq!(text.parse::<Seconds>().expect("a time").to_string(), text);
        }
    }

    #[test]
    fn a_number_without_a_unit_is_refused_with_the_units() {
        let refused = "400".parse::<Rate>().expect_err("no unit").to_string();
        assert!(
            refused.starts_with("`400` is no rate: write a number and a unit, as in 400Gbps or 50GB/s"),
            "{refused}"
        );
        assert!("-3us".parse::<Seconds>().is_err());
        assert!("fast".parse::<Rate>().is_err());
    }
}
