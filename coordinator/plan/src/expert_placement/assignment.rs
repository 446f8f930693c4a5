//! The best way to give every row a column of its own, by the Hungarian method (H. W. Kuhn, 1955; potentials as in
//! J. Munkres, 1957).

/// The column of every row, so that the values at those places add up to the most. Of equally good ways always the same.
pub(super) fn assignment(values: &[Vec<u64>]) -> Vec<usize> {
    let n = values.len();
    assert!(values.iter().all(|row| row.len() == n), "as many columns as rows");
    let most = values.iter().flatten().copied().max().unwrap_or(0);
    // Rows and columns count from 1; 0 stands for none. A cost is what a place is worth less than the best.
    let cost = |row: usize, column: usize| (most - values[row - 1][column - 1]) as i64;
    let (mut of_row, mut of_column) = (vec![0_i64; n + 1], vec![0_i64; n + 1]);
    let mut row_at = vec![0_usize; n + 1];
    for row in 1..=n {
        row_at[0] = row;
        let (mut slack, mut from, mut seen) = (vec![i64::MAX; n + 1], vec![0_usize; n + 1], vec![false; n + 1]);
        let mut column = 0;
        while row_at[column] != 0 {
            seen[column] = true;
            let current = row_at[column];
            for next in (1..=n).filter(|&next| !seen[next]) {
                let reduced = cost(current, next) - of_row[current] - of_column[next];
                if reduced < slack[next] {
                    (slack[next], from[next]) = (reduced, column);
                }
            }
            let next = (1..=n).filter(|&next| !seen[next]).min_by_key(|&next| slack[next]).expect("a free column");
            let step = slack[next];
            for other in 0..=n {
                if seen[other] {
                    of_row[row_at[other]] += step;
                    of_column[other] -= step;
                } else if slack[other] < i64::MAX {
                    slack[other] -= step;
                }
            }
            column = next;
        }
        while column != 0 {
            row_at[column] = row_at[from[column]];
            column = from[column];
        }
    }
    let mut columns = vec![0; n];
    for column in 1..=n {
        columns[row_at[column] - 1] = column - 1;
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The most that any way reaches.
    fn best(values: &[Vec<u64>], row: usize, taken: u32) -> u64 {
        let free = (0..values.len()).filter(|column| taken & (1 << column) == 0);
        free.map(|column| values[row][column] + best(values, row + 1, taken | 1 << column)).max().unwrap_or(0)
    }

    #[test]
    fn no_other_way_is_worth_more() {
        let mut state = 7_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 60) % 6
        };
        for n in 0..=6 {
            for _ in 0..200 {
                let values: Vec<Vec<u64>> = (0..n).map(|_| (0..n).map(|_| next()).collect()).collect();
                let columns = assignment(&values);
                let mut seen = columns.clone();
                seen.sort_unstable();
                assert_eq!(seen, (0..n).collect::<Vec<_>>(), "{values:?}");
                let reached: u64 = columns.iter().enumerate().map(|(row, &column)| values[row][column]).sum();
                assert_eq!(reached, best(&values, 0, 0), "{values:?} {columns:?}");
            }
        }
    }
}
