//! A curve as text.

use std::fmt::Write as _;

/// What is drawn, in the order of drawing: later marks cover earlier ones.
pub(crate) struct Series<'a> {
    /// Drawn for each point.
    pub(crate) mark: char,
    /// In the legend.
    pub(crate) name: &'a str,
    /// (x, y); points that are not finite are left out.
    pub(crate) points: &'a [(f64, f64)],
}

/// Draws `series` on `width` × `height` characters, axes and legend beside; empty when there is nothing to draw.
/// Columns show the mean of their points.
pub(crate) fn curve(series: &[Series<'_>], width: usize, height: usize) -> String {
    let finite = |s: &Series<'_>| s.points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
    let drawn: Vec<Vec<(f64, f64)>> = series.iter().map(finite).collect();
    let all = || drawn.iter().flatten();
    if all().next().is_none() || width < 2 || height < 2 {
        return String::new();
    }
    let (left, right) = span(all().map(|p| p.0));
    let (low, high) = span(all().map(|p| p.1));
    let mut cells = vec![vec![' '; width]; height];
    for (series, points) in series.iter().zip(&drawn) {
        for (column, y) in columns(points, left, right, width) {
            let row = cell(y, low, high, height);
            cells[height - 1 - row][column] = series.mark;
        }
    }
    frame(&cells, (left, right), (low, high), series)
}

/// The mean of the points of each column that has any.
fn columns(points: &[(f64, f64)], left: f64, right: f64, width: usize) -> Vec<(usize, f64)> {
    let mut sums = vec![(0.0, 0_u32); width];
    for &(x, y) in points {
        let sum = &mut sums[cell(x, left, right, width)];
        *sum = (sum.0 + y, sum.1 + 1);
    }
    sums.into_iter().enumerate().filter(|(_, (_, n))| *n > 0).map(|(i, (sum, n))| (i, sum / f64::from(n))).collect()
}

/// Which of `n` cells between `low` and `high` a value falls into.
fn cell(value: f64, low: f64, high: f64, n: usize) -> usize {
    let share = (value - low) / (high - low);
    ((share * (n - 1) as f64).round() as usize).min(n - 1)
}

/// The least and the largest, apart even when they are equal.
fn span(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    if low < high { (low, high) } else { (low - 0.5, high + 0.5) }
}

fn frame(cells: &[Vec<char>], (left, right): (f64, f64), (low, high): (f64, f64), series: &[Series<'_>]) -> String {
    let (height, width) = (cells.len(), cells[0].len());
    let mut text = String::new();
    for (row, line) in cells.iter().enumerate() {
        let y = high - (high - low) * row as f64 / (height - 1) as f64;
        let label = if row % 3 == 0 || row + 1 == height { format!("{y:.2}") } else { String::new() };
        let line: String = line.iter().collect();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{label:>8} |{}", line.trim_end());
    }
    let _ = writeln!(text, "{:>8} +{}", "", "-".repeat(width));
    let (left, right) = (format!("{left:.0}"), format!("step {right:.0}"));
    let _ = writeln!(text, "{:>9} {left}{right:>rest$}", "", rest = width.saturating_sub(left.len()));
    let legend: Vec<String> =
        series.iter().filter(|s| !s.points.is_empty()).map(|s| format!("{} {}", s.mark, s.name)).collect();
    let _ = writeln!(text, "{:>9} {}", "", legend.join("   "));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<&str> {
        text.lines().filter_map(|line| line.split_once('|')).map(|(_, row)| row).collect()
    }

    #[test]
    fn a_falling_line_goes_from_the_upper_left_to_the_lower_right() {
        let points: Vec<(f64, f64)> = (0..10).map(|i| (f64::from(i), f64::from(9 - i))).collect();
        let text = curve(&[Series { mark: '*', name: "loss", points: &points }], 10, 10);
        let rows = rows(&text);
        assert_eq!(rows.len(), 10);
        for (i, row) in rows.iter().enumerate() {
            assert_eq!(row.find('*'), Some(i), "{text}");
        }
        assert!(text.contains("* loss"), "{text}");
    }

    #[test]
    fn a_column_shows_the_mean_of_its_points() {
        let points = [(0.0, 0.0), (0.1, 10.0), (9.0, 10.0), (9.0, 0.0), (4.0, 0.0), (5.0, 10.0)];
        let text = curve(&[Series { mark: '*', name: "loss", points: &points }], 10, 11);
        let middle = rows(&text)[5];
        assert_eq!((middle.chars().next(), middle.chars().last()), (Some('*'), Some('*')), "{text}");
    }

    #[test]
    fn a_flat_line_a_single_point_and_no_point_are_drawn_without_a_fault() {
        let flat = [(1.0, 2.0), (2.0, 2.0)];
        assert_eq!(curve(&[Series { mark: '*', name: "loss", points: &flat }], 20, 5).matches('*').count(), 3);
        assert!(curve(&[Series { mark: 'o', name: "loss", points: &flat[..1] }], 20, 5).contains('o'));
        assert_eq!(curve(&[Series { mark: '*', name: "loss", points: &[] }], 20, 5), "");
    }

    #[test]
    fn what_is_not_finite_is_left_out() {
        let points = [(1.0, f64::NAN), (2.0, f64::INFINITY), (3.0, 1.0), (4.0, 2.0)];
        let text = curve(&[Series { mark: '*', name: "loss", points: &points }], 10, 4);
        assert_eq!(rows(&text).concat().matches('*').count(), 2, "{text}");
    }
}
