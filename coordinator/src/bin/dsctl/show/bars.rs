//! Shares as bars.

use super::numbers::{percent, seconds};

const WIDTH: usize = 24;

/// One line a cause, the longest first: name, bar, seconds, share. Causes that took less than a thousandth are left out.
pub(crate) fn bars(seconds_by_cause: &[(String, f64)]) -> Vec<String> {
    let total: f64 = seconds_by_cause.iter().map(|(_, s)| s).sum();
    let mut sorted: Vec<&(String, f64)> = seconds_by_cause.iter().filter(|(_, s)| *s > total / 1000.0).collect();
    sorted.sort_by(|a, b| b.1.total_cmp(&a.1));
    let widest = sorted.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let line = |(name, spent): &(String, f64)| {
        let filled = (spent / total * WIDTH as f64).round() as usize;
        let bar = "#".repeat(filled.min(WIDTH));
        format!("{name:<widest$} {bar:<WIDTH$} {:>10} {:>4}", seconds(*spent), percent(spent / total))
    };
    sorted.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_cause_comes_first_and_bars_are_proportional() {
        let lines = bars(&[("data".to_owned(), 1.0), ("compute".to_owned(), 3.0), ("nothing".to_owned(), 0.0)]);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].starts_with("compute") && lines[0].matches('#').count() == 18, "{lines:?}");
        assert!(lines[1].ends_with("25%") && lines[1].matches('#').count() == 6, "{lines:?}");
    }

    #[test]
    fn no_time_at_all_gives_no_bars() {
        assert!(bars(&[("data".to_owned(), 0.0)]).is_empty());
        assert!(bars(&[]).is_empty());
    }
}
