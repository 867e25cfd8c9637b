//! What the owner of the phone wrote, whom they know and whom they called.

use std::io;

use rusqlite::{Connection, params};

use crate::noise::Noise;
use crate::phone::Phone;
use crate::words::{person, sentence};
use crate::{DAY, FIRST_DAY, Layout, Specimen, database, date};

const HOME: &str = "HomeDomain";
const MESSAGES: &str = "Library/SMS/sms.db";
const CONTACTS: &str = "Library/AddressBook/AddressBook.sqlitedb";
const CALLS: &str = "Library/CallHistoryDB/CallHistory.storedata";

/// From 1970 to 2001, where Apple's own time begins.
pub(crate) const APPLE_EPOCH: i64 = 978_307_200;
const PEOPLE: usize = 24;

const MESSAGES_SCHEMA: &str = "
    CREATE TABLE _SqliteDatabaseProperties (key TEXT, value TEXT, UNIQUE(key));
    CREATE TABLE handle (ROWID INTEGER PRIMARY KEY AUTOINCREMENT UNIQUE, id TEXT NOT NULL, country TEXT,
        service TEXT NOT NULL, uncanonicalized_id TEXT, person_centric_id TEXT, UNIQUE (id, service));
    CREATE TABLE chat (ROWID INTEGER PRIMARY KEY AUTOINCREMENT, guid TEXT UNIQUE NOT NULL, style INTEGER, state INTEGER,
        chat_identifier TEXT, service_name TEXT, room_name TEXT, display_name TEXT);
    CREATE TABLE message (ROWID INTEGER PRIMARY KEY AUTOINCREMENT, guid TEXT UNIQUE NOT NULL, text TEXT, handle_id INTEGER DEFAULT 0,
        subject TEXT, attributedBody BLOB, service TEXT, account TEXT, date INTEGER, date_read INTEGER, date_delivered INTEGER,
        is_delivered INTEGER DEFAULT 0, is_from_me INTEGER DEFAULT 0, is_read INTEGER DEFAULT 0, is_sent INTEGER DEFAULT 0,
        item_type INTEGER DEFAULT 0, group_title TEXT, group_action_type INTEGER DEFAULT 0, cache_has_attachments INTEGER DEFAULT 0,
        associated_message_guid TEXT, associated_message_type INTEGER DEFAULT 0, balloon_bundle_id TEXT, payload_data BLOB,
        thread_originator_guid TEXT, is_audio_message INTEGER DEFAULT 0, date_edited INTEGER, date_retracted INTEGER);
    CREATE TABLE attachment (ROWID INTEGER PRIMARY KEY AUTOINCREMENT, guid TEXT UNIQUE NOT NULL, created_date INTEGER DEFAULT 0,
        filename TEXT, uti TEXT, mime_type TEXT, transfer_state INTEGER DEFAULT 0, is_outgoing INTEGER DEFAULT 0,
        transfer_name TEXT, total_bytes INTEGER DEFAULT 0, is_sticker INTEGER DEFAULT 0, hide_attachment INTEGER DEFAULT 0);
    CREATE TABLE chat_handle_join (chat_id INTEGER REFERENCES chat (ROWID), handle_id INTEGER REFERENCES handle (ROWID),
        UNIQUE(chat_id, handle_id));
    CREATE TABLE chat_message_join (chat_id INTEGER REFERENCES chat (ROWID), message_id INTEGER REFERENCES message (ROWID),
        message_date INTEGER DEFAULT 0, PRIMARY KEY (chat_id, message_id));
    CREATE TABLE message_attachment_join (message_id INTEGER REFERENCES message (ROWID),
        attachment_id INTEGER REFERENCES attachment (ROWID), UNIQUE(message_id, attachment_id));
    CREATE INDEX message_idx_date ON message (date);
    CREATE INDEX message_idx_handle ON message (handle_id, date);
    CREATE INDEX chat_message_join_idx_message_id_only ON chat_message_join (message_id);
    INSERT INTO _SqliteDatabaseProperties VALUES ('_ClientVersion', '17005'), ('_UniqueIdentifier', 'SPECIMEN');
";

const CONTACTS_SCHEMA: &str = "
    CREATE TABLE ABPerson (ROWID INTEGER PRIMARY KEY AUTOINCREMENT, First TEXT, Last TEXT, Middle TEXT, Organization TEXT,
        Department TEXT, Note TEXT, Birthday TEXT, JobTitle TEXT, Nickname TEXT, CreationDate INTEGER, ModificationDate INTEGER,
        DisplayName TEXT, StoreID INTEGER);
    CREATE TABLE ABMultiValue (UID INTEGER PRIMARY KEY, record_id INTEGER, property INTEGER, identifier INTEGER, label INTEGER, value TEXT);
    CREATE TABLE ABMultiValueLabel (value TEXT, UNIQUE(value));
    CREATE TABLE ABStore (ROWID INTEGER PRIMARY KEY AUTOINCREMENT, Name TEXT, Type INTEGER);
    CREATE INDEX ABMultiValueRecordIndex ON ABMultiValue (record_id);
    INSERT INTO ABMultiValueLabel (ROWID, value) VALUES (1, '_$!<Mobile>!$_'), (2, '_$!<Home>!$_'), (3, '_$!<Work>!$_');
    INSERT INTO ABStore VALUES (1, '', 0);
";

const CALLS_SCHEMA: &str = "
    CREATE TABLE ZCALLRECORD (Z_PK INTEGER PRIMARY KEY, Z_ENT INTEGER, Z_OPT INTEGER, ZANSWERED INTEGER, ZCALLTYPE INTEGER,
        ZDISCONNECTED_CAUSE INTEGER, ZORIGINATED INTEGER, ZREAD INTEGER, ZDATE TIMESTAMP, ZDURATION FLOAT, ZADDRESS VARCHAR,
        ZISO_COUNTRY_CODE VARCHAR, ZLOCATION VARCHAR, ZNAME VARCHAR, ZSERVICE_PROVIDER VARCHAR, ZUNIQUE_ID VARCHAR);
    CREATE INDEX Z_CallRecord_byDate ON ZCALLRECORD (ZDATE);
    CREATE TABLE Z_PRIMARYKEY (Z_ENT INTEGER PRIMARY KEY, Z_NAME VARCHAR, Z_SUPER INTEGER, Z_MAX INTEGER);
    INSERT INTO Z_PRIMARYKEY VALUES (2, 'CallRecord', 0, 0);
";

/// The first backup: two years of messages and calls.
pub(crate) fn first_day(phone: &mut Phone<'_>) -> io::Result<()> {
    let specimen = phone.specimen;
    let span = (FIRST_DAY - 700 * DAY, FIRST_DAY - 3_600);
    let count = specimen.by_size(3_000, 24_000);
    let messages = database::create(MESSAGES_SCHEMA, |sms| {
        people_who_write(specimen, sms)?;
        write_messages(specimen, sms, 1, count, span)
    })?;
    phone.put(HOME, MESSAGES, messages).class = 3;
    let contacts =
        database::create(CONTACTS_SCHEMA, |book| (0..PEOPLE).try_for_each(|index| add_contact(specimen, book, index)))?;
    phone.put(HOME, CONTACTS, contacts);
    let calls = database::create(CALLS_SCHEMA, |calls| add_calls(specimen, calls, 1, specimen.by_size(120, 2_000), span))?;
    phone.put(HOME, CALLS, calls).class = 3;
    Ok(())
}

/// What a day, or a month, adds.
pub(crate) fn later(phone: &mut Phone<'_>) -> io::Result<()> {
    let (specimen, generation) = (phone.specimen, phone.generation);
    let span = (date(generation - 1), date(generation) - 60);
    let days = usize::try_from((span.1 - span.0) / DAY + 1).unwrap_or(1);
    let count = days * specimen.by_size(8, 40);
    let messages = database::edit(phone.plain(HOME, MESSAGES)?, |sms| {
        sms.execute("UPDATE message SET is_read = 1, date_read = date + 60 WHERE is_read = 0", [])?;
        write_messages(specimen, sms, generation, count, span)
    })?;
    phone.put(HOME, MESSAGES, messages);
    let calls = database::edit(phone.plain(HOME, CALLS)?, |calls| add_calls(specimen, calls, generation, 2 * days, span))?;
    phone.put(HOME, CALLS, calls);
    // New acquaintances take longer than a day.
    if generation > 2 {
        let contacts = database::edit(phone.plain(HOME, CONTACTS)?, |book| {
            book.execute(
                "UPDATE ABPerson SET Note = 'moved house', ModificationDate = ?1 WHERE ROWID = 3",
                [span.1 - APPLE_EPOCH],
            )?;
            add_contact(specimen, book, PEOPLE + generation as usize)
        })?;
        phone.put(HOME, CONTACTS, contacts);
    }
    Ok(())
}

/// How sms.db counts time: in nanoseconds since iOS 11, in seconds before.
fn message_time(specimen: &Specimen, unix: i64) -> i64 {
    match specimen.layout {
        Layout::Database => (unix - APPLE_EPOCH) * 1_000_000_000,
        Layout::DatabaseClearManifest | Layout::Mbdb => unix - APPLE_EPOCH,
    }
}

fn people_who_write(specimen: &Specimen, sms: &Connection) -> rusqlite::Result<()> {
    for index in 0..PEOPLE {
        let (number, row) = (person(specimen.seed, index).number, index as i64 + 1);
        let service = if index % 4 == 3 { "SMS" } else { "iMessage" };
        let sql = "INSERT INTO handle (ROWID, id, country, service, uncanonicalized_id) VALUES (?1, ?2, 'us', ?3, NULL)";
        sms.execute(sql, params![row, number, service])?;
        let guid = format!("{service};-;{number}");
        let sql = "INSERT INTO chat (ROWID, guid, style, state, chat_identifier, service_name) VALUES (?1, ?2, 45, 3, ?3, ?4)";
        sms.execute(sql, params![row, guid, number, service])?;
        sms.execute("INSERT INTO chat_handle_join VALUES (?1, ?1)", [row])?;
    }
    Ok(())
}

fn write_messages(
    specimen: &Specimen,
    sms: &Connection,
    generation: u32,
    count: usize,
    span: (i64, i64),
) -> rusqlite::Result<()> {
    let mut noise = specimen.noise(&format!("messages {generation}"));
    let mut insert = sms.prepare(
        "INSERT INTO message (guid, text, handle_id, service, account, date, date_read, date_delivered, is_delivered, is_from_me, \
         is_read, is_sent) VALUES (?1, ?2, ?3, ?4, 'e:robin@example.org', ?5, ?6, ?6, 1, ?7, ?8, ?7)",
    )?;
    let mut join = sms.prepare("INSERT INTO chat_message_join VALUES (?1, ?2, ?3)")?;
    for time in times(&mut noise, count, span) {
        // A few people write most of it.
        let handle = (noise.below(PEOPLE) * noise.below(PEOPLE) / PEOPLE) as i64 + 1;
        let from_me = noise.once_in(2);
        let is_read = from_me || time < span.1 - 7_200;
        let service = if handle % 4 == 0 { "SMS" } else { "iMessage" };
        let (at, read_at) = (message_time(specimen, time), if is_read { message_time(specimen, time + 40) } else { 0 });
        insert.execute(params![noise.uuid(), sentence(&mut noise), handle, service, at, read_at, from_me, is_read])?;
        join.execute([handle, sms.last_insert_rowid(), at])?;
    }
    Ok(())
}

/// Notes in sms.db that a picture came with the last message of a day.
pub(crate) fn attach(phone: &mut Phone<'_>, path: &str, bytes: usize) -> io::Result<()> {
    let mut noise = phone.specimen.noise(&format!("attachment {path}"));
    let messages = database::edit(phone.plain(HOME, MESSAGES)?, |sms| {
        let last: i64 = sms.query_row("SELECT max(ROWID) FROM message", [], |row| row.get(0))?;
        let message = last - noise.below(40) as i64;
        sms.execute(
            "INSERT INTO attachment (guid, created_date, filename, uti, mime_type, transfer_state, transfer_name, total_bytes) \
             SELECT ?1, date, ?2, 'public.jpeg', 'image/jpeg', 5, ?3, ?4 FROM message WHERE ROWID = ?5",
            params![noise.uuid(), format!("~/{path}"), path.rsplit('/').next(), bytes as i64, message],
        )?;
        sms.execute("INSERT INTO message_attachment_join VALUES (?1, ?2)", [message, sms.last_insert_rowid()])?;
        sms.execute("UPDATE message SET cache_has_attachments = 1 WHERE ROWID = ?1", [message])?;
        Ok(())
    })?;
    phone.put(HOME, MESSAGES, messages);
    Ok(())
}

fn add_contact(specimen: &Specimen, book: &Connection, index: usize) -> rusqlite::Result<()> {
    let person = person(specimen.seed, index);
    let mut noise = specimen.noise(&format!("contact {index}"));
    let created = FIRST_DAY - APPLE_EPOCH - noise.between(DAY, 2_000 * DAY);
    let sql = "INSERT INTO ABPerson (First, Last, CreationDate, ModificationDate, StoreID) VALUES (?1, ?2, ?3, ?3, 1)";
    book.execute(sql, params![person.first, person.last, created])?;
    let id = book.last_insert_rowid();
    let sql = "INSERT INTO ABMultiValue (record_id, property, identifier, label, value) VALUES (?1, ?2, 0, ?3, ?4)";
    book.execute(sql, params![id, 3, 1, person.number])?;
    book.execute(sql, params![id, 4, 2, person.mail])?;
    Ok(())
}

fn add_calls(specimen: &Specimen, calls: &Connection, generation: u32, count: usize, span: (i64, i64)) -> rusqlite::Result<()> {
    let mut noise = specimen.noise(&format!("calls {generation}"));
    let mut insert = calls.prepare(
        "INSERT INTO ZCALLRECORD (Z_ENT, Z_OPT, ZANSWERED, ZCALLTYPE, ZORIGINATED, ZREAD, ZDATE, ZDURATION, ZADDRESS, \
         ZISO_COUNTRY_CODE, ZSERVICE_PROVIDER, ZUNIQUE_ID) VALUES (2, 1, ?1, ?2, ?3, 1, ?4, ?5, ?6, 'us', ?7, ?8)",
    )?;
    for time in times(&mut noise, count, span) {
        let (video, answered, originated) = (noise.once_in(5), !noise.once_in(4), noise.once_in(2));
        let duration = if answered { noise.between(3, 1_800) } else { 0 };
        let (kind, provider) = if video { (8, "com.apple.FaceTime") } else { (1, "com.apple.Telephony") };
        let other = person(specimen.seed, noise.below(PEOPLE)).number;
        let at = (time - APPLE_EPOCH) as f64;
        insert.execute(params![answered, kind, originated, at, duration as f64, other, provider, noise.uuid()])?;
    }
    calls.execute("UPDATE Z_PRIMARYKEY SET Z_MAX = (SELECT max(Z_PK) FROM ZCALLRECORD)", [])?;
    Ok(())
}

/// So many moments between two, in order.
pub(crate) fn times(noise: &mut Noise, count: usize, span: (i64, i64)) -> Vec<i64> {
    let mut times: Vec<i64> = (0..count).map(|_| noise.between(span.0, span.1)).collect();
    times.sort_unstable();
    times
}
