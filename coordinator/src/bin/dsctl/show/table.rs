//! Rows and columns.

/// Columns as wide as their widest cell, the head in capitals; no blanks at the ends of lines.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let head: Vec<String> = head.iter().map(|name| name.to_uppercase()).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).chain(head.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    std::iter::once(&head).chain(rows).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [vec!["a".to_owned(), "running".to_owned()], vec!["longer".to_owned(), "done".to_owned()]];
        assert_eq!(table(&["job", "state"], &rows), ["JOB     STATE", "a       running", "longer  done"]);
    }

    #[test]
    fn a_table_without_rows_is_its_head() {
        assert_eq!(table(&["job"], &[]), ["JOB"]);
    }
}
