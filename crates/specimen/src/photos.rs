//! The camera roll: pictures, the library that lists them, and copies of a few that were sent along with messages.

use std::io;

use rusqlite::{Connection, params};

use crate::owner::{APPLE_EPOCH, attach, times};
use crate::phone::Phone;
use crate::{DAY, FIRST_DAY, Specimen, database, date, jpeg};

const CAMERA: &str = "CameraRollDomain";
const LIBRARY: &str = "Media/PhotoData/Photos.sqlite";

const SCHEMA: &str = "
    CREATE TABLE ZASSET (Z_PK INTEGER PRIMARY KEY, Z_ENT INTEGER, Z_OPT INTEGER, ZKIND INTEGER, ZKINDSUBTYPE INTEGER, ZWIDTH INTEGER,
        ZHEIGHT INTEGER, ZORIENTATION INTEGER, ZFAVORITE INTEGER, ZHIDDEN INTEGER, ZTRASHEDSTATE INTEGER, ZHASADJUSTMENTS INTEGER,
        ZADDITIONALATTRIBUTES INTEGER,
        ZDATECREATED TIMESTAMP, ZADDEDDATE TIMESTAMP, ZMODIFICATIONDATE TIMESTAMP, ZTRASHEDDATE TIMESTAMP, ZDURATION FLOAT,
        ZLATITUDE FLOAT, ZLONGITUDE FLOAT, ZDIRECTORY VARCHAR, ZFILENAME VARCHAR, ZUNIFORMTYPEIDENTIFIER VARCHAR, ZUUID VARCHAR);
    CREATE TABLE ZADDITIONALASSETATTRIBUTES (Z_PK INTEGER PRIMARY KEY, ZASSET INTEGER, ZORIGINALFILESIZE INTEGER,
        ZTIMEZONEOFFSET INTEGER, ZORIGINALFILENAME VARCHAR, ZTIMEZONENAME VARCHAR);
    CREATE TABLE ZGENERICALBUM (Z_PK INTEGER PRIMARY KEY, ZKIND INTEGER, ZTRASHEDSTATE INTEGER, ZPARENTFOLDER INTEGER, ZTITLE VARCHAR);
    CREATE TABLE Z_28ASSETS (Z_28ALBUMS INTEGER, Z_3ASSETS INTEGER, PRIMARY KEY (Z_28ALBUMS, Z_3ASSETS));
    CREATE INDEX Z_Asset_byDateCreated ON ZASSET (ZDATECREATED);
    INSERT INTO ZGENERICALBUM VALUES (1, 2, 0, NULL, 'Harbour walks'), (2, 4000, 0, NULL, 'Trips'), (3, 2, 0, 2, 'Summer/2025');
    INSERT INTO Z_28ASSETS VALUES (3, 14), (3, 15), (3, 16);
";

/// The pictures of two years.
pub(crate) fn first_day(phone: &mut Phone<'_>) -> io::Result<()> {
    let count = phone.specimen.by_size(24, 290);
    let library = database::create(SCHEMA, |_| Ok(()))?;
    phone.put(CAMERA, LIBRARY, library).class = 3;
    take(phone, 1, count, (FIRST_DAY - 700 * DAY, FIRST_DAY - DAY))?;
    for number in [2, 5] {
        send_along(phone, number)?;
    }
    mark(phone)
}

/// A hidden picture, a deleted one, a Live Photo, an edited one, two that came by the same name at the same time, one whose original is in
/// iCloud only, and a few small pictures that the phone made for itself.
fn mark(phone: &mut Phone<'_>) -> io::Result<()> {
    let specimen = phone.specimen;
    let mut noise = specimen.noise("marked pictures");
    let library = database::edit(phone.plain(CAMERA, LIBRARY)?, |library| {
        library.execute_batch(
            "UPDATE ZASSET SET ZHIDDEN = 1 WHERE Z_PK = 12; UPDATE ZASSET SET ZTRASHEDSTATE = 1, ZTRASHEDDATE = 789000000 WHERE Z_PK = 13;
             UPDATE ZASSET SET ZKINDSUBTYPE = 2 WHERE Z_PK = 14; UPDATE ZASSET SET ZHASADJUSTMENTS = 1 WHERE Z_PK = 15;
             UPDATE ZASSET SET ZDATECREATED = (SELECT ZDATECREATED FROM ZASSET WHERE Z_PK = 16) WHERE Z_PK = 17;
             UPDATE ZADDITIONALASSETATTRIBUTES SET ZORIGINALFILENAME = 'Sunset.JPG' WHERE ZASSET = 16;
             UPDATE ZADDITIONALASSETATTRIBUTES SET ZORIGINALFILENAME = 'sunset.jpeg' WHERE ZASSET = 17;
             INSERT INTO ZASSET (Z_PK, Z_ENT, ZKIND, ZTRASHEDSTATE, ZDATECREATED, ZDIRECTORY, ZFILENAME, ZUUID)
                 VALUES (9001, 3, 1, 0, 780000000, 'DCIM/100APPLE', 'IMG_9001.MOV', 'ONLY-IN-ICLOUD');",
        )
    })?;
    phone.put(CAMERA, LIBRARY, library);
    let film = [&b"\0\0\0\x14ftypqt  \0\0\0\0qt  "[..], &noise.bytes(5_000)].concat();
    phone.put(CAMERA, "Media/DCIM/100APPLE/IMG_0014.MOV", film).class = 3;
    let edited = jpeg::picture(&mut noise, 20, 20);
    phone.put(CAMERA, "Media/PhotoData/Mutations/DCIM/100APPLE/IMG_0015/Adjustments/FullSizeRender.jpg", edited).class = 3;
    for number in 1..=6 {
        let small = jpeg::picture(&mut specimen.noise(&format!("small picture {number}")), 6, 6);
        let path = format!("Media/PhotoData/Thumbnails/V2/DCIM/100APPLE/{}/5005.JPG", file_name(number));
        phone.put(CAMERA, &path, small).class = 3;
    }
    Ok(())
}

/// A few new ones; after a month some old ones are gone.
pub(crate) fn later(phone: &mut Phone<'_>) -> io::Result<()> {
    let generation = phone.generation;
    let last = phone.files(CAMERA, "Media/DCIM/").iter().filter(|path| path.ends_with(".JPG")).count();
    // Numbers are not used again, so those of removed pictures count.
    let removed = (3..generation).count();
    let first = last + removed + 1;
    let count = if generation == 2 { phone.specimen.by_size(3, 8) } else { phone.specimen.by_size(6, 40) };
    take(phone, first, count, (date(generation - 1), date(generation) - 600))?;
    send_along(phone, first)?;
    if generation > 2 {
        let number = generation as usize + 4;
        phone.take(CAMERA, &path(number));
        let library = database::edit(phone.plain(CAMERA, LIBRARY)?, |library| {
            library.execute("DELETE FROM ZASSET WHERE ZFILENAME = ?1", [file_name(number)]).map(drop)
        })?;
        phone.put(CAMERA, LIBRARY, library);
    }
    Ok(())
}

fn file_name(number: usize) -> String {
    format!("IMG_{number:04}.JPG")
}

fn path(number: usize) -> String {
    format!("Media/DCIM/{}APPLE/{}", 100 + number / 1_000, file_name(number))
}

/// Takes pictures and notes them in the library.
fn take(phone: &mut Phone<'_>, first: usize, count: usize, span: (i64, i64)) -> io::Result<()> {
    let specimen = phone.specimen;
    let mut noise = specimen.noise(&format!("camera {first}"));
    let times = times(&mut noise, count, span);
    for (number, &time) in (first..).zip(&times) {
        let (wide, high) = size(specimen, number);
        let picture = jpeg::picture(&mut specimen.noise(&format!("picture {number}")), wide, high);
        let entry = phone.put(CAMERA, &path(number), picture);
        (entry.modified, entry.born, entry.class) = (time, time, 3);
        entry.attributes = vec![("com.apple.assetsd.UUID".to_owned(), noise.bytes(16))];
    }
    let library = database::edit(phone.plain(CAMERA, LIBRARY)?, |library| {
        (first..).zip(&times).try_for_each(|(number, &time)| note(specimen, library, number, time))
    })?;
    phone.put(CAMERA, LIBRARY, library);
    Ok(())
}

/// Blocks across and down.
fn size(specimen: &Specimen, number: usize) -> (u16, u16) {
    let (long, short) = (specimen.by_size(32, 64) as u16, specimen.by_size(24, 48) as u16);
    if number.is_multiple_of(3) { (short, long) } else { (long, short) }
}

fn note(specimen: &Specimen, library: &Connection, number: usize, time: i64) -> rusqlite::Result<()> {
    let mut noise = specimen.noise(&format!("asset {number}"));
    let (wide, high) = size(specimen, number);
    let folder = format!("DCIM/{}APPLE", 100 + number / 1_000);
    let at = (time - APPLE_EPOCH) as f64;
    let (latitude, longitude) = (noise.between(35_000, 60_000) as f64 / 1e3, noise.between(-10_000, 30_000) as f64 / 1e3);
    library.execute(
        "INSERT INTO ZASSET (Z_PK, Z_ENT, Z_OPT, ZKIND, ZKINDSUBTYPE, ZWIDTH, ZHEIGHT, ZORIENTATION, ZFAVORITE, ZHIDDEN, ZTRASHEDSTATE, \
         ZADDITIONALATTRIBUTES, ZDATECREATED, ZADDEDDATE, ZMODIFICATIONDATE, ZDURATION, ZLATITUDE, ZLONGITUDE, ZDIRECTORY, ZFILENAME, \
         ZUNIFORMTYPEIDENTIFIER, ZUUID) \
         VALUES (?1, 3, 1, 0, 0, ?2, ?3, 1, ?4, 0, 0, ?1, ?5, ?5, ?5, 0, ?6, ?7, ?8, ?9, 'public.jpeg', ?10)",
        params![
            number as i64,
            8 * wide,
            8 * high,
            noise.once_in(9),
            at,
            latitude,
            longitude,
            folder,
            file_name(number),
            noise.uuid()
        ],
    )?;
    library.execute(
        "INSERT INTO ZADDITIONALASSETATTRIBUTES VALUES (?1, ?1, NULL, 3600, ?2, 'Europe/Paris')",
        params![number as i64, file_name(number)],
    )?;
    if noise.once_in(4) {
        library.execute("INSERT INTO Z_28ASSETS VALUES (1, ?1)", [number as i64])?;
    }
    Ok(())
}

/// Sends a picture to somebody: the same bytes are now among the attachments of messages, too.
fn send_along(phone: &mut Phone<'_>, number: usize) -> io::Result<()> {
    let picture = phone.plain(CAMERA, &path(number))?.to_vec();
    let mut noise = phone.specimen.noise(&format!("sent {number}"));
    let (a, b) = (noise.below(256), noise.below(16));
    let path = format!("Library/SMS/Attachments/{a:02x}/{b:02}/{}/{}", noise.uuid(), file_name(number));
    attach(phone, &path, picture.len())?;
    phone.put("MediaDomain", &path, picture).class = 3;
    Ok(())
}
