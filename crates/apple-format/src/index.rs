//! The list of files of a backup, whichever of its two forms the phone wrote.

use crate::database::{self, Database};
use crate::mbdb::{self, Mbdb};
use crate::{BadRow, MbFile, Result, Row, RowName};

/// Manifest.db or Manifest.mbdb.
#[derive(Debug)]
pub enum ManifestIndex {
    /// Manifest.db, iOS 10 and newer.
    Database(Database),
    /// Manifest.mbdb, iOS 4 to 9.
    Mbdb(Mbdb),
}

impl ManifestIndex {
    /// Reads either form, told apart by how it begins. A Manifest.db must be decrypted already.
    pub fn from_bytes(bytes: &[u8]) -> Result<ManifestIndex> {
        if bytes.starts_with(mbdb::MAGIC) {
            Ok(ManifestIndex::Mbdb(Mbdb::parse(bytes)?))
        } else {
            Ok(ManifestIndex::Database(Database::from_bytes(bytes)?))
        }
    }

    /// All rows in the order of domain and path.
    pub fn rows(&self) -> Result<Rows<'_>> {
        Ok(match self {
            ManifestIndex::Database(database) => Rows::Database(database.rows()?),
            ManifestIndex::Mbdb(mbdb) => Rows::Mbdb(mbdb.rows()),
        })
    }

    /// The row of one file. `None` if there is none, or an unusable one.
    pub fn row(&self, file_id: &[u8; 20]) -> Result<Option<Row>> {
        match self {
            ManifestIndex::Database(database) => database.row(file_id),
            ManifestIndex::Mbdb(mbdb) => Ok(mbdb.row(file_id)),
        }
    }

    /// Opens the record of one of this manifest's rows.
    pub fn record(&self, row: &Row) -> Result<MbFile> {
        match self {
            ManifestIndex::Database(_) => MbFile::parse(&row.blob),
            ManifestIndex::Mbdb(_) => mbdb::parse_record(&row.blob).map(|(_, file)| file),
        }
    }

    /// How many rows there are.
    pub fn count(&self) -> Result<u64> {
        match self {
            ManifestIndex::Database(database) => database.count(),
            ManifestIndex::Mbdb(mbdb) => Ok(mbdb.count()),
        }
    }

    /// All domains and how many rows each has.
    pub fn domains(&self) -> Result<Vec<(String, u64)>> {
        match self {
            ManifestIndex::Database(database) => database.domains(),
            ManifestIndex::Mbdb(mbdb) => Ok(mbdb.domains()),
        }
    }

    /// The bytes of the same manifest with only those rows that `keep` wants, and no trace of the others.
    pub fn reduce(self, keep: impl FnMut(&RowName<'_>) -> bool) -> Result<Vec<u8>> {
        match self {
            ManifestIndex::Database(database) => database.reduce(keep),
            ManifestIndex::Mbdb(mbdb) => mbdb.reduce(keep),
        }
    }
}

/// The rows of either form.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum Rows<'a> {
    Database(database::Rows<'a>),
    Mbdb(mbdb::Rows<'a>),
}

impl Iterator for Rows<'_> {
    type Item = Result<Row, BadRow>;

    fn next(&mut self) -> Option<Result<Row, BadRow>> {
        match self {
            Rows::Database(rows) => rows.next(),
            Rows::Mbdb(rows) => rows.next(),
        }
    }
}
