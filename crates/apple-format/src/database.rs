//! Manifest.db: the list of files of a backup, an SQLite database (iOS 10 and newer).
//!
//! It is held in SQLite's memory, decrypted; nothing of it touches a disk.

use std::collections::BTreeMap;
use std::io::Read;

use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, params};

use crate::row::{file_id_text, parse_file_id};
use crate::sqlite::{self, Opened};
use crate::{BadRow, Error, Result, Row, RowName};

const WHAT: &str = "Manifest.db";
const ROW_BY_NUMBER: &str = "SELECT fileID, domain, relativePath, flags, file FROM Files WHERE rowid = ?1";
const ROW_BY_ID: &str = "SELECT fileID, domain, relativePath, flags, file FROM Files WHERE fileID = ?1";
/// The indexes of a hostile file may lie.
const ALL_ROWS: &str = "SELECT fileID, domain, relativePath, flags, file FROM Files NOT INDEXED";
/// A manifest of 80,000 files. The rows of a longer one are not held in memory.
const LONGEST_AT_ONCE: u64 = 64 << 20;
/// The fewest bytes that a row can take.
const LEAST_ROW: u64 = 8;

/// The schema, to the letter that iOS 14 writes.
const SCHEMA: &str = "
    CREATE TABLE Files (fileID TEXT PRIMARY KEY, domain TEXT, relativePath TEXT, flags INTEGER, file BLOB);
    CREATE INDEX FilesDomainIdx ON Files(domain);
    CREATE INDEX FilesRelativePathIdx ON Files(relativePath);
    CREATE INDEX FilesFlagsIdx ON Files(flags);
    CREATE TABLE Properties (key TEXT PRIMARY KEY, value BLOB);
";

/// The manifest of a backup.
pub struct Database(Opened);

impl Database {
    /// Reads a decrypted Manifest.db of `len` bytes into memory. What is beyond its last whole page, such as padding, is passed over.
    pub fn read(reader: impl Read, len: u64) -> Result<Database> {
        let opened = sqlite::open(WHAT, reader, len)?;
        // A view, or a table made of code, would not do.
        let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'Files' AND rootpage > 0";
        match opened.connection.query_row(sql, [], |row| row.get(0)) {
            Ok(1) => Ok(Database(opened)),
            Ok(_) => Err(Error::MissingKey { what: WHAT, key: "Files" }),
            Err(error) => Err(Error::database(WHAT, error)),
        }
    }

    /// As [`Database::read`], from memory.
    pub fn from_bytes(bytes: &[u8]) -> Result<Database> {
        Database::read(bytes, bytes.len() as u64)
    }

    /// All rows in the order of domain and path, one at a time. An unusable row is given as such, and so is
    /// the end of a table that is damaged in the middle.
    pub fn rows(&self) -> Result<Rows<'_>> {
        match self.sound_rows() {
            Some(rows) => {
                Ok(Rows { ready: rows.into_iter(), opened: &self.0, numbers: Vec::new().into_iter(), bytes: 0, damage: None })
            }
            None => self.rows_by_number(),
        }
    }

    /// All rows, read in one go: of a table that is not long, and in which nothing is wrong.
    fn sound_rows(&self) -> Option<Vec<Row>> {
        if self.0.len > LONGEST_AT_ONCE {
            return None;
        }
        self.0.next_question();
        let mut statement = self.0.connection.prepare(ALL_ROWS).ok()?;
        let mut found = statement.query([]).ok()?;
        let (mut rows, mut left) = (Vec::new(), self.most_bytes());
        while let Some(row) = found.next().ok()? {
            let row = parse_row(row).ok()?;
            left = left.checked_sub((row.domain.len() + row.path.len() + row.blob.len()) as u64 + LEAST_ROW)?;
            rows.push(row);
        }
        rows.sort_by(|a: &Row, b: &Row| a.domain.cmp(&b.domain).then_with(|| a.path.cmp(&b.path)));
        Some(rows)
    }

    /// All rows, looked up one after the other.
    fn rows_by_number(&self) -> Result<Rows<'_>> {
        let (mut places, mut names) = (Vec::new(), Vec::new());
        let damage = self.scan(|number, _, domain, path| {
            let start = names.len();
            names.extend_from_slice(domain);
            let middle = names.len();
            names.extend_from_slice(path);
            places.push((number, start, middle, names.len()));
        })?;
        places.sort_by(|a, b| {
            let name = |place: &(i64, usize, usize, usize)| (place.1..place.2, place.2..place.3);
            let ((a, a_path), (b, b_path)) = (name(a), name(b));
            names[a].cmp(&names[b]).then_with(|| names[a_path].cmp(&names[b_path]))
        });
        let numbers = places.into_iter().map(|place| place.0).collect::<Vec<_>>().into_iter();
        Ok(Rows { ready: Vec::new().into_iter(), opened: &self.0, numbers, bytes: self.most_bytes(), damage })
    }

    /// The row of one file. `None` if there is none, or an unusable one.
    pub fn row(&self, file_id: &[u8; 20]) -> Result<Option<Row>> {
        self.0.next_question();
        let mut statement = self.0.connection.prepare_cached(ROW_BY_ID).map_err(fail)?;
        let row = statement.query_row([file_id_text(file_id)], |row| Ok(parse_row(row))).optional().map_err(fail)?;
        Ok(row.and_then(Result::ok))
    }

    /// How many rows there are.
    pub fn count(&self) -> Result<u64> {
        let mut count = 0;
        self.scan(|_, _, _, _| count += 1)?;
        Ok(count)
    }

    /// All domains and how many rows each has.
    pub fn domains(&self) -> Result<Vec<(String, u64)>> {
        let mut domains: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
        self.scan(|_, _, domain, _| match domains.get_mut(domain) {
            Some(count) => *count += 1,
            None => drop(domains.insert(domain.to_vec(), 1)),
        })?;
        let text = |domain: Vec<u8>| String::from_utf8_lossy(&domain).into_owned();
        Ok(domains.into_iter().map(|(domain, count)| (text(domain), count)).collect())
    }

    /// The same database with other records: `record` gives the new one of a row, or `None` to leave it.
    /// Unusable rows are left, and everything else stays as it was. Bits of old records may remain in unused parts of pages.
    pub fn rewrite(self, mut record: impl FnMut(&Row) -> Option<Vec<u8>>) -> Result<Vec<u8>> {
        let connection = &self.0.connection;
        // If it fails half way the copy in memory is dropped, so there is nothing to roll back.
        connection
            .execute_batch("PRAGMA query_only = OFF; PRAGMA journal_mode = OFF; PRAGMA secure_delete = ON; BEGIN")
            .map_err(fail)?;
        {
            let mut update = connection.prepare("UPDATE Files SET file = ?2 WHERE rowid = ?1").map_err(fail)?;
            let mut rows = self.rows_by_number()?;
            while let Some((number, row)) = rows.next_numbered() {
                if let Ok(row) = row
                    && let Some(blob) = record(&row)
                {
                    update.execute(params![number, blob]).map_err(fail)?;
                }
            }
            if let Some(damage) = rows.damage {
                return Err(Error::malformed(WHAT, damage.reason));
            }
        }
        connection.execute_batch("COMMIT").map_err(fail)?;
        sqlite::close(WHAT, self.0)
    }

    /// The same database with only those rows that `keep` wants. Nothing of the others is left in any page, and everything but the table of
    /// files stays as it was.
    pub fn reduce(self, mut keep: impl FnMut(&RowName<'_>) -> bool) -> Result<Vec<u8>> {
        let mut gone = Vec::new();
        let damage = self.scan(|number, id, domain, path| {
            let text = String::from_utf8_lossy;
            if !keep(&RowName { file_id: parse_file_id(id), domain: text(domain), path: text(path) }) {
                gone.push(number);
            }
        })?;
        if let Some(damage) = damage {
            return Err(Error::malformed(WHAT, damage.reason));
        }
        if gone.is_empty() {
            return sqlite::close(WHAT, self.0);
        }
        let connection = &self.0.connection;
        // If it fails half way the copy in memory is dropped, so there is nothing to roll back.
        connection.execute_batch("PRAGMA query_only = OFF; PRAGMA journal_mode = OFF; BEGIN").map_err(fail)?;
        {
            let mut delete = connection.prepare("DELETE FROM Files WHERE rowid = ?1").map_err(fail)?;
            for number in gone {
                self.0.next_question();
                delete.execute([number]).map_err(fail)?;
            }
        }
        connection.execute_batch("COMMIT").map_err(fail)?;
        // SQLite writes the new file beside the old one, as a second database.
        connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 1).map_err(fail)?;
        self.0.next_question();
        connection.execute_batch("VACUUM").map_err(fail)?;
        sqlite::close(WHAT, self.0)
    }

    /// A new, empty manifest, as a phone would begin it. [`Database::serialize`] ends it.
    pub fn create() -> Result<Database> {
        let connection = Connection::open_in_memory().map_err(fail)?;
        connection
            .execute_batch("PRAGMA page_size = 4096; PRAGMA auto_vacuum = 2; PRAGMA encoding = 'UTF-8'; PRAGMA user_version = 2;")
            .and_then(|()| connection.execute_batch(SCHEMA))
            .and_then(|()| connection.execute_batch("BEGIN"))
            .map_err(fail)?;
        Ok(Database(Opened::new(connection, [2, 2])))
    }

    /// Adds a row to a manifest made by [`Database::create`], or replaces the one with its id.
    pub fn insert(&mut self, row: &Row) -> Result<()> {
        let sql = "INSERT OR REPLACE INTO Files (fileID, domain, relativePath, flags, file) VALUES (?1, ?2, ?3, ?4, ?5)";
        let mut statement = self.0.connection.prepare_cached(sql).map_err(fail)?;
        let fields = params![file_id_text(&row.file_id), row.domain, row.path, row.flags, row.blob];
        statement.execute(fields).map(drop).map_err(fail)
    }

    /// The bytes of the database, without padding.
    pub fn serialize(self) -> Result<Vec<u8>> {
        if !self.0.connection.is_autocommit() {
            self.0.connection.execute_batch("COMMIT").map_err(fail)?;
        }
        sqlite::close(WHAT, self.0)
    }

    /// Shows the number, id, domain and path of every row to `visit`, and says what is wrong with the table if it cannot be
    /// read to its end.
    fn scan(&self, mut visit: impl FnMut(i64, &[u8], &[u8], &[u8])) -> Result<Option<BadRow>> {
        self.0.next_question();
        // The indexes of a hostile file may lie.
        let sql = "SELECT rowid, domain, relativePath, fileID FROM Files NOT INDEXED";
        let mut statement = self.0.connection.prepare(sql).map_err(fail)?;
        let mut rows = statement.query([]).map_err(fail)?;
        let (mut count, mut bytes) = (0_u64, self.most_bytes());
        let damage = loop {
            match rows.next() {
                Ok(None) => return Ok(None),
                Ok(Some(row)) => {
                    let text = |index| row.get_ref(index).ok().and_then(|field| field.as_bytes().ok()).unwrap_or_default();
                    let (domain, path) = (text(1), text(2));
                    // Every row takes room in the file, unless it names the same page again and again.
                    let size = (domain.len() + path.len()) as u64 + LEAST_ROW;
                    match (bytes.checked_sub(size), row.get(0)) {
                        (Some(left), Ok(number)) => {
                            bytes = left;
                            visit(number, text(3), domain, path);
                        }
                        (None, _) => break "it has more rows than room for them".to_owned(),
                        (_, Err(error)) => break error.to_string(),
                    }
                    count += 1;
                }
                Err(error) if count == 0 => return Err(fail(error)),
                Err(error) => break error.to_string(),
            }
        };
        let reason = format!("the rows after the first {count} cannot be read: {damage}");
        Ok(Some(BadRow { file_id: String::new(), reason }))
    }

    /// The most bytes that all rows together can honestly have.
    fn most_bytes(&self) -> u64 {
        match self.0.len {
            0 => u64::MAX,
            len => 2 * len,
        }
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Database(..)")
    }
}

/// The rows of a manifest, see [`Database::rows`].
pub struct Rows<'a> {
    /// Those that were read in one go.
    ready: std::vec::IntoIter<Row>,
    opened: &'a Opened,
    numbers: std::vec::IntoIter<i64>,
    /// How many bytes the rows that are left may have.
    bytes: u64,
    damage: Option<BadRow>,
}

impl Rows<'_> {
    fn next_numbered(&mut self) -> Option<(i64, Result<Row, BadRow>)> {
        let number = self.numbers.next()?;
        self.opened.next_question();
        let row = row_at(&self.opened.connection, number);
        if let Ok(row) = &row {
            let size = (row.domain.len() + row.path.len() + row.blob.len()) as u64;
            let Some(left) = self.bytes.checked_sub(size) else {
                // Many records that lie in the same place: no phone writes that.
                self.numbers = Vec::new().into_iter();
                let reason = "its records are larger than the whole file".to_owned();
                self.damage = Some(BadRow { file_id: String::new(), reason });
                return None;
            };
            self.bytes = left;
        }
        Some((number, row))
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<Row, BadRow>;

    fn next(&mut self) -> Option<Result<Row, BadRow>> {
        if let Some(row) = self.ready.next() {
            return Some(Ok(row));
        }
        match self.next_numbered() {
            Some((_, row)) => Some(row),
            None => self.damage.take().map(Err),
        }
    }
}

impl std::fmt::Debug for Rows<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows").field("left", &(self.ready.len() + self.numbers.len())).finish()
    }
}

fn row_at(connection: &Connection, number: i64) -> Result<Row, BadRow> {
    let bad = |error: rusqlite::Error| BadRow { file_id: String::new(), reason: error.to_string() };
    let mut statement = connection.prepare_cached(ROW_BY_NUMBER).map_err(bad)?;
    statement.query_row([number], |row| Ok(parse_row(row))).map_err(bad)?
}

fn parse_row(row: &rusqlite::Row<'_>) -> Result<Row, BadRow> {
    let field = |index| row.get_ref(index).unwrap_or(ValueRef::Null);
    let id = match field(0) {
        ValueRef::Text(text) => text,
        _ => b"",
    };
    let bad = |reason: &str| BadRow {
        file_id: String::from_utf8_lossy(&id[..id.len().min(80)]).into_owned(),
        reason: reason.to_owned(),
    };
    let text = |index, name: &str| match field(index) {
        ValueRef::Text(text) => match std::str::from_utf8(text) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(bad(&format!("its {name} is not Unicode"))),
        },
        other => Err(bad(&format!("its {name} is {}", other.data_type().to_string().to_lowercase()))),
    };
    Ok(Row {
        file_id: parse_file_id(id).ok_or_else(|| bad("its id is not 40 hex digits"))?,
        domain: text(1, "domain")?,
        path: text(2, "path")?,
        flags: match field(3) {
            ValueRef::Integer(flags) => u32::try_from(flags).map_err(|_| bad("its flags are out of range"))?,
            _ => return Err(bad("its flags are no number")),
        },
        blob: match field(4) {
            ValueRef::Blob(blob) => blob.to_vec(),
            _ => return Err(bad("it has no record")),
        },
    })
}

fn fail(error: rusqlite::Error) -> Error {
    Error::database(WHAT, error)
}

#[cfg(test)]
mod tests;
