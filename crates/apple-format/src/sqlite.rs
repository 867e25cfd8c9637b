//! SQLite files in memory: opened so that a hostile one can do no harm, and checked.
//!
//! Nothing is opened on the disk, no trigger, view or extension of the file runs, and the two header bytes that
//! ask for a write-ahead log (which a file in memory cannot have) are changed on the way in.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, ErrorCode, MAIN_DB};

use crate::{Error, Result};

/// What every SQLite file begins with.
pub const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// The length of the header of an SQLite file.
const HEADER: usize = 100;
/// Where the header says how the file is to be written and read: 1 for plain, 2 for a write-ahead log.
const VERSIONS: std::ops::Range<usize> = 18..20;
/// The most bytes one value may have.
const MAX_VALUE: i32 = 64 << 20;
/// How many steps SQLite's machine may take for one question, per byte of the file, and at least. Pages of a hostile
/// file can name each other so that a walk over them never ends.
const STEPS_PER_BYTE: u64 = 40;
const LEAST_STEPS: u64 = 50_000_000;
/// How often steps are counted.
const STEPS_AT_ONCE: i32 = 10_000;

/// What a check of an SQLite file found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is wrong.
    Ok,
    /// It is damaged; SQLite's first complaint.
    Damaged(String),
    /// It is no SQLite file.
    NotADatabase,
}

/// Checks an SQLite file of `len` bytes (`PRAGMA quick_check`: every page and row, not every index entry).
///
/// The whole file is held in memory, so the caller decides what is too large. Extensions of the
/// phone's own SQLite that are missing here (collations, virtual tables) are passed over.
pub fn check(reader: impl Read, len: u64) -> Result<Verdict> {
    let what = "SQLite file";
    if len == 0 {
        // SQLite's empty database: some apps make one and never write to it.
        return Ok(Verdict::Ok);
    }
    let connection = match open(what, reader, len) {
        Ok(opened) => opened.connection,
        Err(Error::NotADatabase { .. } | Error::Truncated { .. }) => return Ok(Verdict::NotADatabase),
        Err(error) => return Err(error),
    };

    let complaint = match quick_check(&connection, None) {
        Ok(complaint) if complaint == "ok" => return Ok(Verdict::Ok),
        Ok(complaint) => complaint,
        Err(error) if is_damage(&error) => return Ok(Verdict::Damaged(error.to_string())),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
            return Ok(Verdict::Damaged("it takes forever to check".into()));
        }
        Err(_) => String::new(),
    };
    // The complaint may be about a virtual table, or a collation that only the phone has. So table by table.
    for table in tables(&connection) {
        match quick_check(&connection, Some(&table)) {
            Ok(complaint) if complaint != "ok" => return Ok(Verdict::Damaged(complaint)),
            Err(error) if is_damage(&error) => return Ok(Verdict::Damaged(error.to_string())),
            _ => {}
        }
    }
    let about_virtual = ["FTS", "RTree", "vtable", "virtual table", "fts", "rtree"].iter().any(|name| complaint.contains(name));
    Ok(if complaint.is_empty() || about_virtual { Verdict::Ok } else { Verdict::Damaged(complaint) })
}

/// An SQLite file in memory.
pub(crate) struct Opened {
    pub(crate) connection: Connection,
    /// What the header said before it was changed.
    pub(crate) versions: [u8; 2],
    /// The length of the file.
    pub(crate) len: u64,
    /// How many steps are left for the question that is being asked.
    steps: Arc<AtomicU64>,
}

impl Opened {
    /// A new file, made by us.
    pub(crate) fn new(connection: Connection, versions: [u8; 2]) -> Opened {
        Opened { connection, versions, len: 0, steps: Arc::default() }
    }

    /// Allows the steps of one more question.
    pub(crate) fn next_question(&self) {
        self.steps.store(steps(self.len), Ordering::Relaxed);
    }
}

fn steps(len: u64) -> u64 {
    len.saturating_mul(STEPS_PER_BYTE).max(LEAST_STEPS)
}

/// Takes an SQLite file of `len` bytes into memory and opens it, able to be read only until
/// someone says otherwise. Bytes beyond the last whole page are not taken.
pub(crate) fn open(what: &'static str, mut reader: impl Read, len: u64) -> Result<Opened> {
    let mut header = [0; HEADER];
    if len < HEADER as u64 {
        return Err(Error::Truncated { what, missing: HEADER - len as usize });
    }
    reader.read_exact(&mut header).map_err(|source| Error::Read { what, source })?;
    if !header.starts_with(MAGIC) {
        return Err(Error::NotADatabase { what });
    }
    let page_size = match u16::from_be_bytes([header[16], header[17]]) {
        1 => 65_536,
        size => u64::from(size),
    };
    if !(512..=65_536).contains(&page_size) || !page_size.is_power_of_two() {
        return Err(Error::NotADatabase { what });
    }
    let whole = len - len % page_size;
    let Ok(size) = usize::try_from(whole) else {
        return Err(Error::TooLarge { what, size: len, limit: usize::MAX as u64 });
    };
    if size == 0 {
        return Err(Error::Truncated { what, missing: (page_size - len) as usize });
    }
    let versions = [header[18], header[19]];
    header[VERSIONS].fill(1);

    let fail = |error| Error::database(what, error);
    let mut connection = Connection::open_in_memory().map_err(fail)?;
    defend(&connection).map_err(fail)?;
    let steps = Arc::new(AtomicU64::new(steps(len)));
    let left = Arc::clone(&steps);
    let is_spent = move || {
        let before = left.load(Ordering::Relaxed);
        left.store(before.saturating_sub(STEPS_AT_ONCE as u64), Ordering::Relaxed);
        before == 0
    };
    connection.progress_handler(STEPS_AT_ONCE, Some(is_spent)).map_err(fail)?;
    let mut failure = None;
    let reader = Noting { reader: (&header[..]).chain(reader), failure: &mut failure };
    match connection.deserialize_read_exact(MAIN_DB, reader, size, false) {
        Ok(()) => Ok(Opened { connection, versions, len, steps }),
        Err(error) => Err(match failure {
            Some(source) => Error::Read { what, source },
            None => fail(error),
        }),
    }
}

/// The whole file, its header as it was.
pub(crate) fn close(what: &'static str, mut opened: Opened) -> Result<Vec<u8>> {
    let data = opened.connection.serialize(MAIN_DB).map_err(|error| Error::database(what, error))?;
    let mut bytes = data.to_vec();
    if let Some(field) = bytes.get_mut(VERSIONS) {
        field.copy_from_slice(&opened.versions);
    }
    Ok(bytes)
}

/// Takes away from a connection everything that a file could use against us.
fn defend(connection: &Connection) -> rusqlite::Result<()> {
    for (setting, value) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, false),
    ] {
        connection.set_db_config(setting, value)?;
    }
    for (limit, value) in [
        (Limit::SQLITE_LIMIT_LENGTH, MAX_VALUE),
        (Limit::SQLITE_LIMIT_SQL_LENGTH, 1 << 20),
        (Limit::SQLITE_LIMIT_EXPR_DEPTH, 100),
        (Limit::SQLITE_LIMIT_ATTACHED, 0),
        (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 1),
        (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
        (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1_000),
    ] {
        connection.set_limit(limit, value)?;
    }
    connection
        .execute_batch("PRAGMA temp_store = MEMORY; PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0; PRAGMA query_only = ON;")
}

fn quick_check(connection: &Connection, table: Option<&str>) -> rusqlite::Result<String> {
    let sql = match table {
        Some(table) => format!("PRAGMA quick_check(\"{}\")", table.replace('"', "\"\"")),
        None => "PRAGMA quick_check(1)".to_owned(),
    };
    connection.query_row(&sql, [], |row| row.get::<_, String>(0))
}

/// The names of the ordinary tables, as far as they can be read.
fn tables(connection: &Connection) -> Vec<String> {
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0";
    let Ok(mut statement) = connection.prepare(sql) else { return Vec::new() };
    let Ok(names) = statement.query_map([], |row| row.get(0)) else { return Vec::new() };
    names.flatten().collect()
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Keeps what the reader said, which SQLite's errors have no room for.
struct Noting<'a, R> {
    reader: R,
    failure: &'a mut Option<std::io::Error>,
}

impl<R: Read> Read for Noting<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let failed = match self.reader.read(buffer) {
            Ok(0) if !buffer.is_empty() => std::io::ErrorKind::UnexpectedEof.into(),
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => error,
            other => return other,
        };
        let kind = failed.kind();
        *self.failure = Some(failed);
        Err(kind.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{Noise, real};

    fn sample() -> Vec<u8> {
        let mut connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(
                "CREATE TABLE t (a TEXT UNIQUE, b); CREATE VIRTUAL TABLE f USING fts5(x); CREATE INDEX i ON t(b);
                 WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
                 INSERT INTO t SELECT 'row ' || i, randomblob(40) FROM n;",
            )
            .unwrap();
        connection.serialize(MAIN_DB).unwrap().to_vec()
    }

    fn verdict(bytes: &[u8]) -> Verdict {
        check(bytes, bytes.len() as u64).unwrap()
    }

    #[test]
    fn a_sound_file_is_ok_with_and_without_a_log() {
        let mut bytes = sample();
        assert_eq!(verdict(&bytes), Verdict::Ok);
        bytes[VERSIONS].fill(2);
        assert_eq!(verdict(&bytes), Verdict::Ok);
        assert_eq!(verdict(&[]), Verdict::Ok);
    }

    #[test]
    fn what_is_no_database_is_told_apart() {
        assert_eq!(verdict(b"hello"), Verdict::NotADatabase);
        assert_eq!(verdict(&[0; 4096]), Verdict::NotADatabase);
    }

    #[test]
    fn a_broken_page_is_found() {
        let bytes = sample();
        let pages = bytes.len() / 4096;
        let mut damaged = 0;
        for page in 1..pages {
            let mut bad = bytes.clone();
            bad[page * 4096..][..2048].fill(0xa5);
            damaged += usize::from(matches!(verdict(&bad), Verdict::Damaged(_)));
        }
        assert!(damaged + 6 >= pages, "{damaged} of {pages}");
        assert!(matches!(verdict(&bytes[..bytes.len() - 4096]), Verdict::Damaged(_)));
    }

    #[test]
    fn collations_that_only_the_phone_has_are_passed_over() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch("CREATE TABLE t (a TEXT COLLATE NOCASE, b); CREATE INDEX i ON t(a); INSERT INTO t VALUES (1, 2)")
            .unwrap();
        let mut bytes = connection.serialize(MAIN_DB).unwrap().to_vec();
        while let Some(at) = bytes.windows(6).position(|window| window == b"NOCASE") {
            bytes[at..at + 6].copy_from_slice(b"APPLES");
        }
        assert_eq!(verdict(&bytes), Verdict::Ok);
    }

    #[test]
    fn a_reader_that_ends_early_is_an_error_not_a_panic() {
        let bytes = sample();
        assert!(matches!(check(&bytes[..5000], bytes.len() as u64), Err(Error::Read { .. })));
    }

    #[test]
    fn no_damage_makes_it_panic() {
        let bytes = sample();
        let mut noise = Noise(5);
        for _ in 0..300 {
            verdict(&noise.flipped(&bytes));
        }
    }

    #[test]
    fn real_databases_are_ok() {
        for path in ["20/2041457d5fe04d39d0ab481178355df6781e6858", "64/64d0019cb3d46bfc8cce545a8ba54b93e7ea9347", "Manifest.db"]
        {
            let Some(bytes) = real(&format!("real-ios14-manifest/{path}")) else { return };
            assert_eq!(verdict(&bytes), Verdict::Ok, "{path}");
        }
    }
}
