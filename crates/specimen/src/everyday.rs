//! Notes, calendars, bookmarks, tabs and voicemail: what the owner of the phone needs every day, and never looks at on a computer.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use plist::{Dictionary, Uid, Value};
use rusqlite::types::Null;
use rusqlite::{Connection, params};

use crate::apps::binary;
use crate::owner::APPLE_EPOCH;
use crate::phone::Phone;
use crate::protobuf::{bytes, number};
use crate::words::person;
use crate::{DAY, FIRST_DAY, Specimen, database, jpeg};

const HOME: &str = "HomeDomain";
const NOTES: &str = "AppDomainGroup-group.com.apple.notes";
const SAFARI: &str = "AppDomain-com.apple.mobilesafari";

const NOTES_SCHEMA: &str = "
    CREATE TABLE ZICCLOUDSYNCINGOBJECT (Z_PK INTEGER PRIMARY KEY, Z_ENT INTEGER, ZIDENTIFIER VARCHAR, ZTYPEUTI VARCHAR, ZTITLE VARCHAR,
        ZTITLE1 VARCHAR, ZTITLE2 VARCHAR, ZNAME VARCHAR, ZSNIPPET VARCHAR, ZFOLDER INTEGER, ZPARENT INTEGER, ZOWNER INTEGER,
        ZFOLDERTYPE INTEGER, ZACCOUNT7 INTEGER, ZACCOUNTTYPE INTEGER, ZNOTE INTEGER, ZMEDIA INTEGER, ZFILENAME VARCHAR,
        ZALTTEXT VARCHAR, ZURLSTRING VARCHAR, ZISPASSWORDPROTECTED INTEGER, ZISPINNED INTEGER, ZMARKEDFORDELETION INTEGER,
        ZCREATIONDATE3 TIMESTAMP, ZMODIFICATIONDATE1 TIMESTAMP, ZMERGEABLEDATA1 BLOB);
    CREATE TABLE ZICNOTEDATA (Z_PK INTEGER PRIMARY KEY, ZNOTE INTEGER, ZCRYPTOINITIALIZATIONVECTOR BLOB, ZCRYPTOTAG BLOB, ZDATA BLOB);
";

const CALENDAR_SCHEMA: &str = "
    CREATE TABLE Store (ROWID INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, type INTEGER);
    CREATE TABLE Calendar (ROWID INTEGER PRIMARY KEY AUTOINCREMENT, store_id INTEGER, title TEXT, flags INTEGER, color TEXT, UUID TEXT);
    CREATE TABLE CalendarItem (ROWID INTEGER PRIMARY KEY AUTOINCREMENT, summary TEXT, location_id INTEGER, description TEXT, start_date REAL,
        start_tz TEXT, end_date REAL, end_tz TEXT, all_day INTEGER, calendar_id INTEGER, orig_item_id INTEGER, orig_date REAL,
        organizer_id INTEGER, status INTEGER, availability INTEGER, url TEXT, last_modified REAL, sequence_num INTEGER,
        unique_identifier TEXT, hidden INTEGER, has_recurrences INTEGER, has_attendees INTEGER, UUID TEXT, entity_type INTEGER,
        creation_date REAL, conference_url TEXT);
    CREATE TABLE Location (ROWID INTEGER PRIMARY KEY AUTOINCREMENT, title TEXT, address TEXT, latitude REAL, longitude REAL);
    CREATE TABLE Identity (display_name TEXT, address TEXT, first_name TEXT, last_name TEXT);
    CREATE TABLE Participant (ROWID INTEGER PRIMARY KEY AUTOINCREMENT, entity_type INTEGER, type INTEGER, status INTEGER, role INTEGER,
        identity_id INTEGER, owner_id INTEGER, email TEXT, is_self INTEGER);
    CREATE TABLE Recurrence (ROWID INTEGER PRIMARY KEY AUTOINCREMENT, frequency INTEGER, interval INTEGER, week_start INTEGER,
        count INTEGER, end_date REAL, specifier TEXT, owner_id INTEGER);
    CREATE TABLE ExceptionDate (ROWID INTEGER PRIMARY KEY AUTOINCREMENT, owner_id INTEGER, date REAL);
    CREATE TABLE Alarm (ROWID INTEGER PRIMARY KEY AUTOINCREMENT, trigger_date REAL, trigger_interval INTEGER,
        calendaritem_owner_id INTEGER, disabled INTEGER);
    INSERT INTO Store VALUES (1, 'iCloud', 1);
    INSERT INTO Calendar VALUES (1, 1, 'Home', 0, '#1BADF8', 'HOME'), (2, 1, 'Work', 0, '#CC73E1', 'WORK');
    INSERT INTO Location VALUES (1, 'The old mill', '7 Mill Lane', 48.85, 2.35);
    INSERT INTO Identity VALUES ('Robin', 'mailto:robin@example.org', 'Robin', '');
";

const BOOKMARKS_SCHEMA: &str = "
    CREATE TABLE bookmarks (id INTEGER PRIMARY KEY, special_id INTEGER DEFAULT 0, parent INTEGER, type INTEGER, title TEXT, url TEXT,
        order_index INTEGER, deleted INTEGER DEFAULT 0, last_modified REAL, extra_attributes BLOB);
    INSERT INTO bookmarks (id, special_id, parent, type, title, order_index) VALUES (0, 0, NULL, 1, 'Root', 0);
";

const VOICEMAIL_SCHEMA: &str = "
    CREATE TABLE voicemail (ROWID INTEGER PRIMARY KEY AUTOINCREMENT, remote_uid INTEGER, date INTEGER, token TEXT, sender TEXT,
        callback_num TEXT, duration INTEGER, expiration INTEGER, trashed_date INTEGER, flags INTEGER);
";

/// All of it; nothing of it changes later.
pub(crate) fn first_day(phone: &mut Phone<'_>) -> io::Result<()> {
    let specimen = phone.specimen;
    let (account, media) = (specimen.noise("notes account").uuid(), specimen.noise("notes media").uuid());
    let notes = database::create(NOTES_SCHEMA, |store| write_notes(specimen, store, &account, &media))?;
    phone.put(NOTES, "NoteStore.sqlite", notes).class = 3;
    let picture = jpeg::picture(&mut specimen.noise("picture in a note"), 16, 12);
    phone.put(NOTES, &format!("Accounts/{account}/Media/{media}/1_GENERATION/harbour.jpg"), picture).class = 3;
    let calendar = database::create(CALENDAR_SCHEMA, |calendar| write_calendar(specimen, calendar))?;
    phone.put(HOME, "Library/Calendar/Calendar.sqlitedb", calendar);
    let bookmarks = database::create(BOOKMARKS_SCHEMA, write_bookmarks)?;
    phone.put(HOME, "Library/Safari/Bookmarks.db", bookmarks);
    let tabs = database::create(BOOKMARKS_SCHEMA, write_tabs)?;
    phone.put(SAFARI, "Library/Safari/SafariTabs.db", tabs);
    let voicemail = database::create(VOICEMAIL_SCHEMA, |voicemail| write_voicemail(specimen, voicemail))?;
    phone.put(HOME, "Library/Voicemail/voicemail.db", voicemail);
    phone.put(HOME, "Library/Voicemail/1.transcript", transcript("Hi, it is me. I left the spare key at the bakery."));
    Ok(())
}

fn apple(unix: i64) -> f64 {
    (unix - APPLE_EPOCH) as f64
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain).and_then(|()| encoder.finish()).expect("a vector takes every write")
}

/// One stretch of a note: text, the style of its paragraph, and further fields of its run.
struct Run {
    text: &'static str,
    style: Option<Vec<u8>>,
    more: Vec<u8>,
}

fn run(text: &'static str, style: Option<u64>, more: Vec<u8>) -> Run {
    Run { text, style: style.map(|style| number(1, style)), more }
}

fn checked(text: &'static str, done: u64) -> Run {
    let check = bytes(5, [bytes(1, [7; 16]), number(2, done)].concat());
    Run { text, style: Some([number(1, 103), check].concat()), more: Vec::new() }
}

fn note(runs: &[Run]) -> Vec<u8> {
    let text: String = runs.iter().map(|run| run.text).collect();
    let runs = runs.iter().flat_map(|run| {
        let length = number(1, run.text.encode_utf16().count() as u64);
        let style = run.style.as_ref().map(|style| bytes(2, style)).unwrap_or_default();
        bytes(5, [length, style, run.more.clone()].concat())
    });
    let note = [bytes(2, &text), runs.collect()].concat();
    gzip(&bytes(2, [number(2, 0), bytes(3, note)].concat()))
}

fn attachment(id: &str, kind: &str) -> Vec<u8> {
    bytes(12, [bytes(1, id), bytes(2, kind)].concat())
}

fn write_notes(specimen: &Specimen, store: &Connection, account: &str, media: &str) -> rusqlite::Result<()> {
    let mut noise = specimen.noise("notes");
    let [picture, table, tag] = [noise.uuid(), noise.uuid(), noise.uuid()];
    store.execute(
        "INSERT INTO ZICCLOUDSYNCINGOBJECT (Z_PK, ZIDENTIFIER, ZNAME, ZACCOUNTTYPE) VALUES (1, ?1, 'iCloud', 1)",
        [account],
    )?;
    for (key, title, parent, kind) in [(2, "Notes", None, 0), (3, "Trips", Some(2), 0), (4, "Recently Deleted", None, 1)] {
        let sql = "INSERT INTO ZICCLOUDSYNCINGOBJECT (Z_PK, ZIDENTIFIER, ZTITLE2, ZPARENT, ZOWNER, ZFOLDERTYPE) VALUES (?1, ?2, ?3, ?4, 1, ?5)";
        store.execute(sql, params![key, noise.uuid(), title, parent, kind])?;
    }
    let shopping = note(&[
        run("Shopping\n", Some(0), Vec::new()),
        checked("Milk 🥛\n", 1),
        checked("Bread\n", 0),
        run("Where\n", Some(1), Vec::new()),
        run("At the market", None, number(5, 1)),
        run(", ", None, Vec::new()),
        run("opening hours", None, bytes(9, "https://market.example.org/hours")),
    ]);
    let harbour = note(&[
        run("Harbour plan\n", Some(0), Vec::new()),
        run("First the lighthouse\n", Some(102), Vec::new()),
        run("Then the pier\n", Some(102), Vec::new()),
        run("\u{fffc}", None, attachment(&picture, "public.jpeg")),
        run("\n", None, Vec::new()),
        run("\u{fffc}", None, attachment(&table, "com.apple.notes.table")),
        run("\n", None, Vec::new()),
        run("\u{fffc}", None, attachment(&tag, "com.apple.notes.inlinetextattachment.hashtag")),
    ]);
    let gone = note(&[run("Old idea\n", Some(0), Vec::new()), run("never mind", None, Vec::new())]);
    let rows = [
        (5, "Shopping", 2, false, Some(shopping)),
        (6, "Harbour plan", 3, false, Some(harbour)),
        (7, "Secret", 2, true, Some(noise.bytes(300))),
        (8, "Old idea", 4, false, Some(gone)),
    ];
    for (key, title, folder, locked, data) in rows {
        let created = apple(FIRST_DAY - 100 * DAY + i64::from(key) * 3_600);
        let sql = "INSERT INTO ZICCLOUDSYNCINGOBJECT (Z_PK, ZIDENTIFIER, ZTITLE1, ZFOLDER, ZACCOUNT7, ZISPASSWORDPROTECTED, ZISPINNED, \
                   ZMARKEDFORDELETION, ZCREATIONDATE3, ZMODIFICATIONDATE1) VALUES (?1, ?2, ?3, ?4, 1, ?5, ?6, 0, ?7, ?8)";
        store.execute(sql, params![key, noise.uuid(), title, folder, locked, key == 5, created, created + 86_400.0])?;
        store.execute("INSERT INTO ZICNOTEDATA (ZNOTE, ZDATA) VALUES (?1, ?2)", params![key, data])?;
    }
    let sql = "INSERT INTO ZICCLOUDSYNCINGOBJECT (Z_PK, ZIDENTIFIER, ZTYPEUTI, ZNOTE, ZMEDIA, ZTITLE, ZALTTEXT, ZMERGEABLEDATA1) \
               VALUES (?1, ?2, ?3, 6, ?4, ?5, ?6, ?7)";
    store.execute(sql, params![20, picture, "public.jpeg", 21, "harbour.jpg", Null, Null])?;
    store.execute(sql, params![22, table, "com.apple.notes.table", Null, Null, Null, gzip(&timetable())])?;
    store.execute(sql, params![23, tag, "com.apple.notes.inlinetextattachment.hashtag", Null, Null, "#harbour", Null])?;
    let sql = "INSERT INTO ZICCLOUDSYNCINGOBJECT (Z_PK, ZIDENTIFIER, ZFILENAME) VALUES (21, ?1, 'harbour.jpg')";
    store.execute(sql, [media]).map(drop)
}

/// A table of two rows and two columns, as many devices edit it: objects that name each other by number.
fn timetable() -> Vec<u8> {
    let reference = |object: u64| number(6, object);
    let pairs = |pairs: &[(u64, u64)]| -> Vec<u8> {
        let pair = |&(key, value): &(u64, u64)| bytes(1, [bytes(1, reference(key)), bytes(2, reference(value))].concat());
        pairs.iter().flat_map(pair).collect()
    };
    let id = |id: u64| bytes(13, [number(1, 1), bytes(3, [number(1, 3), bytes(2, number(2, id))].concat())].concat());
    let set = |ids: &[u8]| {
        let places: Vec<u8> = ids.iter().flat_map(|&id| bytes(2, [number(1, 0), bytes(2, [id; 16])].concat())).collect();
        bytes(16, bytes(1, bytes(1, places)))
    };
    let cell = |text: &str| bytes(10, bytes(2, text));
    let part = |key: u64, object: u64| bytes(3, [number(1, key), bytes(2, reference(object))].concat());
    let objects = [
        bytes(13, [number(1, 0), part(0, 1), part(1, 2), part(2, 3)].concat()),
        set(&[0, 1]),
        set(&[2, 3]),
        bytes(6, pairs(&[(8, 4), (9, 5)])),
        bytes(6, pairs(&[(6, 10), (7, 12)])),
        bytes(6, pairs(&[(6, 11), (7, 13)])),
        id(0),
        id(1),
        id(2),
        id(3),
        cell("Ferry"),
        cell("Time"),
        cell("Island"),
        cell("9:40"),
    ];
    let objects: Vec<u8> = objects.iter().flat_map(|object| bytes(3, object)).collect();
    let keys: Vec<u8> = ["crRows", "crColumns", "cellColumns", "UUIDIndex"].iter().flat_map(|key| bytes(4, key)).collect();
    let types: Vec<u8> = ["com.apple.notes.ICTable", "com.apple.CRDT.NSUUID"].iter().flat_map(|name| bytes(5, name)).collect();
    let ids: Vec<u8> = (0..4_u8).flat_map(|id| bytes(6, [id; 16])).collect();
    bytes(2, [number(2, 0), bytes(3, [objects, keys, types, ids].concat())].concat())
}

fn write_calendar(specimen: &Specimen, calendar: &Connection) -> rusqlite::Result<()> {
    let mut noise = specimen.noise("calendar");
    // Monday, 5 January 2026, 09:00 in Paris.
    let monday = 1_767_600_000;
    let insert = "INSERT INTO CalendarItem (ROWID, summary, location_id, description, start_date, start_tz, end_date, end_tz, all_day, \
                  calendar_id, orig_item_id, orig_date, status, availability, url, last_modified, sequence_num, unique_identifier, \
                  has_recurrences, has_attendees, UUID, entity_type, creation_date) \
                  VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?6, ?8, ?9, ?10, ?11, ?12, 0, ?13, ?14, 0, ?15, ?16, ?17, ?18, 2, ?14)";
    let mut item = |id: i64,
                    summary: &str,
                    place: Option<i64>,
                    about: Option<&str>,
                    start: i64,
                    length: i64,
                    zone: &str,
                    calendar_id: i64| {
        let (moved, of) = if id == 2 { (Some(1), Some(apple(monday + 14 * DAY))) } else { (None, None) };
        let uid = if id == 2 { "series-1".to_owned() } else { format!("series-{id}") };
        let all_day = zone == "_float";
        let end = apple(start + length) - if all_day { 1.0 } else { 0.0 };
        calendar.execute(
            insert,
            params![
                id,
                summary,
                place,
                about,
                apple(start),
                zone,
                end,
                all_day,
                calendar_id,
                moved,
                of,
                if id == 5 { 3 } else { 1 },
                (id == 4).then_some("https://mill.example.org/meet"),
                apple(FIRST_DAY - 30 * DAY),
                uid,
                id == 1 || id == 6,
                id == 4,
                noise.uuid(),
            ],
        )
    };
    item(1, "Stand-up", None, None, monday, 900, "Europe/Paris", 2)?;
    item(2, "Stand-up, later", None, None, monday + 14 * DAY + 3_600, 900, "Europe/Paris", 2)?;
    item(3, "Sailing, all of us", Some(1), Some("Bring:\n- the map\n- an umbrella"), 1_784_937_600, 3 * DAY, "_float", 1)?;
    item(4, "Review; second part", Some(1), None, monday + 30 * 3_600, 5_400, "America/New_York", 2)?;
    item(5, "Dentist", None, None, monday + 3 * DAY, 1_800, "Europe/Paris", 1)?;
    item(6, &format!("{}’s birthday", person(specimen.seed, 0).first), None, None, 1_768_521_600, DAY, "_float", 1)?;
    calendar.execute_batch(&format!(
        "INSERT INTO Recurrence (frequency, interval, week_start, count, end_date, specifier, owner_id) VALUES
            (2, 1, 1, 0, {}, 'D=0MO', 1), (4, 1, 1, 0, NULL, 'O=1;M=16', 6);
         INSERT INTO ExceptionDate (owner_id, date) VALUES (1, {});
         INSERT INTO Alarm (trigger_date, trigger_interval, calendaritem_owner_id, disabled) VALUES (NULL, -900, 4, 0), (NULL, 32400, 6, 0), (NULL, -60, 5, 1);",
        apple(monday + 70 * DAY),
        apple(monday + 7 * DAY),
    ))?;
    let sql = "INSERT INTO Participant (entity_type, status, role, identity_id, owner_id, email, is_self) VALUES (?1, ?2, ?3, ?4, 4, ?5, ?6)";
    calendar.execute(sql, params![8, 1, 3, 1, "robin@example.org", true])?;
    calendar.execute(sql, params![7, 2, 1, Null, person(specimen.seed, 1).mail, false])?;
    Ok(())
}

fn write_bookmarks(bookmarks: &Connection) -> rusqlite::Result<()> {
    let mut about = Dictionary::new();
    about.insert("PreviewText".into(), "How tides come about, and why not every day is like another".into());
    let mut extra = Dictionary::new();
    extra.insert("com.apple.ReadingList".into(), about.into());
    let added = apple(FIRST_DAY - 50 * DAY);
    bookmarks.execute_batch(&format!(
        "INSERT INTO bookmarks (id, special_id, parent, type, title, url, order_index, deleted, last_modified) VALUES
            (1, 1, 0, 1, 'BookmarksBar', NULL, 0, 0, NULL), (2, 2, 0, 1, 'BookmarksMenu', NULL, 1, 0, NULL),
            (3, 3, 0, 1, 'com.apple.ReadingList', NULL, 2, 0, NULL),
            (4, 0, 1, 0, 'Tides & <currents>', 'https://tides.example.org/?a=1&b=2', 0, 0, {added}),
            (5, 0, 2, 1, 'Trains', NULL, 0, 0, NULL), (6, 0, 5, 0, 'Timetable', 'https://trains.example.org/', 0, 0, {added}),
            (7, 0, 2, 0, 'Removed', 'https://gone.example.org/', 1, 1, {added});"
    ))?;
    let sql = "INSERT INTO bookmarks (id, parent, type, title, url, order_index, last_modified, extra_attributes) \
               VALUES (8, 3, 0, 'Why tides differ', 'https://library.example.org/tides', 0, ?1, ?2)";
    bookmarks.execute(sql, params![added, binary(extra)]).map(drop)
}

fn write_tabs(tabs: &Connection) -> rusqlite::Result<()> {
    tabs.execute_batch(
        "INSERT INTO bookmarks (id, parent, type, title, url, order_index) VALUES
            (1, 0, 1, 'Local', NULL, 0), (2, 0, 1, 'Holiday', NULL, 1), (3, 0, 1, 'Private', NULL, 2),
            (4, 1, 0, 'Weather', 'https://weather.example.org/', 0), (5, 2, 0, 'Museum', 'https://museum.example.org/', 0),
            (6, 3, 0, 'Surprise', 'https://gifts.example.org/', 0);",
    )
}

fn write_voicemail(specimen: &Specimen, voicemail: &Connection) -> rusqlite::Result<()> {
    let sql = "INSERT INTO voicemail (ROWID, date, sender, callback_num, duration, trashed_date, flags) VALUES (?1, ?2, ?3, ?3, ?4, ?5, 1)";
    voicemail.execute(sql, params![1, FIRST_DAY - 20 * DAY, person(specimen.seed, 2).number, 4, 0]).map(drop)
}

/// What the phone understood of a voicemail, archived as the phone does it.
fn transcript(text: &str) -> Vec<u8> {
    let uid = |number: u64| Value::Uid(Uid::new(number));
    let mut object = Dictionary::new();
    object.insert("transcriptionString".into(), uid(2));
    object.insert("confidence".into(), Value::Real(0.75));
    let mut top = Dictionary::new();
    top.insert("root".into(), uid(1));
    let mut root = Dictionary::new();
    root.insert("$version".into(), 100_000.into());
    root.insert("$archiver".into(), "NSKeyedArchiver".into());
    root.insert("$top".into(), top.into());
    root.insert("$objects".into(), Value::Array(vec!["$null".into(), object.into(), text.into()]));
    binary(root)
}
