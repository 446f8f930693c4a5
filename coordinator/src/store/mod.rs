//! What must survive the coordinator: every event with the state that it led to, in one transaction, and metrics.

mod metrics;
mod schema;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Transaction, params};

pub use metrics::{Kind, Metric, Row};

/// Events that are kept, for people who look for what happened. A day of a job that takes a step a second.
const EVENTS_KEPT: i64 = 100_000;
/// Old events are looked for this often; looking for them with each event would cost more than they do.
const PRUNE_EVERY: i64 = 1_000;

/// The state of everything, in writing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// A JSON document a job, by id.
    pub jobs: BTreeMap<String, String>,
    /// A JSON document a node, by name.
    pub nodes: BTreeMap<String, String>,
    /// Everything else, as JSON.
    pub rest: String,
}

/// One event and what it led to.
#[derive(Clone, Debug)]
pub struct Change<'a> {
    /// When.
    pub unix_ms: i64,
    /// As JSON.
    pub event: &'a str,
    /// After it.
    pub state: &'a Snapshot,
    /// What is to be remembered of a run.
    pub metrics: &'a [Metric],
}

/// Why something could not be kept or found.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite says no: disk full, file damaged.
    #[error("{}: {source}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// A newer coordinator wrote it.
    #[error("{}: has format {found}, this version knows formats up to {known}", path.display())]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// Ours.
        known: i64,
    },
}

/// The file, for the one who writes it.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    connection: Connection,
    /// What the file holds; only differences are written.
    written: Snapshot,
}

impl Store {
    /// Opens the file or makes it.
    ///
    /// # Errors
    /// When it cannot be read or written or is from the future.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let connection = Connection::open(path).map_err(failed(path))?;
        schema::prepare(&connection, path)?;
        let written = load(&connection).map_err(failed(path))?;
        Ok(Self { path: path.to_owned(), connection, written })
    }

    /// The state after the last event; none in a new file.
    pub fn state(&self) -> Option<&Snapshot> {
        (!self.written.rest.is_empty()).then_some(&self.written)
    }

    /// Keeps an event, what it led to and its metrics: all or nothing. Returns the metrics as they stand now.
    ///
    /// # Errors
    /// When nothing was kept.
    pub fn commit(&mut self, change: &Change<'_>) -> Result<Vec<Row>, StoreError> {
        let rows = write(&mut self.connection, &self.written, change).map_err(failed(&self.path))?;
        adopt(&mut self.written.jobs, &change.state.jobs);
        adopt(&mut self.written.nodes, &change.state.nodes);
        self.written.rest.clone_from(&change.state.rest);
        Ok(rows)
    }

    /// All that is known of a run, oldest first.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn metrics(&self, job: &str) -> Result<Vec<Row>, StoreError> {
        metrics::read(&self.connection, &metrics::Range::all(job)).map_err(failed(&self.path))
    }

    /// The number of the newest row of metrics.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn newest_row(&self) -> Result<i64, StoreError> {
        metrics::newest(&self.connection).map_err(failed(&self.path))
    }
}

/// The file, for those who only read, beside the one who writes.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    connection: Connection,
}

impl Reader {
    /// Opens a file that is there.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(failed(path))?;
        connection.busy_timeout(schema::BUSY_MAX).map_err(failed(path))?;
        Ok(Self { path: path.to_owned(), connection })
    }

    /// At most `n_max` rows of a run after row `after`, up to row `up_to`, of steps from `from_step` on.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn page(&self, job: &str, from_step: u64, after: i64, up_to: i64, n_max: u32) -> Result<Vec<Row>, StoreError> {
        let range = metrics::Range { job, from_step, after, up_to, n_max };
        metrics::read(&self.connection, &range).map_err(failed(&self.path))
    }
}

fn load(connection: &Connection) -> rusqlite::Result<Snapshot> {
    let pairs = |sql| -> rusqlite::Result<BTreeMap<String, String>> {
        connection.prepare(sql)?.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    };
    let rest = connection.query_row("SELECT json FROM state", [], |row| row.get(0)).optional()?;
    Ok(Snapshot {
        jobs: pairs("SELECT id, json FROM jobs")?,
        nodes: pairs("SELECT name, json FROM nodes")?,
        rest: rest.unwrap_or_default(),
    })
}

fn write(connection: &mut Connection, before: &Snapshot, change: &Change<'_>) -> rusqlite::Result<Vec<Row>> {
    let transaction = connection.transaction()?;
    transaction
        .prepare_cached("INSERT INTO events (unix_ms, json) VALUES (?1, ?2)")?
        .execute(params![change.unix_ms, change.event])?;
    prune(&transaction)?;
    let after = change.state;
    write_differences(&transaction, ["jobs", "id"], &before.jobs, &after.jobs)?;
    write_differences(&transaction, ["nodes", "name"], &before.nodes, &after.nodes)?;
    if before.rest != after.rest {
        transaction.execute("INSERT OR REPLACE INTO state (id, json) VALUES (1, ?1)", [&after.rest])?;
    }
    let rows = change.metrics.iter().map(|metric| metrics::keep(&transaction, metric)).collect::<Result<_, _>>()?;
    transaction.commit()?;
    Ok(rows)
}

fn write_differences(
    transaction: &Transaction<'_>,
    [table, key]: [&str; 2],
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
) -> rusqlite::Result<()> {
    for (id, json) in after.iter().filter(|(id, json)| before.get(*id) != Some(json)) {
        let sql = format!("INSERT OR REPLACE INTO {table} ({key}, json) VALUES (?1, ?2)");
        transaction.prepare_cached(&sql)?.execute([id, json])?;
    }
    for id in before.keys().filter(|id| !after.contains_key(*id)) {
        transaction.prepare_cached(&format!("DELETE FROM {table} WHERE {key} = ?1"))?.execute([id])?;
    }
    Ok(())
}

/// Copies only what differs, since most of a long list of jobs stays as it is.
fn adopt(before: &mut BTreeMap<String, String>, after: &BTreeMap<String, String>) {
    before.retain(|id, _| after.contains_key(id));
    for (id, json) in after {
        if before.get(id) != Some(json) {
            before.insert(id.clone(), json.clone());
        }
    }
}

fn prune(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let newest = transaction.last_insert_rowid();
    if newest % PRUNE_EVERY == 0 {
        transaction.execute("DELETE FROM events WHERE row <= ?1", [newest - EVENTS_KEPT])?;
    }
    Ok(())
}

fn failed(path: &Path) -> impl FnOnce(rusqlite::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Sqlite { path, source }
}

#[cfg(test)]
mod tests;
