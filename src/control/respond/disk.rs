//! The file in which responses outlive a restart, with what was in force before, and the audit.
//!
//! A file of its own beside the alerts', `synchronous=FULL`: what people order was on the disk before the kernel is told, and what
//! playbooks do right after, so that nothing stays blocked that nobody remembers. One writer. The audit is bounded: in the transaction that adds a row, the earliest go.

use super::audit::{Event, Row};
use super::intended::{Id, Response};
use crate::units::Timestamp;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Version of the schema that this program writes.
const SCHEMA: i32 = 1;
/// `PRAGMA application_id` of our files: "ShrR".
const APPLICATION: i32 = 0x5368_7252;
/// Earlier responses remembered for escalation; beyond that those that ended first are forgotten, and begin anew.
pub const MEMORY_MAX: i64 = 1 << 16;
/// Rows of the audit that a start looks at for what began within the last minute.
const BEGUN_ROWS: usize = 10_000;
/// How long a lock by another process is waited for.
const BUSY: Duration = Duration::from_millis(500);

const CREATE: &str = "
    BEGIN;
    CREATE TABLE responses (id TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE memory (id TEXT PRIMARY KEY, ended INTEGER NOT NULL, repeats INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE INDEX memory_ended ON memory (ended);
    CREATE TABLE audit (sequence INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;
    COMMIT;
";

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("responses {}: {problem}; {remedy}", path.display())]
pub struct DiskError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub remedy: &'static str,
}

/// What is to be written, all or nothing.
#[derive(Default)]
pub struct Change<'a> {
    /// Put in, or in the place of those of the same id.
    pub put: Vec<&'a Response>,
    /// Taken out.
    pub remove: Vec<Id>,
    /// What was in force and how often, under [`Id::of_anybody`], with when it ended.
    pub remember: Vec<(Id, Timestamp, u32)>,
    /// Rows of the audit.
    pub audit: Vec<Row>,
}

/// The open file.
pub struct Disk {
    connection: Connection,
    path: PathBuf,
    keep: u64,
}

const REMEDY: &str =
    "name another file with `store` of [respond], or remove this one: what was in force is then forgotten";

impl Disk {
    /// Opens the file, or makes it; what was there, with the number of rows that another version wrote. `keep`: rows of the audit.
    ///
    /// # Errors
    /// It cannot be used; the message names the remedy.
    pub fn open(path: &Path, keep: u64) -> Result<(Disk, Vec<Response>, u64), DiskError> {
        let refuse = |problem: String| DiskError { path: path.to_owned(), problem, remedy: REMEDY };
        let fail = |cause: rusqlite::Error| refuse(cause.to_string());
        let connection = Connection::open(path).map_err(fail)?;
        connection.busy_timeout(BUSY).map_err(fail)?;
        let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
        let tables: i64 =
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(fail)?;
        if tables > 0 && pragma("application_id").map_err(fail)? != APPLICATION {
            return Err(refuse("is a database of something else".into()));
        }
        let version = pragma("user_version").map_err(fail)?;
        if version > SCHEMA {
            return Err(refuse(format!("has schema {version}, this program knows {SCHEMA}")));
        }
        connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0)).map_err(fail)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(fail)?;
        if tables == 0 {
            connection.execute_batch(CREATE).map_err(fail)?;
            connection.pragma_update(None, "application_id", APPLICATION).map_err(fail)?;
            connection.pragma_update(None, "user_version", SCHEMA).map_err(fail)?;
        }
        let (responses, unreadable) = restore(&connection).map_err(fail)?;
        Ok((Disk { connection, path: path.to_owned(), keep }, responses, unreadable))
    }

    /// Writes a change. Waits for the disk.
    ///
    /// # Errors
    /// The disk's; nothing of it was written.
    pub fn write(&mut self, change: &Change<'_>) -> Result<(), DiskError> {
        let fail = |path: &Path, cause: rusqlite::Error| DiskError {
            path: path.to_owned(),
            problem: cause.to_string(),
            remedy: "make room, or see to the disk, and ask again",
        };
        write(&mut self.connection, change, self.keep).map_err(|cause| fail(&self.path, cause))
    }

    /// How often the same was in force before, if it ended no earlier than `since`.
    ///
    /// # Errors
    /// The file does not answer.
    pub fn repeats(&self, id: &Id, since: Timestamp) -> Result<Option<u32>, DiskError> {
        let row = self
            .connection
            .query_row(
                "SELECT repeats FROM memory WHERE id = ?1 AND ended >= ?2",
                params![id.to_string(), since.0.cast_signed()],
                |row| row.get::<_, u32>(0),
            )
            .optional();
        row.map_err(|cause| DiskError { path: self.path.clone(), problem: cause.to_string(), remedy: REMEDY })
    }

    /// When playbooks began something by themselves since then, as the audit has it, the latest last.
    ///
    /// # Errors
    /// The file does not answer.
    pub fn begun_since(&self, since: Timestamp) -> Result<Vec<Timestamp>, DiskError> {
        let (page, _) = audit_page(&self.path, None, None, BEGUN_ROWS)?;
        let automatic = |row: &Row| row.event == Event::Requested && row.who.starts_with("playbook ");
        let mut begun: Vec<_> =
            page.iter().filter(|row| automatic(row) && row.time >= since).map(|row| row.time).collect();
        begun.sort();
        Ok(begun)
    }
}

fn write(connection: &mut Connection, change: &Change<'_>, keep: u64) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for response in &change.put {
        // A response is numbers, strings and lists: serde_json cannot fail on it.
        let body = serde_json::to_string(response).unwrap_or_default();
        transaction
            .prepare_cached("INSERT OR REPLACE INTO responses (id, body) VALUES (?1, ?2)")?
            .execute(params![response.id.to_string(), body])?;
    }
    for id in &change.remove {
        transaction.prepare_cached("DELETE FROM responses WHERE id = ?1")?.execute([id.to_string()])?;
    }
    for (id, ended, repeats) in &change.remember {
        transaction
            .prepare_cached("INSERT OR REPLACE INTO memory (id, ended, repeats) VALUES (?1, ?2, ?3)")?
            .execute(params![id.to_string(), ended.0.cast_signed(), repeats])?;
    }
    if !change.remember.is_empty() {
        transaction
            .prepare_cached(
                "DELETE FROM memory WHERE id IN (SELECT id FROM memory ORDER BY ended DESC LIMIT -1 OFFSET ?1)",
            )?
            .execute([MEMORY_MAX])?;
    }
    for row in &change.audit {
        let body = serde_json::to_string(row).unwrap_or_default();
        transaction.prepare_cached("INSERT INTO audit (body) VALUES (?1)")?.execute([body])?;
    }
    if !change.audit.is_empty() {
        transaction
            .prepare_cached("DELETE FROM audit WHERE sequence <= (SELECT max(sequence) FROM audit) - ?1")?
            .execute([i64::try_from(keep).unwrap_or(i64::MAX)])?;
    }
    transaction.commit()
}

fn restore(connection: &Connection) -> rusqlite::Result<(Vec<Response>, u64)> {
    let mut statement = connection.prepare("SELECT body FROM responses ORDER BY id")?;
    let mut rows = statement.query([])?;
    let (mut responses, mut unreadable) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        match serde_json::from_str(&row.get::<_, String>(0)?) {
            Ok(response) => responses.push(response),
            Err(_) => unreadable += 1,
        }
    }
    Ok((responses, unreadable))
}

/// A page of the audit, the newest first, behind which `before` stands; and whether there is more. Opens the file for itself.
///
/// # Errors
/// The file does not answer.
pub fn audit_page(
    path: &Path,
    before: Option<u64>,
    id: Option<&Id>,
    limit: usize,
) -> Result<(Vec<Row>, bool), DiskError> {
    let read = || -> rusqlite::Result<Vec<Row>> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY)?;
        let mut statement = connection.prepare(
            "SELECT sequence, body FROM audit WHERE sequence < ?1 AND (?2 IS NULL OR json_extract(body, '$.id') = ?2)
             ORDER BY sequence DESC LIMIT ?3",
        )?;
        let before = before.and_then(|before| i64::try_from(before).ok()).unwrap_or(i64::MAX);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
        let rows = statement.query_map(params![before, id.map(Id::to_string), limit], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
        })?;
        let mut page = Vec::new();
        for row in rows {
            let (sequence, body) = row?;
            // A row of another version is left out.
            page.extend(
                serde_json::from_str::<Row>(&body).ok().map(|row| Row { sequence: sequence.cast_unsigned(), ..row }),
            );
        }
        Ok(page)
    };
    let mut page =
        read().map_err(|cause| DiskError { path: path.to_owned(), problem: cause.to_string(), remedy: REMEDY })?;
    let has_more = page.len() > limit;
    page.truncate(limit);
    Ok((page, has_more))
}
