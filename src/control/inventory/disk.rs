//! The file in which the inventory outlives a restart: one row a host, written in batches.
//!
//! A file of its own beside the alerts': alerts are added once and must survive a power loss, hosts are written over and over
//! and can be learnt again, so this one asks the disk for less (`synchronous=NORMAL`: a crash of the machine may cost the
//! last seconds, a crash of the program nothing that was written).

use super::host::Host;
use rusqlite::{Connection, params};
use std::path::{Path, PathBuf};

/// Version of the schema that this program writes.
const SCHEMA: i32 = 1;
/// `PRAGMA application_id` of our files: "ShrI".
const APPLICATION: i32 = 0x5368_7249;
/// Rows of one transaction: bounds what a reader or a stop waits for.
const BATCH: usize = 500;
/// What a start adds to the number of the latest change: readers may have seen changes that were not written.
const GAP: u64 = 1 << 32;

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("inventory {}: {problem}; {remedy}", path.display())]
pub struct DiskError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub remedy: &'static str,
}

/// What was read at the start.
pub struct Restored {
    /// Hosts by their keys.
    pub hosts: Vec<(u64, Host)>,
    /// Behind which changes go on.
    pub revision: u64,
    /// Which file: random, made with it.
    pub epoch: u64,
    /// Rows that could not be read: of another version, or damaged.
    pub unreadable: u64,
}

/// The open file.
pub struct Disk {
    connection: Connection,
    path: PathBuf,
    /// Changes up to here are in the file.
    written: u64,
}

const REMEDY: &str = "name another file with `inventory.store`, or remove this one: hosts are then learnt anew";

impl Disk {
    /// Opens the file, or makes it, and reads what is there.
    ///
    /// # Errors
    /// It cannot be used; the message names the remedy.
    pub fn open(path: &Path) -> Result<(Disk, Restored), DiskError> {
        let fail =
            |cause: rusqlite::Error| DiskError { path: path.to_owned(), problem: cause.to_string(), remedy: REMEDY };
        let refuse = |problem: String| DiskError { path: path.to_owned(), problem, remedy: REMEDY };
        let connection = Connection::open(path).map_err(fail)?;
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
        connection.pragma_update(None, "synchronous", "NORMAL").map_err(fail)?;
        if tables == 0 {
            let epoch = getrandom::u64().map_err(|cause| refuse(format!("no random epoch: {cause}")))?;
            connection
                .execute_batch(
                    "BEGIN; CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
                     CREATE TABLE hosts (key INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;
                     INSERT INTO meta VALUES ('epoch', 0), ('revision', 0); COMMIT;",
                )
                .map_err(fail)?;
            connection
                .execute("UPDATE meta SET value = ?1 WHERE key = 'epoch'", [epoch.cast_signed()])
                .map_err(fail)?;
            connection.pragma_update(None, "application_id", APPLICATION).map_err(fail)?;
            connection.pragma_update(None, "user_version", SCHEMA).map_err(fail)?;
        }
        let restored = restore(&connection).map_err(fail)?;
        Ok((Disk { connection, path: path.to_owned(), written: restored.revision }, restored))
    }

    /// Number of the latest change that is in the file.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Writes hosts, of which the last has `revision`, and takes out those that are gone. All or nothing.
    ///
    /// # Errors
    /// The disk's; try again later.
    pub fn write(&mut self, hosts: &[(u64, String)], gone: &[u64], revision: u64) -> Result<(), DiskError> {
        let fail = |cause: rusqlite::Error| DiskError {
            path: self.path.clone(),
            problem: cause.to_string(),
            remedy: "make room, or see to the disk; it is tried again",
        };
        let transaction = self.connection.transaction().map_err(fail)?;
        {
            let mut insert =
                transaction.prepare_cached("INSERT OR REPLACE INTO hosts (key, body) VALUES (?1, ?2)").map_err(fail)?;
            for (key, body) in hosts {
                insert.execute(params![key.cast_signed(), body]).map_err(fail)?;
            }
            let mut delete = transaction.prepare_cached("DELETE FROM hosts WHERE key = ?1").map_err(fail)?;
            for key in gone {
                delete.execute([key.cast_signed()]).map_err(fail)?;
            }
        }
        transaction
            .execute("UPDATE meta SET value = ?1 WHERE key = 'revision'", [revision.cast_signed()])
            .map_err(fail)?;
        transaction.commit().map_err(fail)?;
        self.written = revision;
        Ok(())
    }

    /// Most hosts to be given to one [`Disk::write`].
    pub const fn batch() -> usize {
        BATCH
    }
}

fn restore(connection: &Connection) -> rusqlite::Result<Restored> {
    let meta = |key: &str| {
        connection
            .query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get::<_, i64>(0))
            .map(i64::cast_unsigned)
    };
    let (epoch, revision) = (meta("epoch")?, meta("revision")?);
    let mut statement = connection.prepare("SELECT key, body FROM hosts ORDER BY key")?;
    let mut hosts = Vec::new();
    let mut unreadable = 0;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (key, body): (i64, String) = (row.get(0)?, row.get(1)?);
        match serde_json::from_str::<Host>(&body) {
            Ok(host) => hosts.push((key.cast_unsigned(), host)),
            Err(_) => unreadable += 1,
        }
    }
    let revision = if revision == 0 { 0 } else { revision.saturating_add(GAP) };
    Ok(Restored { hosts, revision, epoch, unreadable })
}

#[cfg(test)]
mod tests {
    use super::super::host::Segment;
    use super::*;
    use crate::units::Timestamp;

    #[test]
    fn hosts_come_back_and_the_gone_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("inventory.db");
        let (mut disk, restored) = Disk::open(&path).unwrap();
        assert_eq!((restored.hosts.len(), restored.revision), (0, 0));
        let mut host = Host::new(Segment::default(), "10.0.0.1".parse().unwrap(), Timestamp(5));
        host.told = Timestamp(0); // what was told to whom does not outlive the program
        let body = serde_json::to_string(&host).unwrap();
        disk.write(&[(1, body.clone()), (2, body.clone()), (3, "{}".into())], &[], 7).unwrap();
        disk.write(&[], &[2], 9).unwrap();
        drop(disk);
        let (_, again) = Disk::open(&path).unwrap();
        assert_eq!((again.hosts, again.unreadable, again.epoch), (vec![(1, host)], 1, restored.epoch));
        assert!(again.revision > 9, "changes go on behind what any reader has seen");
    }

    #[test]
    fn other_files_are_refused_in_words() {
        let folder = tempfile::tempdir().unwrap();
        let foreign = folder.path().join("other.db");
        Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
        let message = Disk::open(&foreign).err().unwrap().to_string();
        assert!(message.contains("something else") && message.contains("inventory.store"), "{message}");
        let newer = folder.path().join("newer.db");
        drop(Disk::open(&newer).unwrap());
        Connection::open(&newer).unwrap().pragma_update(None, "user_version", 9).unwrap();
        assert!(Disk::open(&newer).err().unwrap().to_string().contains("schema 9"));
    }
}
