//! SQLite files in memory: made, and changed as an app would change them.

use std::io;

use rusqlite::{Connection, MAIN_DB};

/// Makes a file with these tables, and fills it.
pub(crate) fn create(schema: &str, fill: impl FnOnce(&Connection) -> rusqlite::Result<()>) -> io::Result<Vec<u8>> {
    let make = || {
        let connection = Connection::open_in_memory()?;
        connection.execute_batch("PRAGMA page_size = 4096; PRAGMA encoding = 'UTF-8'")?;
        connection.execute_batch(schema)?;
        finish(connection, fill)
    };
    make().map_err(io::Error::other)
}

/// The file after `change`. Pages that it does not touch stay as they were.
pub(crate) fn edit(file: &[u8], change: impl FnOnce(&Connection) -> rusqlite::Result<()>) -> io::Result<Vec<u8>> {
    let make = || {
        let mut connection = Connection::open_in_memory()?;
        connection.deserialize_read_exact(MAIN_DB, file, file.len(), false)?;
        finish(connection, change)
    };
    make().map_err(io::Error::other)
}

fn finish(mut connection: Connection, change: impl FnOnce(&Connection) -> rusqlite::Result<()>) -> rusqlite::Result<Vec<u8>> {
    let transaction = connection.transaction()?;
    change(&transaction)?;
    transaction.commit()?;
    Ok(connection.serialize(MAIN_DB)?.to_vec())
}
