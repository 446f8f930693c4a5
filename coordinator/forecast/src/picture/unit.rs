//! Quantities on axes and labels: a unit chooses round ticks and writes values short.

/// What an axis measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Time, given in seconds.
    Seconds,
    /// Storage, given in bytes; shown in binary units.
    Bytes,
    /// Speed, given in bytes a second; shown in decimal units.
    BytesPerSecond,
    /// A share, where 1 is the whole.
    Share,
    /// Things, with their name.
    Count(&'static str),
}

const TIMES: &[(f64, &str)] = &[(1e-6, "µs"), (1e-3, "ms"), (1.0, "s"), (60.0, "min"), (3600.0, "h")];
const SIZES: &[(f64, &str)] = &[
    (1.0, "B"),
    (1024.0, "KiB"),
    (1_048_576.0, "MiB"),
    (1_073_741_824.0, "GiB"),
    (1_099_511_627_776.0, "TiB"),
    (1_125_899_906_842_624.0, "PiB"),
];
const SPEEDS: &[(f64, &str)] = &[(1.0, "B/s"), (1e3, "kB/s"), (1e6, "MB/s"), (1e9, "GB/s"), (1e12, "TB/s")];
const COUNTS: &[(f64, &str)] = &[(1.0, ""), (1e3, "k"), (1e6, "M"), (1e9, "B"), (1e12, "T")];

impl Unit {
    /// A value with three digits and its unit, such as `1.95 s`.
    pub fn text(self, value: f64) -> String {
        // An empty sum is -0.
        let value = if value == 0.0 { 0.0 } else { value };
        let (factor, name) = self.scale(value.abs());
        let text = digits(value / factor, 3);
        match self {
            Self::Count("") => format!("{text}{name}"),
            Self::Count(thing) => format!("{text}{name} {thing}"),
            Self::Share => format!("{text}%"),
            _ => format!("{text} {name}"),
        }
    }

    /// Round values from zero to `end`, at most `n` or so, as they stand on an axis.
    pub fn ticks(self, end: f64, n: usize) -> Vec<(f64, String)> {
        self.ticks_between(0.0, end, n)
    }

    /// Round values from `start` to `end`, at most `n` or so, as they stand on an axis.
    pub fn ticks_between(self, start: f64, end: f64, n: usize) -> Vec<(f64, String)> {
        if !(start.is_finite() && end.is_finite()) || end <= start {
            return vec![(start, self.text(start))];
        }
        let (factor, name) = self.scale(start.abs().max(end.abs()));
        let step = round_step((end - start) / factor / n.max(1) as f64);
        let decimals = (-step.log10().floor()).max(0.0) as usize;
        let first = (start / factor / step - 1e-9).ceil() as i64;
        let last = (end / factor / step + 1e-9).floor() as i64;
        let suffix = match self {
            Self::Share => "%".to_owned(),
            Self::Count(_) => name.to_owned(),
            _ => format!(" {name}"),
        };
        let tick = |i: i64| (i as f64 * step * factor, format!("{:.decimals$}{suffix}", i as f64 * step));
        (first..=last).map(tick).collect()
    }

    /// The unit in which such a value has one to three digits before its point.
    fn scale(self, value: f64) -> (f64, &'static str) {
        let units = match self {
            Self::Seconds => TIMES,
            Self::Bytes => SIZES,
            Self::BytesPerSecond => SPEEDS,
            Self::Count(_) => COUNTS,
            Self::Share => return (0.01, "%"),
        };
        // Minutes from two on: 90 s reads better than 1.5 min.
        let from =
            |(factor, _): &(f64, &str)| if *factor >= 60.0 && self == Self::Seconds { 2.0 * factor } else { *factor };
        let largest = units.iter().rev().find(|unit| value >= from(unit) * 0.9995);
        let least = if self == Self::Seconds && value == 0.0 { &units[2] } else { &units[0] };
        *largest.unwrap_or(least)
    }
}

/// 1, 2 or 5 times a power of ten, not below `step`.
fn round_step(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    let rounded = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= step * (1.0 - 1e-9)).unwrap_or(10.0);
    rounded * power
}

/// So many digits, without a point where none is needed.
fn digits(value: f64, n: usize) -> String {
    if !value.is_finite() {
        return "?".to_owned();
    }
    let before = if value.abs() < 1.0 { 1 } else { value.abs().log10().floor() as usize + 1 };
    let text = format!("{value:.*}", n.saturating_sub(before));
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_three_digits_and_a_unit() {
        assert_eq!(Unit::Seconds.text(-0.0), "0 s");
        let seconds = [0.0, 1.2e-6, 0.0345, 19.926, 90.0, 7200.0].map(|s| Unit::Seconds.text(s));
        assert_eq!(seconds, ["0 s", "1.2 µs", "34.5 ms", "19.9 s", "90 s", "2 h"]);
        assert_eq!(Unit::Bytes.text(80.0 * 1_073_741_824.0), "80 GiB");
        assert_eq!(Unit::Share.text(0.3894), "38.9%");
        assert_eq!(Unit::Count("tokens").text(62_914_560.0), "62.9M tokens");
        assert_eq!(Unit::BytesPerSecond.text(5e10), "50 GB/s");
    }

    #[test]
    fn ticks_are_round_and_within() {
        for end in [0.013, 1.0, 7.3, 19.926, 100.0, 4321.0] {
            for unit in [Unit::Seconds, Unit::Bytes, Unit::Share, Unit::Count("")] {
                let ticks = unit.ticks(end, 8);
                assert!((2..=9).contains(&ticks.len()), "{end} {ticks:?}");
                assert!(ticks.iter().all(|(value, _)| (0.0..=end * (1.0 + 1e-9)).contains(value)), "{end} {ticks:?}");
                let mut texts: Vec<&String> = ticks.iter().map(|(_, text)| text).collect();
                texts.dedup();
                assert_eq!(texts.len(), ticks.len(), "{end} {ticks:?}");
            }
        }
        let texts: Vec<String> = Unit::Seconds.ticks(19.926, 8).into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, ["0 s", "5 s", "10 s", "15 s"]);
    }

    #[test]
    fn nothing_to_measure_has_one_tick() {
        assert_eq!(Unit::Seconds.ticks(0.0, 5), [(0.0, "0 s".to_owned())]);
        assert_eq!(Unit::Seconds.ticks(f64::NAN, 5).len(), 1);
    }
}
