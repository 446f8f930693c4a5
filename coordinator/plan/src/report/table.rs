//! A table of text whose columns line up: the first to the left, the others to the right.

/// Lays out rows of cells; the first row is the head. Two spaces between columns, two before the first.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let n_columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..n_columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            line += "  ";
            line += &if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") };
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [["stage", "layers"], ["0", "12"], ["10", "3"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows), "  stage  layers\n  0          12\n  10          3\n");
    }
}
