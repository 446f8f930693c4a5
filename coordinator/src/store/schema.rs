//! The tables, and how they came to be.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use super::{StoreError, failed};

/// Readers do not hold the file for long.
pub(super) const BUSY_MAX: Duration = Duration::from_secs(5);

/// Number of the newest format.
const FORMAT: i64 = 1;

const TABLES: &str = "
CREATE TABLE events (row INTEGER PRIMARY KEY AUTOINCREMENT, unix_ms INTEGER NOT NULL, json TEXT NOT NULL) STRICT;
CREATE TABLE jobs (id TEXT PRIMARY KEY, json TEXT NOT NULL) STRICT;
CREATE TABLE nodes (name TEXT PRIMARY KEY, json TEXT NOT NULL) STRICT;
CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1), json TEXT NOT NULL) STRICT;
CREATE TABLE metrics (
    row INTEGER PRIMARY KEY AUTOINCREMENT,
    job TEXT NOT NULL,
    kind TEXT NOT NULL,
    step INTEGER NOT NULL,
    json TEXT NOT NULL
) STRICT;
CREATE INDEX metrics_of_jobs ON metrics (job, row);
CREATE INDEX metrics_of_steps ON metrics (job, kind, step);
";

/// Makes the tables of a new file and refuses a file from the future.
pub(super) fn prepare(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    connection.busy_timeout(BUSY_MAX).map_err(failed(path))?;
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed(path))?;
    if found > FORMAT {
        return Err(StoreError::TooNew { path: path.to_owned(), found, known: FORMAT });
    }
    // A killed process loses nothing; a machine that loses power may lose the last moments, but not the file.
    let pragmas = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;";
    connection.execute_batch(pragmas).map_err(failed(path))?;
    if found == 0 {
        let all = format!("BEGIN; {TABLES} PRAGMA user_version = {FORMAT}; COMMIT;");
        connection.execute_batch(&all).map_err(failed(path))?;
    }
    Ok(())
}
