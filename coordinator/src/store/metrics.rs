//! What a run has told of itself. Each step and each evaluation stands once: what a resumed attempt repeats replaces
//! what an earlier one said of that step and of all later ones.

use rusqlite::types::{FromSql, FromSqlResult, ToSqlOutput, ValueRef};
use rusqlite::{Connection, ToSql, Transaction, params};

/// What a metric tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One optimizer update.
    Step,
    /// Held-out data.
    Evaluation,
    /// A checkpoint that lies on disk.
    Checkpoint,
    /// A sentence for people.
    Note,
}

/// Something to remember of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Whose.
    pub job: String,
    /// Of what.
    pub kind: Kind,
    /// Of which step.
    pub step: u64,
    /// A document.
    pub json: String,
}

/// Something that is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Rising in the order of arrival.
    pub row: i64,
    /// What it is.
    pub metric: Metric,
    /// Whether it replaced what stood there for this step and later ones.
    pub cut_back: bool,
}

/// Which rows are wanted.
pub(super) struct Range<'a> {
    pub(super) job: &'a str,
    pub(super) from_step: u64,
    pub(super) after: i64,
    pub(super) up_to: i64,
    pub(super) n_max: u32,
}

impl Kind {
    /// As it stands in the table and in metrics.jsonl.
    pub fn name(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Evaluation => "evaluation",
            Self::Checkpoint => "checkpoint",
            Self::Note => "note",
        }
    }
}

impl<'a> Range<'a> {
    pub(super) fn all(job: &'a str) -> Self {
        Self { job, from_step: 0, after: 0, up_to: i64::MAX, n_max: u32::MAX }
    }
}

/// Adds a metric and removes what it makes untrue.
pub(super) fn keep(transaction: &Transaction<'_>, metric: &Metric) -> rusqlite::Result<Row> {
    let outdated: &[Kind] = match metric.kind {
        Kind::Step => &[Kind::Step, Kind::Evaluation, Kind::Checkpoint],
        Kind::Evaluation => &[Kind::Evaluation],
        Kind::Checkpoint => &[Kind::Checkpoint],
        Kind::Note => &[],
    };
    let mut n_removed = 0;
    for kind in outdated {
        n_removed += transaction
            .prepare_cached("DELETE FROM metrics WHERE job = ?1 AND kind = ?2 AND step >= ?3")?
            .execute(params![metric.job, kind, signed(metric.step)])?;
    }
    transaction
        .prepare_cached("INSERT INTO metrics (job, kind, step, json) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![metric.job, metric.kind, signed(metric.step), metric.json])?;
    Ok(Row { row: transaction.last_insert_rowid(), metric: metric.clone(), cut_back: n_removed > 0 })
}

/// Rows in the order of arrival.
pub(super) fn read(connection: &Connection, range: &Range<'_>) -> rusqlite::Result<Vec<Row>> {
    let sql = "SELECT row, kind, step, json FROM metrics
        WHERE job = ?1 AND row > ?2 AND row <= ?3 AND step >= ?4 ORDER BY row LIMIT ?5";
    let values = params![range.job, range.after, range.up_to, signed(range.from_step), range.n_max];
    let row = |row: &rusqlite::Row<'_>| {
        let step: i64 = row.get(2)?;
        let step = step.unsigned_abs();
        let metric = Metric { job: range.job.to_owned(), kind: row.get(1)?, step, json: row.get(3)? };
        Ok(Row { row: row.get(0)?, metric, cut_back: false })
    };
    connection.prepare_cached(sql)?.query_map(values, row)?.collect()
}

/// The number of the newest row.
pub(super) fn newest(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("SELECT coalesce(max(row), 0) FROM metrics", [], |row| row.get(0))
}

/// SQLite's integers have a sign; no job has so many steps.
fn signed(step: u64) -> i64 {
    i64::try_from(step).unwrap_or(i64::MAX)
}

impl ToSql for Kind {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.name().into())
    }
}

impl FromSql for Kind {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let kinds = [Self::Step, Self::Evaluation, Self::Checkpoint, Self::Note];
        let name = value.as_str()?;
        kinds.into_iter().find(|kind| kind.name() == name).ok_or(rusqlite::types::FromSqlError::InvalidType)
    }
}
