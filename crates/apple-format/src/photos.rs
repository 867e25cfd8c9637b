//! Photos.sqlite: which pictures the phone lists. Those whose file is not in the backup are in iCloud only.

use std::io::Read;

use crate::sqlite::{self, Opened};
use crate::{Error, Result};

const WHAT: &str = "Photos.sqlite";
/// More pictures than any phone lists.
const MOST: usize = 10_000_000;

/// The paths, inside CameraRollDomain, of all pictures and films that are not in the trash.
pub fn originals(reader: impl Read, len: u64) -> Result<Vec<String>> {
    let Opened { connection, .. } = sqlite::open(WHAT, reader, len)?;
    let fail = |error| Error::database(WHAT, error);
    // The table was renamed in iOS 14.
    for table in ["ZASSET", "ZGENERICASSET"] {
        let sql = format!(
            "SELECT CAST(ZDIRECTORY AS TEXT), CAST(ZFILENAME AS TEXT) FROM {table}
             WHERE ZFILENAME IS NOT NULL AND ZDIRECTORY IS NOT NULL AND ifnull(ZTRASHEDSTATE, 0) = 0"
        );
        let Ok(mut statement) = connection.prepare(&sql) else { continue };
        let mut rows = statement.query([]).map_err(fail)?;
        let mut paths = Vec::new();
        while let Some(row) = rows.next().map_err(fail)? {
            let text = |at| {
                Ok::<_, Error>(
                    String::from_utf8_lossy(row.get_ref(at).map_err(fail)?.as_bytes().unwrap_or_default()).into_owned(),
                )
            };
            paths.push(format!("Media/{}/{}", text(0)?, text(1)?));
            if paths.len() > MOST {
                return Err(Error::TooLarge { what: WHAT, size: MOST as u64 + 1, limit: MOST as u64 });
            }
        }
        return Ok(paths);
    }
    Err(Error::MissingKey { what: WHAT, key: "ZASSET" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_listed_and_those_in_the_trash_are_not() {
        let mut connection = rusqlite::Connection::open_in_memory().unwrap();
        connection
            .execute_batch(
                "CREATE TABLE ZASSET (ZDIRECTORY TEXT, ZFILENAME TEXT, ZTRASHEDSTATE INTEGER);
                 INSERT INTO ZASSET VALUES ('DCIM/100APPLE', 'IMG_0001.HEIC', 0), ('DCIM/100APPLE', 'IMG_0002.HEIC', 1), ('DCIM/100APPLE', NULL, 0);",
            )
            .unwrap();
        let bytes = connection.serialize("main").unwrap().to_vec();
        assert_eq!(originals(&bytes[..], bytes.len() as u64).unwrap(), ["Media/DCIM/100APPLE/IMG_0001.HEIC"]);
        assert!(originals(&b"no database"[..], 11).is_err());
    }
}
