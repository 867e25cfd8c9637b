//! The tables of an app's SQLite file, for whoever knows what they mean.
//!
//! Schemas change with every iOS: which tables and columns there are is found out first, and a column that is asked for and absent reads as
//! NULL. Views and tables made of code do not count.

use std::collections::BTreeMap;
use std::io::Read;

use rusqlite::Params;
use rusqlite::types::ValueRef;

use crate::sqlite::{self, Opened};
use crate::wal::Log;
use crate::{Error, Result};

/// Every table has it, whether its schema says so or not.
const ROWID: &str = "ROWID";
/// No app's file has as many.
const MOST_TABLES: usize = 10_000;

/// An SQLite file in memory, read table by table.
pub struct Tables {
    what: &'static str,
    opened: Opened,
    /// The columns of each table, both as the file spells them.
    columns: BTreeMap<String, Vec<String>>,
}

impl std::fmt::Debug for Tables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tables({}, {:?})", self.what, self.columns.keys())
    }
}

impl Tables {
    /// Reads a file of `len` bytes into memory, with what was committed to the write-ahead log beside it.
    pub fn read(what: &'static str, file: impl Read, len: u64, log: Option<&[u8]>) -> Result<Tables> {
        let opened = match log.and_then(Log::parse) {
            Some(log) => {
                let len = log.len();
                sqlite::open(what, log.over(file), len)?
            }
            None => sqlite::open(what, file, len)?,
        };
        let fail = |error| Error::database(what, error);
        let mut columns = BTreeMap::new();
        for name in Self::names_in(&opened).map_err(fail)? {
            opened.next_question();
            let mut statement = opened.connection.prepare(&format!("PRAGMA table_info({})", quoted(&name))).map_err(fail)?;
            let found = statement.query_map([], |row| row.get::<_, String>(1)).map_err(fail)?;
            columns.insert(name, found.collect::<rusqlite::Result<_>>().map_err(fail)?);
        }
        Ok(Tables { what, opened, columns })
    }

    fn names_in(opened: &Opened) -> rusqlite::Result<Vec<String>> {
        let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0";
        let mut statement = opened.connection.prepare(sql)?;
        statement.query_map([], |row| row.get(0))?.take(MOST_TABLES).collect()
    }

    /// The names of the tables.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.keys().map(String::as_str)
    }

    /// The columns of a table; none if there is no such table. Capitals do not matter, as in SQLite.
    pub fn columns(&self, table: &str) -> &[String] {
        match self.columns.iter().find(|(name, _)| name.eq_ignore_ascii_case(table)) {
            Some((_, columns)) => columns,
            None => &[],
        }
    }

    /// Whether there is such a column.
    pub fn has(&self, table: &str, column: &str) -> bool {
        let columns = self.columns(table);
        columns.iter().any(|name| name.eq_ignore_ascii_case(column)) || !columns.is_empty() && column == ROWID
    }

    /// Wants a table and columns of it: without them the schema is another than the one that is known.
    pub fn require(&self, table: &str, columns: &[&str]) -> Result<()> {
        let lacks = |lacks: String| Error::UnknownSchema { what: self.what, lacks };
        if self.columns(table).is_empty() {
            return Err(lacks(table.to_owned()));
        }
        match columns.iter().find(|column| !self.has(table, column)) {
            Some(column) => Err(lacks(format!("{table}.{column}"))),
            None => Ok(()),
        }
    }

    /// Visits rows of a table: `rest` is what follows FROM, such as `WHERE chat_id = ?1`, and is never made of what a file says.
    /// Columns that are not there read as NULL. A table that is not there has no rows.
    pub fn each<E: From<Error>>(
        &self,
        table: &str,
        columns: &[&str],
        rest: &str,
        parameters: impl Params,
        mut visit: impl FnMut(&Fields<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.columns(table).is_empty() {
            return Ok(());
        }
        let fail = |error| Error::database(self.what, error);
        let wanted = columns.iter().map(|column| if self.has(table, column) { quoted(column) } else { "NULL".to_owned() });
        let sql = format!("SELECT {} FROM {} {rest}", wanted.collect::<Vec<_>>().join(", "), quoted(table));
        self.opened.next_question();
        let mut statement = self.opened.connection.prepare_cached(&sql).map_err(fail)?;
        let mut rows = statement.query(parameters).map_err(fail)?;
        while let Some(row) = rows.next().map_err(fail)? {
            visit(&Fields { row, columns })?;
        }
        Ok(())
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// One row. Types are taken as they come, because SQLite promises none.
pub struct Fields<'a> {
    row: &'a rusqlite::Row<'a>,
    columns: &'a [&'a str],
}

impl std::fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fields({:?})", self.columns)
    }
}

impl Fields<'_> {
    fn value(&self, column: &str) -> ValueRef<'_> {
        let at = self.columns.iter().position(|name| *name == column);
        debug_assert!(at.is_some(), "{column} was not asked for");
        at.and_then(|at| self.row.get_ref(at).ok()).unwrap_or(ValueRef::Null)
    }

    /// As text; what is no UTF-8 is replaced. Numbers are written out.
    pub fn text(&self, column: &str) -> Option<String> {
        match self.value(column) {
            ValueRef::Null => None,
            ValueRef::Integer(number) => Some(number.to_string()),
            ValueRef::Real(number) => Some(number.to_string()),
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        }
    }

    /// As text, unless there is none in it.
    pub fn words(&self, column: &str) -> Option<String> {
        self.text(column).filter(|text| !text.trim().is_empty())
    }

    /// As a whole number.
    pub fn integer(&self, column: &str) -> Option<i64> {
        match self.value(column) {
            ValueRef::Integer(number) => Some(number),
            ValueRef::Real(number) if number.is_finite() => Some(number as i64),
            ValueRef::Text(bytes) => std::str::from_utf8(bytes).ok()?.trim().parse().ok(),
            _ => None,
        }
    }

    /// As a number; never an infinite one.
    pub fn real(&self, column: &str) -> Option<f64> {
        let number = match self.value(column) {
            ValueRef::Integer(number) => number as f64,
            ValueRef::Real(number) => number,
            ValueRef::Text(bytes) => std::str::from_utf8(bytes).ok()?.trim().parse().ok()?,
            _ => return None,
        };
        number.is_finite().then_some(number)
    }

    /// Whether it is there and not 0.
    pub fn flag(&self, column: &str) -> bool {
        self.integer(column).is_some_and(|number| number != 0)
    }

    /// Its bytes.
    pub fn bytes(&self, column: &str) -> Option<&[u8]> {
        match self.value(column) {
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(bytes),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(sql: &str) -> Tables {
        let mut connection = rusqlite::Connection::open_in_memory().unwrap();
        connection.execute_batch(sql).unwrap();
        let bytes = connection.serialize("main").unwrap().to_vec();
        Tables::read("a test", &bytes[..], bytes.len() as u64, None).unwrap()
    }

    fn texts(tables: &Tables, table: &str, column: &str, rest: &str) -> Vec<Option<String>> {
        let mut found = Vec::new();
        tables
            .each(table, &[column], rest, (), |row| {
                found.push(row.text(column));
                Ok::<(), Error>(())
            })
            .unwrap();
        found
    }

    #[test]
    fn absent_columns_and_tables_are_empty_and_no_error() {
        let tables =
            tables("CREATE TABLE Thing (a TEXT, b); INSERT INTO Thing VALUES ('x', 2); CREATE VIEW v AS SELECT a FROM Thing");
        assert_eq!(tables.names().collect::<Vec<_>>(), ["Thing"]);
        assert!(tables.has("thing", "A") && tables.has("Thing", "ROWID") && !tables.has("Thing", "c") && !tables.has("v", "a"));
        assert_eq!(texts(&tables, "thing", "b", "WHERE a = 'x'"), [Some("2".into())]);
        assert_eq!(texts(&tables, "Thing", "c", ""), [None]);
        assert!(texts(&tables, "v", "a", "").is_empty());
        tables.require("thing", &["a", "ROWID"]).unwrap();
        let lacks = |table, columns: &[&str]| tables.require(table, columns).unwrap_err().to_string();
        assert_eq!(lacks("Thing", &["a", "c"]), "a test is of a form that is not known: it has no Thing.c");
        assert_eq!(lacks("v", &[]), "a test is of a form that is not known: it has no v");
    }

    #[test]
    fn values_of_any_type_are_taken_as_they_come() {
        let tables = tables("CREATE TABLE t (v); INSERT INTO t VALUES (1), (2.5), ('3'), (x'ff41'), (NULL), ('x'), (9e999)");
        let mut seen = Vec::new();
        tables
            .each("t", &["v"], "", (), |row| {
                seen.push((row.integer("v"), row.real("v"), row.text("v"), row.bytes("v").map(<[u8]>::len)));
                Ok::<(), Error>(())
            })
            .unwrap();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(seen[0], (Some(1), Some(1.0), text("1"), None));
        assert_eq!(seen[1], (Some(2), Some(2.5), text("2.5"), None));
        assert_eq!(seen[2], (Some(3), Some(3.0), text("3"), Some(1)));
        assert_eq!(seen[3], (None, None, text("\u{fffd}A"), Some(2)));
        assert_eq!(seen[4], (None, None, None, None));
        assert_eq!(seen[5], (None, None, text("x"), Some(1)));
        assert_eq!(seen[6].1, None);
    }

    #[test]
    fn what_only_the_log_has_is_read_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (v)").unwrap();
        connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE); INSERT INTO t VALUES ('late'), ('later')").unwrap();
        let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
        let (file, log) = (read("db"), read("db-wal"));
        let both = Tables::read("a test", &file[..], file.len() as u64, Some(&log)).unwrap();
        assert_eq!(texts(&both, "t", "v", ""), [Some("late".into()), Some("later".into())]);
        let alone = Tables::read("a test", &file[..], file.len() as u64, None).unwrap();
        assert!(texts(&alone, "t", "v", "").is_empty());
    }
}
