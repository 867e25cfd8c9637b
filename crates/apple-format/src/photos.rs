//! Photos.sqlite: which pictures and films the phone lists, and in which albums. Those whose file is not in the backup are in iCloud only.

use std::collections::HashMap;
use std::io::Read;

use crate::tables::{Fields, Tables};
use crate::{Error, Result};

const WHAT: &str = "Photos.sqlite";
/// More pictures than any phone lists.
const MOST: usize = 10_000_000;
/// The table of pictures was renamed in iOS 14.
const ASSETS: [&str; 2] = ["ZASSET", "ZGENERICASSET"];
/// Kinds of albums that people make: their own, and those that are shared.
const ALBUMS: [i64; 2] = [2, 1505];
/// The kind of a folder of albums.
const FOLDER: i64 = 4000;
/// What stands for no place.
const NOWHERE: f64 = -180.0;

/// The pictures and films of a phone.
#[derive(Debug, Clone, Default)]
pub struct Library {
    /// All of them, also those in the trash, in the order in which they were taken.
    pub assets: Vec<Asset>,
    /// Albums, and folders of albums.
    pub albums: Vec<Album>,
}

/// A picture or a film.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Asset {
    /// Its row.
    pub key: i64,
    /// Where its files are below `Media/`: `DCIM/100APPLE`.
    pub directory: String,
    /// The file there.
    pub file_name: String,
    /// What it was called where it came from.
    pub original_name: Option<String>,
    /// Its identifier.
    pub uuid: Option<String>,
    /// Whether it is a film.
    pub is_film: bool,
    /// Whether a short film belongs to it.
    pub is_live: bool,
    /// Taken: seconds since 2001.
    pub taken: Option<f64>,
    /// How far the clock was ahead of UTC where it was taken, in seconds.
    pub offset: Option<i64>,
    /// Came to this phone: seconds since 2001.
    pub added: Option<f64>,
    /// Points across and down.
    pub size: Option<(i64, i64)>,
    /// The length of a film, in seconds.
    pub duration: Option<f64>,
    /// Marked as a favourite.
    pub favourite: bool,
    /// Hidden by its owner.
    pub hidden: bool,
    /// Recently deleted.
    pub trashed: bool,
    /// Changed since it was taken.
    pub edited: bool,
    /// Latitude and longitude.
    pub place: Option<(f64, f64)>,
}

/// An album, or a folder of albums.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Album {
    /// Its row.
    pub key: i64,
    /// Its name.
    pub title: String,
    /// The folder it is in.
    pub parent: Option<i64>,
    /// Whether it holds albums.
    pub is_folder: bool,
    /// The rows of what is in it.
    pub assets: Vec<i64>,
}

impl Asset {
    /// The path of its file inside CameraRollDomain.
    pub fn path(&self) -> String {
        format!("Media/{}/{}", self.directory, self.file_name)
    }
}

/// The paths, inside CameraRollDomain, of all pictures and films that are not in the trash.
pub fn originals(reader: impl Read, len: u64) -> Result<Vec<String>> {
    let tables = Tables::read(WHAT, reader, len, None)?;
    let mut paths = Vec::new();
    each_asset(&tables, &["ZDIRECTORY", "ZFILENAME", "ZTRASHEDSTATE"], |row| {
        if let (Some(directory), Some(file), false) = (row.text("ZDIRECTORY"), row.text("ZFILENAME"), row.flag("ZTRASHEDSTATE")) {
            paths.push(format!("Media/{directory}/{file}"));
            not_too_many(paths.len())?;
        }
        Ok(())
    })?;
    Ok(paths)
}

/// Reads the whole library.
pub fn library(tables: &Tables) -> Result<Library> {
    let mut more = HashMap::new();
    tables.each("ZADDITIONALASSETATTRIBUTES", &["ZASSET", "ZORIGINALFILENAME", "ZTIMEZONEOFFSET"], "", (), |row| {
        if let Some(asset) = row.integer("ZASSET") {
            more.insert(asset, (row.words("ZORIGINALFILENAME"), row.integer("ZTIMEZONEOFFSET")));
        }
        Ok::<_, Error>(())
    })?;
    let columns = [
        "Z_PK",
        "ZDIRECTORY",
        "ZFILENAME",
        "ZUUID",
        "ZKIND",
        "ZKINDSUBTYPE",
        "ZDATECREATED",
        "ZADDEDDATE",
        "ZWIDTH",
        "ZHEIGHT",
        "ZDURATION",
        "ZFAVORITE",
        "ZHIDDEN",
        "ZTRASHEDSTATE",
        "ZHASADJUSTMENTS",
        "ZLATITUDE",
        "ZLONGITUDE",
    ];
    let mut library = Library::default();
    each_asset(tables, &columns, |row| {
        let (Some(directory), Some(file_name)) = (row.words("ZDIRECTORY"), row.words("ZFILENAME")) else { return Ok(()) };
        let key = row.integer("Z_PK").unwrap_or_default();
        let (original_name, offset) = more.remove(&key).unwrap_or_default();
        let place = row.real("ZLATITUDE").zip(row.real("ZLONGITUDE"));
        library.assets.push(Asset {
            key,
            directory,
            file_name,
            original_name,
            uuid: row.words("ZUUID"),
            is_film: row.integer("ZKIND") == Some(1),
            is_live: row.integer("ZKINDSUBTYPE") == Some(2),
            taken: row.real("ZDATECREATED"),
            offset,
            added: row.real("ZADDEDDATE"),
            size: row.integer("ZWIDTH").zip(row.integer("ZHEIGHT")),
            duration: row.real("ZDURATION").filter(|&seconds| seconds > 0.0),
            favourite: row.flag("ZFAVORITE"),
            hidden: row.flag("ZHIDDEN"),
            trashed: row.flag("ZTRASHEDSTATE"),
            edited: row.flag("ZHASADJUSTMENTS"),
            place: place.filter(|&(north, east)| north > NOWHERE && north.abs() <= 90.0 && east.abs() <= 180.0),
        });
        not_too_many(library.assets.len())
    })?;
    library.assets.sort_by(|a, b| a.taken.unwrap_or_default().total_cmp(&b.taken.unwrap_or_default()).then(a.key.cmp(&b.key)));
    library.albums = albums(tables)?;
    Ok(library)
}

fn albums(tables: &Tables) -> Result<Vec<Album>> {
    let mut albums = Vec::new();
    let mut places = HashMap::new();
    let columns = ["Z_PK", "ZTITLE", "ZKIND", "ZPARENTFOLDER", "ZTRASHEDSTATE"];
    tables.each("ZGENERICALBUM", &columns, "ORDER BY Z_PK", (), |row| {
        let (Some(title), Some(kind)) = (row.words("ZTITLE"), row.integer("ZKIND")) else { return Ok(()) };
        let key = row.integer("Z_PK").unwrap_or_default();
        if !row.flag("ZTRASHEDSTATE") && (ALBUMS.contains(&kind) || kind == FOLDER) {
            places.insert(key, albums.len());
            let parent = row.integer("ZPARENTFOLDER");
            albums.push(Album { key, title, parent, is_folder: kind == FOLDER, assets: Vec::new() });
        }
        Ok::<_, Error>(())
    })?;
    let Some((table, album, asset)) = membership(tables) else { return Ok(albums) };
    tables.each(&table, &[album.as_str(), asset.as_str()], "", (), |row| {
        if let (Some(album), Some(asset)) = (row.integer(&album).and_then(|key| places.get(&key)), row.integer(&asset)) {
            albums[*album].assets.push(asset);
        }
        Ok::<_, Error>(())
    })?;
    Ok(albums)
}

/// The table that says what is in which album, and its columns: `Z_28ASSETS(Z_28ALBUMS, Z_3ASSETS)`, with other numbers in every iOS.
fn membership(tables: &Tables) -> Option<(String, String, String)> {
    let is_numbered = |name: &str, word: &str| {
        let digits = name.strip_prefix("Z_").and_then(|name| name.strip_suffix(word));
        digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
    };
    tables.names().filter(|name| is_numbered(name, "ASSETS")).find_map(|table| {
        let column = |word: &str| tables.columns(table).iter().find(|name| is_numbered(name, word)).cloned();
        Some((table.to_owned(), column("ALBUMS")?, column("ASSETS")?))
    })
}

fn each_asset(tables: &Tables, columns: &[&str], visit: impl FnMut(&Fields<'_>) -> Result<()>) -> Result<()> {
    let table = ASSETS.into_iter().find(|table| !tables.columns(table).is_empty()).unwrap_or(ASSETS[0]);
    tables.require(table, &["ZDIRECTORY", "ZFILENAME"])?;
    tables.each(table, columns, "", (), visit)
}

fn not_too_many(count: usize) -> Result<()> {
    if count > MOST { Err(Error::TooLarge { what: WHAT, size: count as u64, limit: MOST as u64 }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(sql: &str) -> Vec<u8> {
        let mut connection = rusqlite::Connection::open_in_memory().unwrap();
        connection.execute_batch(sql).unwrap();
        connection.serialize("main").unwrap().to_vec()
    }

    fn read(sql: &str) -> Result<Library> {
        let bytes = database(sql);
        library(&Tables::read(WHAT, &bytes[..], bytes.len() as u64, None)?)
    }

    #[test]
    fn pictures_are_listed_and_those_in_the_trash_are_not() {
        let bytes = database(
            "CREATE TABLE ZASSET (ZDIRECTORY TEXT, ZFILENAME TEXT, ZTRASHEDSTATE INTEGER);
             INSERT INTO ZASSET VALUES ('DCIM/100APPLE', 'IMG_0001.HEIC', 0), ('DCIM/100APPLE', 'IMG_0002.HEIC', 1), ('DCIM/100APPLE', NULL, 0);",
        );
        assert_eq!(originals(&bytes[..], bytes.len() as u64).unwrap(), ["Media/DCIM/100APPLE/IMG_0001.HEIC"]);
        assert!(originals(&b"no database"[..], 11).is_err());
    }

    #[test]
    fn albums_are_found_whatever_number_their_table_has() {
        for (table, albums, assets) in [("Z_26ASSETS", "Z_26ALBUMS", "Z_3ASSETS"), ("Z_33ASSETS", "Z_33ALBUMS", "Z_8ASSETS")] {
            let library = read(&format!(
                "CREATE TABLE ZGENERICASSET (Z_PK INTEGER PRIMARY KEY, ZDIRECTORY TEXT, ZFILENAME TEXT, ZDATECREATED REAL, ZLATITUDE REAL, ZLONGITUDE REAL);
                 INSERT INTO ZGENERICASSET VALUES (1, 'DCIM/100APPLE', 'B.JPG', 20, -180, -180), (2, 'DCIM/100APPLE', 'A.JPG', 10, 48.5, -3.5);
                 CREATE TABLE ZGENERICALBUM (Z_PK INTEGER PRIMARY KEY, ZKIND INTEGER, ZTITLE TEXT, ZTRASHEDSTATE INTEGER, ZPARENTFOLDER INTEGER);
                 INSERT INTO ZGENERICALBUM VALUES (1, 2, 'Walks', 0, 4), (2, 2, 'Gone', 1, NULL), (3, 3571, 'progress', 0, NULL), (4, 4000, 'Trips', 0, NULL);
                 CREATE TABLE Z_1KEYWORDS ({albums} INTEGER, {assets} INTEGER);
                 CREATE TABLE {table} ({albums} INTEGER, {assets} INTEGER, Z_FOK_{assets} INTEGER);
                 INSERT INTO {table} VALUES (1, 2, 0), (1, 1, 1), (2, 1, 0), (99, 1, 0);"
            ))
            .unwrap();
            let names: Vec<&str> = library.assets.iter().map(|asset| &*asset.file_name).collect();
            assert_eq!(names, ["A.JPG", "B.JPG"], "in the order of their dates");
            assert_eq!((library.assets[0].place, library.assets[1].place), (Some((48.5, -3.5)), None));
            let [walks, trips] = &library.albums[..] else { panic!("{:?}", library.albums) };
            assert_eq!((&*walks.title, walks.parent, &walks.assets[..]), ("Walks", Some(4), &[2, 1][..]));
            assert!(trips.is_folder && trips.assets.is_empty());
        }
    }

    #[test]
    fn a_library_of_another_form_is_said_to_be_one() {
        let error = read("CREATE TABLE ZPICTURE (x)").unwrap_err();
        assert_eq!(error.to_string(), "Photos.sqlite is of a form that is not known: it has no ZASSET");
    }
}
