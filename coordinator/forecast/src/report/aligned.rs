//! Tables of text whose columns are aligned.

/// A line a row below the head; columns `names` to the left, numbers to the right.
pub(super) fn aligned(head: &[&str], rows: &[Vec<String>], names: &[usize]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &[&str]| {
        let cell = |(i, cell): (usize, &&str)| {
            let pad = " ".repeat(widths[i].saturating_sub(cell.chars().count()));
            if names.contains(&i) { format!("{cell}{pad}") } else { format!("{pad}{cell}") }
        };
        let cells: Vec<String> = cells.iter().enumerate().map(cell).collect();
        format!("  {}\n", cells.join("  ").trim_end())
    };
    let body = rows.iter().map(|row| line(&row.iter().map(String::as_str).collect::<Vec<_>>()));
    std::iter::once(line(head)).chain(body).collect()
}
