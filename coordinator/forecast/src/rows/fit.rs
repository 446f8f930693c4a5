//! Constants of a machine from rows: those few rows that its preset names, and no others.

use std::sync::LazyLock;

use super::csv::CsvError;
use super::judge::predicted;
use super::row::{Row, read};
use crate::hardware::{self, Hardware, RECIPES, Recipe, slot};

/// A fit and what it was made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// With its calibrated constants set.
    pub hardware: Hardware,
    /// Names of the constants that were fitted.
    pub constants: Vec<&'static str>,
    /// Rows that were used.
    pub rows: usize,
}

/// Why there is no fit.
#[derive(Debug, thiserror::Error)]
pub enum FitError {
    /// No preset of that name, or none that rows calibrate.
    #[error("hardware: {0} is no preset with calibration rows")]
    Unknown(String),
    /// Some rows are not in the file.
    #[error("rows: the preset {hardware} names {named} rows, of which the files hold {found}")]
    Missing {
        /// The preset.
        hardware: String,
        /// Rows that it names.
        named: usize,
        /// Rows that were found.
        found: usize,
    },
    /// A file is no table.
    #[error(transparent)]
    Csv(#[from] CsvError),
}

/// Fits the constants of a preset again from the rows of `texts` that it names.
///
/// # Errors
/// When a text is no table, or rows that the preset names are missing.
pub fn fit(texts: &[&str], name: &str) -> Result<Fit, FitError> {
    let recipe = RECIPES.iter().find(|recipe| recipe.hardware.eq_ignore_ascii_case(name));
    let unknown = || FitError::Unknown(name.to_owned());
    let recipe = recipe.ok_or_else(unknown)?;
    let named = named(recipe)?;
    let mut given = Vec::new();
    for text in texts {
        given.extend(read(text)?.into_iter().filter_map(Result::ok));
    }
    let rows: Vec<Row> = named.iter().filter(|row| given.iter().any(|other| is_same(row, other))).cloned().collect();
    if rows.len() < named.len() {
        let hardware = recipe.hardware.to_owned();
        return Err(FitError::Missing { hardware, named: named.len(), found: rows.len() });
    }
    let mut hardware = hardware::hardware(recipe.hardware).ok_or_else(unknown)?;
    let constants: Vec<&'static str> = recipe.constants.iter().map(|&(constant, ..)| constant).collect();
    for &(constant, guess, _) in recipe.constants {
        set(&mut hardware, constant, guess);
    }
    let guess = hardware.clone();
    let values = least_squares(recipe.constants.len(), |steps| residuals(recipe, &guess, &rows, steps));
    for (&(constant, start, _), step) in recipe.constants.iter().zip(values) {
        set(&mut hardware, constant, round(start * step.exp()));
    }
    Ok(Fit { hardware, constants, rows: rows.len() })
}

/// The rows of all recipes.
static NAMED: LazyLock<Vec<Row>> =
    LazyLock::new(|| RECIPES.iter().flat_map(|recipe| named(recipe).unwrap_or_default()).collect());

/// Whether constants of its preset were fitted on a row.
pub(super) fn is_fitted(row: &Row) -> bool {
    NAMED.iter().any(|other| is_same(row, other))
}

fn named(recipe: &Recipe) -> Result<Vec<Row>, CsvError> {
    let mut rows = Vec::new();
    for text in recipe.rows {
        let own = read(text)?.into_iter().filter_map(Result::ok).filter(|row| row.hardware == recipe.hardware);
        rows.extend(own);
    }
    Ok(rows)
}

fn is_same(a: &Row, b: &Row) -> bool {
    a.hardware == b.hardware
        && a.network == b.network
        && a.layout == b.layout
        && a.measure == b.measure
        && a.published == b.published
}

/// Four digits are more than such rows can tell.
fn round(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}

fn set(hardware: &mut Hardware, constant: &str, value: f64) {
    *slot(hardware, constant).expect("a test looks every constant of a recipe up") = value;
}

/// One residual a row, a logarithm of the ratio with outliers softened, and one a constant that holds it near its guess.
fn residuals(recipe: &Recipe, guess: &Hardware, rows: &[Row], steps: &[f64]) -> Vec<f64> {
    let mut hardware = guess.clone();
    for (&(constant, start, _), step) in recipe.constants.iter().zip(steps) {
        set(&mut hardware, constant, start * step.exp());
    }
    let of_row = |row: &Row| {
        let predicted = predicted(row, &hardware);
        let ratio = (predicted / row.published).ln();
        // Rows of one group weigh as much as those of another, however many they are.
        let n = rows.iter().filter(|other| other.group == row.group).count() as f64;
        recipe.weight(&row.group) * soften(ratio, recipe.outlier) / n.sqrt()
    };
    let held = recipe.constants.iter().zip(steps).map(|(&(_, _, spread), step)| recipe.hold * step / spread);
    rows.iter().map(of_row).chain(held).collect()
}

/// As it is near zero, the root of its size far away.
fn soften(residual: f64, scale: f64) -> f64 {
    let square = (1.0 + (residual / scale).powi(2)).sqrt() - 1.0;
    residual.signum() * scale * (2.0 * square).sqrt()
}

/// Levenberg and Marquardt's method with differences for derivatives, from zero.
fn least_squares(n: usize, residuals: impl Fn(&[f64]) -> Vec<f64>) -> Vec<f64> {
    const DIFFERENCE: f64 = 1e-4;
    let norm = |residuals: &[f64]| residuals.iter().map(|r| r * r).sum::<f64>();
    let mut at = vec![0.0; n];
    let mut now = residuals(&at);
    let mut damping = 1e-2;
    for _ in 0..60 {
        let columns: Vec<Vec<f64>> = (0..n)
            .map(|i| {
                let mut moved = at.clone();
                moved[i] += DIFFERENCE;
                residuals(&moved).iter().zip(&now).map(|(b, a)| (b - a) / DIFFERENCE).collect()
            })
            .collect();
        let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
        let before = norm(&now);
        for _ in 0..12 {
            let matrix: Vec<Vec<f64>> = (0..n)
                .map(|i| {
                    let damped = |j: usize| if i == j { 1.0 + damping } else { 1.0 };
                    (0..n).map(|j| product(&columns[i], &columns[j]) * damped(j)).collect()
                })
                .collect();
            let right: Vec<f64> = (0..n).map(|i| -product(&columns[i], &now)).collect();
            let next: Vec<f64> =
                at.iter().zip(solve(matrix, right)).map(|(a, step)| a + step.clamp(-0.5, 0.5)).collect();
            let then = residuals(&next);
            if norm(&then) < norm(&now) {
                (at, now) = (next, then);
                damping *= 0.3;
                break;
            }
            damping *= 4.0;
        }
        if before - norm(&now) < 1e-9 * before {
            break;
        }
    }
    at
}

/// Gauss's elimination of a positive definite system.
fn solve(mut matrix: Vec<Vec<f64>>, mut right: Vec<f64>) -> Vec<f64> {
    let n = right.len();
    for i in 0..n {
        for j in i + 1..n {
            let factor = matrix[j][i] / matrix[i][i];
            let (above, below) = matrix.split_at_mut(j);
            for (b, a) in below[0][i..].iter_mut().zip(&above[i][i..]) {
                *b -= factor * a;
            }
            right[j] -= factor * right[i];
        }
    }
    for i in (0..n).rev() {
        let known: f64 = (i + 1..n).map(|j| matrix[i][j] * right[j]).sum();
        right[i] = (right[i] - known) / matrix[i][i];
    }
    right
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn least_squares_finds_the_bottom_of_a_valley() {
        let rosenbrock = |x: &[f64]| vec![1.0 - x[0], 10.0 * (x[1] - x[0] * x[0])];
        let found = least_squares(2, rosenbrock);
        assert!((found[0] - 1.0).abs() < 1e-3 && (found[1] - 1.0).abs() < 2e-3, "{found:?}");
    }
}
