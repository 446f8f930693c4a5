//! Comma-separated values (RFC 4180): quotes, doubled quotes, a byte-order mark.

use std::collections::HashMap;

/// A header and its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    columns: HashMap<String, usize>,
    records: Vec<Vec<String>>,
}

/// Why a text is no table.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CsvError {
    /// Nothing there.
    #[error("rows: the file has no header line")]
    NoHeader,
    /// Two columns of one name.
    #[error("rows: column {0} is there twice")]
    Twice(String),
}

impl Table {
    /// # Errors
    /// When there is no header, or one name twice in it. Records may be of any length.
    pub fn parse(text: &str) -> Result<Self, CsvError> {
        let mut lines = records(text.strip_prefix('\u{feff}').unwrap_or(text)).into_iter();
        let header = lines.next().ok_or(CsvError::NoHeader)?;
        let mut columns = HashMap::new();
        for (place, name) in header.into_iter().enumerate() {
            let name = name.trim().to_lowercase();
            if columns.insert(name.clone(), place).is_some() {
                return Err(CsvError::Twice(name));
            }
        }
        Ok(Self { columns, records: lines.collect() })
    }

    /// Whether there is such a column; names are compared without case.
    pub fn has(&self, column: &str) -> bool {
        self.columns.contains_key(column)
    }

    /// Records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// A cell, without space around it; none where it is empty or missing.
    pub fn cell(&self, record: usize, column: &str) -> Option<&str> {
        let cell = self.records.get(record)?.get(*self.columns.get(column)?)?.trim();
        Some(cell).filter(|cell| !cell.is_empty())
    }
}

fn records(text: &str) -> Vec<Vec<String>> {
    let mut records = Vec::new();
    let (mut record, mut cell, mut quoted) = (Vec::new(), String::new(), false);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                cell.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => record.push(std::mem::take(&mut cell)),
            '\r' if !quoted => {}
            '\n' if !quoted => {
                record.push(std::mem::take(&mut cell));
                push(&mut records, std::mem::take(&mut record));
            }
            other => cell.push(other),
        }
    }
    record.push(cell);
    push(&mut records, record);
    records
}

/// Lines without any text are no records.
fn push(records: &mut Vec<Vec<String>>, record: Vec<String>) {
    if record.iter().any(|cell| !cell.trim().is_empty()) {
        records.push(record);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_keep_commas_and_line_breaks() {
        let table = Table::parse("\u{feff}A,b\r\n\"x, \"\"y\"\"\n z\",2\r\n\r\n,\n").unwrap();
        assert_eq!(table.len(), 1);
        assert_eq!(table.cell(0, "a"), Some("x, \"y\"\n z"));
        assert_eq!(table.cell(0, "b"), Some("2"));
        assert_eq!(table.cell(0, "c"), None);
    }

    #[test]
    fn an_empty_file_and_a_doubled_column_are_refused() {
        assert_eq!(Table::parse(""), Err(CsvError::NoHeader));
        assert_eq!(Table::parse("a,A\n1,2"), Err(CsvError::Twice("a".to_owned())));
    }
}
