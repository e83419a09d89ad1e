//! The SQLite file: schema, group commit, retention, reading.
//!
//! WAL with `synchronous=FULL`: a commit that returned is on the disk, also across a power loss, and readers never wait
//! for the writer. Sequence numbers are dense: given in the commit, never used twice, deleted only from the bottom.

use super::{Filter, SCAN_ROWS, StoreError, Stored};
use crate::control::alert::Alert;
use crate::units::Timestamp;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior, params};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Version of the schema that this program writes.
const SCHEMA: i32 = 1;
/// `PRAGMA application_id` of our files: "Shrk".
const APPLICATION: i32 = 0x5368_726b;
/// Rows that one commit may delete for retention: twice what it may add, so that retention catches up, and still a few
/// milliseconds (20 000 rows of 200 000 took 88 ms).
const TRIM_ROWS: u64 = 1_000;
/// How long a lock by another process (a backup, the `sqlite3` tool) is waited for before the commit counts as failed.
const BUSY: Duration = Duration::from_millis(500);

const CREATE: &str = "
    CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE alerts (
        sequence INTEGER PRIMARY KEY,
        time INTEGER NOT NULL,
        severity INTEGER NOT NULL,
        detector TEXT NOT NULL,
        id TEXT NOT NULL,
        occurrences INTEGER NOT NULL,
        body TEXT NOT NULL,
        UNIQUE (id, occurrences)
    ) STRICT;
";

/// Where the rows are: everything in `floor < sequence <= last` is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Extent {
    pub(super) epoch: u64,
    /// Highest sequence number that retention has deleted.
    pub(super) floor: u64,
    /// Highest sequence number given.
    pub(super) last: u64,
}

/// The writing connection.
pub(super) struct Database {
    connection: Connection,
    path: PathBuf,
    retain: u64,
    extent: Extent,
}

fn open_error(path: &Path, cause: rusqlite::Error) -> StoreError {
    StoreError::Open { path: path.to_owned(), cause: cause.to_string() }
}

impl Database {
    /// Opens or makes the file. With `create` off a missing file is an error (it must not come back empty while running).
    pub(super) fn open(path: &Path, retain: u64, create: bool) -> Result<Database, StoreError> {
        let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        flags.set(OpenFlags::SQLITE_OPEN_CREATE, create);
        let fail = |cause| open_error(path, cause);
        let mut connection = Connection::open_with_flags(path, flags).map_err(fail)?;
        connection.busy_timeout(BUSY).map_err(fail)?;
        let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
        let version = pragma("user_version").map_err(fail)?;
        let application = pragma("application_id").map_err(fail)?;
        let tables: i64 =
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(fail)?;
        if tables > 0 && application != APPLICATION {
            return Err(StoreError::Foreign { path: path.to_owned() });
        }
        if version > SCHEMA {
            return Err(StoreError::Newer { path: path.to_owned(), found: version, known: SCHEMA });
        }
        if tables == 0 {
            // Before the first table, or it has no effect.
            connection.pragma_update(None, "auto_vacuum", "INCREMENTAL").map_err(fail)?;
        }
        connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0)).map_err(fail)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(fail)?;
        if tables == 0 {
            let epoch = getrandom::u64().map_err(|cause| StoreError::Open {
                path: path.to_owned(),
                cause: format!("no random epoch: {cause}"),
            })?;
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fail)?;
            transaction.execute_batch(CREATE).map_err(fail)?;
            transaction
                .execute("INSERT INTO meta VALUES ('epoch', ?1), ('floor', 0), ('last', 0)", [epoch.cast_signed()])
                .map_err(fail)?;
            transaction.pragma_update(None, "application_id", APPLICATION).map_err(fail)?;
            transaction.pragma_update(None, "user_version", SCHEMA).map_err(fail)?;
            transaction.commit().map_err(fail)?;
        }
        let extent = read_extent(&connection).map_err(fail)?;
        Ok(Database { connection, path: path.to_owned(), retain, extent })
    }

    pub(super) fn extent(&self) -> Extent {
        self.extent
    }

    /// Writes the alerts in one transaction; the answer names those that are new, in order. An alert that is there already
    /// (same id, same occurrences) is left out. On error nothing has been written.
    pub(super) fn commit<'a>(
        &mut self,
        alerts: impl Iterator<Item = &'a Alert>,
    ) -> Result<Vec<Arc<Stored>>, StoreError> {
        let fail = |cause: rusqlite::Error| StoreError::Write { path: self.path.clone(), cause: cause.to_string() };
        let mut stored = Vec::new();
        let mut extent = self.extent;
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fail)?;
        {
            let mut insert = transaction
                .prepare_cached(
                    "INSERT OR IGNORE INTO alerts (sequence, time, severity, detector, id, occurrences, body)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                )
                .map_err(fail)?;
            for alert in alerts {
                let row = Stored::new(extent.last + 1, alert);
                let added = insert
                    .execute(params![
                        row.sequence.cast_signed(),
                        row.time.0.cast_signed(),
                        row.severity,
                        row.detector,
                        row.id,
                        alert.occurrences.cast_signed(),
                        row.body,
                    ])
                    .map_err(fail)?;
                if added == 1 {
                    extent.last = row.sequence;
                    stored.push(Arc::new(row));
                }
            }
        }
        trim(&transaction, &mut extent, self.retain).map_err(fail)?;
        transaction
            .execute("UPDATE meta SET value = ?1 WHERE key = 'last'", [extent.last.cast_signed()])
            .map_err(fail)?;
        transaction.commit().map_err(fail)?;
        self.extent = extent;
        Ok(stored)
    }

    /// The newest `count` rows, oldest first.
    pub(super) fn newest(&self, count: usize) -> Result<Vec<Arc<Stored>>, StoreError> {
        newest(&self.connection, &Filter::default(), count).map_err(|cause| open_error(&self.path, cause))
    }
}

/// Deletes at most [`TRIM_ROWS`] of the rows beyond `retain`, in the transaction that adds new ones: so the floor that
/// readers see and the rows that are there always agree.
fn trim(transaction: &Transaction<'_>, extent: &mut Extent, retain: u64) -> rusqlite::Result<()> {
    let excess = (extent.last - extent.floor).saturating_sub(retain).min(TRIM_ROWS);
    if excess > 0 {
        extent.floor += excess;
        transaction.execute("DELETE FROM alerts WHERE sequence <= ?1", [extent.floor.cast_signed()])?;
        transaction.execute("UPDATE meta SET value = ?1 WHERE key = 'floor'", [extent.floor.cast_signed()])?;
        transaction.execute_batch("PRAGMA incremental_vacuum(64)")?;
    }
    Ok(())
}

fn read_extent(connection: &Connection) -> rusqlite::Result<Extent> {
    let meta = |key: &str| {
        connection
            .prepare_cached("SELECT value FROM meta WHERE key = ?1")?
            .query_row([key], |row| row.get::<_, i64>(0))
            .map(i64::cast_unsigned)
    };
    Ok(Extent { epoch: meta("epoch")?, floor: meta("floor")?, last: meta("last")? })
}

const COLUMNS: &str = "sequence, time, severity, detector, id, body";
const WHERE: &str = "(?3 IS NULL OR severity <= ?3) AND (?4 IS NULL OR detector = ?4) AND (?5 IS NULL OR time >= ?5)";

fn row_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Arc<Stored>> {
    Ok(Arc::new(Stored {
        sequence: row.get::<_, i64>(0)?.cast_unsigned(),
        time: Timestamp(row.get::<_, i64>(1)?.cast_unsigned()),
        severity: row.get(2)?,
        detector: row.get(3)?,
        id: row.get(4)?,
        body: row.get(5)?,
    }))
}

/// The newest rows that pass the filter, oldest first, as the database stands now.
fn newest(connection: &Connection, filter: &Filter, count: usize) -> rusqlite::Result<Vec<Arc<Stored>>> {
    newest_by(connection, &format!("sequence > ?1 AND {WHERE}"), filter, count, read_extent(connection)?.last)
}

/// The newest rows for which `condition` holds, oldest first. Of all rows the newest SCAN_ROWS up to `last` are looked at: a
/// rare filter must not walk the whole file. `?1` is the last row before those; the filter is `WHERE`'s.
fn newest_by(
    connection: &Connection,
    condition: &str,
    filter: &Filter,
    count: usize,
    last: u64,
) -> rusqlite::Result<Vec<Arc<Stored>>> {
    let sql = format!("SELECT {COLUMNS} FROM alerts WHERE {condition} ORDER BY sequence DESC LIMIT ?2");
    let mut rows = connection
        .prepare_cached(&sql)?
        .query_map(
            params![
                last.saturating_sub(SCAN_ROWS).cast_signed(),
                i64::try_from(count).unwrap_or(i64::MAX),
                filter.severity,
                filter.detector.map(|detector| detector.name()),
                filter.since.map(|since| since.0.cast_signed()),
            ],
            row_of,
        )?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    rows.reverse();
    Ok(rows)
}

/// A reading connection; many may be open.
pub(super) struct Reader {
    connection: Connection,
    path: PathBuf,
}

impl Reader {
    pub(super) fn open(path: &Path) -> Result<Reader, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let fail = |cause| open_error(path, cause);
        let connection = Connection::open_with_flags(path, flags).map_err(fail)?;
        connection.busy_timeout(BUSY).map_err(fail)?;
        Ok(Reader { connection, path: path.to_owned() })
    }

    /// Rows after `after` that pass the filter, at most `limit` of them and looking at no more than [`SCAN_ROWS`]; with how
    /// far was looked, and the extent at that very moment.
    pub(super) fn after(
        &mut self,
        after: Option<u64>,
        filter: &Filter,
        limit: usize,
    ) -> Result<(Vec<Arc<Stored>>, u64, Extent), StoreError> {
        let path = self.path.clone();
        let mut read = || -> rusqlite::Result<_> {
            let transaction = self.connection.transaction()?;
            let extent = read_extent(&transaction)?;
            let start = after.unwrap_or(extent.floor);
            let end = start.saturating_add(SCAN_ROWS).min(extent.last);
            let sql = format!(
                "SELECT {COLUMNS} FROM alerts
                 WHERE sequence > ?1 AND sequence <= ?6 AND {WHERE} ORDER BY sequence LIMIT ?2"
            );
            let rows = transaction
                .prepare_cached(&sql)?
                .query_map(
                    params![
                        start.cast_signed(),
                        i64::try_from(limit).unwrap_or(i64::MAX),
                        filter.severity,
                        filter.detector.map(|detector| detector.name()),
                        filter.since.map(|since| since.0.cast_signed()),
                        end.cast_signed(),
                    ],
                    row_of,
                )?
                .collect::<rusqlite::Result<Vec<_>>>()?;
            Ok((rows, end, extent))
        };
        let (rows, end, extent) = read().map_err(|cause| StoreError::Read { path, cause: cause.to_string() })?;
        let reached = if rows.len() == limit { rows.last().map_or(end, |row| row.sequence) } else { end };
        Ok((rows, reached, extent))
    }

    /// The newest rows that pass the filter, oldest first.
    pub(super) fn newest(&mut self, filter: &Filter, count: usize) -> Result<(Vec<Arc<Stored>>, Extent), StoreError> {
        let path = self.path.clone();
        let mut read = || -> rusqlite::Result<_> {
            let transaction = self.connection.transaction()?;
            Ok((newest(&transaction, filter, count)?, read_extent(&transaction)?))
        };
        read().map_err(|cause| StoreError::Read { path, cause: cause.to_string() })
    }

    /// Of the newest rows of each alert the newest, oldest first; see [`Reader::newest`].
    pub(super) fn newest_of_each(
        &mut self,
        filter: &Filter,
        count: usize,
    ) -> Result<(Vec<Arc<Stored>>, Extent), StoreError> {
        let path = self.path.clone();
        let mut read = || -> rusqlite::Result<_> {
            let transaction = self.connection.transaction()?;
            let extent = read_extent(&transaction)?;
            let condition =
                format!("sequence IN (SELECT max(sequence) FROM alerts WHERE sequence > ?1 AND {WHERE} GROUP BY id)");
            let rows = newest_by(&transaction, &condition, filter, count, extent.last)?;
            Ok((rows, extent))
        };
        read().map_err(|cause| StoreError::Read { path, cause: cause.to_string() })
    }

    /// Every row with this id (the alert and its repeats), oldest first, at most 100.
    pub(super) fn find(&mut self, id: &str) -> Result<Vec<Arc<Stored>>, StoreError> {
        let read = || {
            self.connection
                .prepare_cached(&format!("SELECT {COLUMNS} FROM alerts WHERE id = ?1 ORDER BY occurrences LIMIT 100"))?
                .query_map([id], row_of)?
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|cause| StoreError::Read { path: self.path.clone(), cause: cause.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::alert;
    use super::*;

    #[test]
    fn a_newer_schema_and_a_foreign_file_are_refused_in_words() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alerts.db");
        drop(Database::open(&path, 10, true).unwrap());
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 7).unwrap();
        let message = Database::open(&path, 10, true).err().unwrap().to_string();
        assert!(message.contains("schema 7") && message.contains("knows 1"), "{message}");

        let foreign = folder.path().join("other.db");
        Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
        assert!(matches!(Database::open(&foreign, 10, true), Err(StoreError::Foreign { .. })));

        let text = folder.path().join("text.db");
        std::fs::write(&text, "not a database, only a text of some length\n".repeat(40)).unwrap();
        assert!(matches!(Database::open(&text, 10, true), Err(StoreError::Open { .. })));
        assert!(matches!(Database::open(&folder.path().join("none.db"), 10, false), Err(StoreError::Open { .. })));
    }

    #[test]
    fn an_alert_is_written_once_and_sequences_stay_dense_over_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alerts.db");
        let mut database = Database::open(&path, 100, true).unwrap();
        let epoch = database.extent().epoch;
        let rows = [alert("a", 1), alert("b", 2), alert("a", 1)];
        assert_eq!(database.commit(rows.iter()).unwrap().len(), 2);
        drop(database);
        let mut database = Database::open(&path, 100, true).unwrap();
        assert_eq!(database.extent(), Extent { epoch, floor: 0, last: 2 });
        assert_eq!(database.commit([alert("b", 2), alert("c", 3)].iter()).unwrap()[0].sequence, 3);
        assert_eq!(database.newest(2).unwrap().iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["b", "c"]);
    }

    #[test]
    fn retention_deletes_from_the_bottom_in_slices_and_says_where_it_got_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alerts.db");
        let mut database = Database::open(&path, 5_000, true).unwrap();
        let rows: Vec<_> = (0..3_000).map(|index| alert(&format!("a{index}"), 3)).collect();
        database.commit(rows.iter()).unwrap();
        drop(database);
        let mut database = Database::open(&path, 10, true).unwrap();
        for expected in [1_000, 2_000, 2_993, 2_994] {
            database.commit([alert(&format!("new{expected}"), 1)].iter()).unwrap();
            assert_eq!(database.extent().floor, expected);
            let mut reader = Reader::open(&path).unwrap();
            let (rows, _, extent) = reader.after(None, &Filter::default(), 1).unwrap();
            assert_eq!((rows[0].sequence, extent.floor), (expected + 1, expected));
        }
    }
}
