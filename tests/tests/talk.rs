//! Messages, chats, contacts and calls, taken out of a backup as what people open, and compared with what was on the phone.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use jiff::tz::TimeZone;
use rusqlite::Connection;
use russet_apple_format::row::{file_id, file_id_text};
use russet_apple_format::well_known::{
    CALLS, CALLS_IOS7, CONTACT_IMAGES, CONTACTS, MESSAGES, WHATSAPP_CHATS, WHATSAPP_CONTACTS, WellKnown,
};
use russet_records::{ALL, Context, Outcome, State, write};
use russet_specimen::{Layout, Specimen};
use russet_store::MemoryStore;
use russet_tests::{back_up, create, listing};
use russet_vfs::View;
use russet_vfs::target::{Options, Target};
use serde_json::Value;
use tempfile::TempDir;

/// A phone whose backup is not encrypted, so that its files can be changed.
struct Phone {
    scratch: TempDir,
    folder: PathBuf,
}

/// What came out, and how it went.
struct Out {
    folder: PathBuf,
    outcome: Outcome,
}

impl Phone {
    fn new(layout: Layout) -> Phone {
        let scratch = tempfile::tempdir().unwrap();
        let specimen = Specimen { password: None, layout, ..Specimen::default() };
        let folder = specimen.write(scratch.path(), 1).unwrap().folder;
        Phone { scratch, folder }
    }

    /// Where the backup keeps a file.
    fn blob(&self, domain: &str, path: &str) -> PathBuf {
        let id = file_id_text(&file_id(domain, path));
        let flat = self.folder.join(&id);
        if flat.exists() { flat } else { self.folder.join(&id[..2]).join(id) }
    }

    fn database(&self, file: WellKnown) -> Connection {
        Connection::open(self.blob(file.domain, file.path)).unwrap()
    }

    /// Puts a file into the backup, and into its manifest.
    fn put(&self, domain: &str, path: &str, bytes: &[u8]) {
        let blob = self.blob(domain, path);
        fs::create_dir_all(blob.parent().unwrap()).unwrap();
        fs::write(&blob, bytes).unwrap();
        let sql = "INSERT OR REPLACE INTO Files SELECT ?1, ?2, ?3, 1, file FROM Files WHERE relativePath = 'Library/SMS/sms.db'";
        let manifest = Connection::open(self.folder.join("Manifest.db")).unwrap();
        manifest.execute(sql, [&file_id_text(&file_id(domain, path)), domain, path]).unwrap();
    }

    fn put_database(&self, file: WellKnown, sql: &str) {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(sql).unwrap();
        self.put(file.domain, file.path, &connection.serialize("main").unwrap());
        let _ = &mut connection;
    }

    /// Backs the phone up, and takes one kind out again.
    fn take(&self, kind: &str) -> Out {
        let repository = create(MemoryStore::default());
        let saved = back_up(&repository, &self.folder, "", 1).unwrap();
        let view = View::open(repository.reader().unwrap(), &saved.snapshot).unwrap();
        let to = self.scratch.path().join(format!("out-{kind}"));
        let target = Target::open(&to, Options::default()).unwrap();
        let kind = ALL.iter().find(|known| known.name == kind).unwrap();
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let mut outcomes = write(&Context::new(&view, &zone, &|_| ()), &[kind], &target).unwrap();
        let written = target.finish().unwrap();
        assert_eq!((written.renamed, written.skipped), (Vec::new(), Vec::new()), "names fit the disk as they are");
        Out { folder: to.join(kind.name), outcome: outcomes.remove(0) }
    }
}

impl Out {
    fn text(&self, path: &str) -> String {
        let names = || listing(&self.folder).into_keys().collect::<Vec<_>>();
        fs::read_to_string(self.folder.join(path)).unwrap_or_else(|error| panic!("{path}: {error}; there are {:?}", names()))
    }

    fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.text(path)).unwrap()
    }

    fn count(&self, noun: &str) -> u64 {
        assert_eq!(self.outcome.state, State::Written);
        self.outcome.counts.iter().find(|count| count.noun == noun).unwrap().number
    }

    #[track_caller]
    fn page_has(&self, path: &str, pieces: &[&str]) {
        let page = self.text(path);
        for piece in pieces {
            assert!(page.contains(piece), "{piece:?} is not in {path}");
        }
    }
}

/// The messages table with what newer systems add to it.
fn emptied_messages(phone: &Phone) -> Connection {
    let sms = phone.database(MESSAGES);
    sms.execute_batch(
        "PRAGMA foreign_keys = OFF; DELETE FROM message; DELETE FROM chat_message_join; DELETE FROM chat; DELETE FROM chat_handle_join; DELETE FROM handle;
         DELETE FROM attachment; DELETE FROM message_attachment_join;
         ALTER TABLE message ADD COLUMN message_summary_info BLOB; ALTER TABLE message ADD COLUMN other_handle INTEGER;
         ALTER TABLE message ADD COLUMN associated_message_emoji TEXT; ALTER TABLE message ADD COLUMN expressive_send_style_id TEXT;
         CREATE TABLE chat_recoverable_message_join (chat_id INTEGER, message_id INTEGER, delete_date INTEGER);
         INSERT INTO handle (ROWID, id, service) VALUES (1, '+15550100001', 'iMessage'), (2, 'ben@example.org', 'iMessage');
         INSERT INTO chat (ROWID, guid, style, chat_identifier, service_name, display_name)
            VALUES (1, 'iMessage;+;chat9', 43, 'chat9', 'iMessage', 'Harbour crew'), (2, 'iMessage;-;+15550100001', 45, '+15550100001', 'iMessage', NULL);
         INSERT INTO chat_handle_join VALUES (1, 1), (1, 2), (2, 1);",
    )
    .unwrap();
    sms
}

/// An archived string, as a phone makes it.
fn archive(text: &str) -> Vec<u8> {
    let mut stream = b"\x04\x0bstreamtyped\x81\xe8\x03\x84\x01@\x84\x84\x84\x12NSAttributedString\0\x84\x84\x08NSObject\0\x85\x92\x84\x84\x84\x08NSString\x01\x94\x84\x01+".to_vec();
    match u8::try_from(text.len()) {
        Ok(len @ ..0x80) => stream.push(len),
        _ => stream.extend([&[0x82][..], &u32::try_from(text.len()).unwrap().to_le_bytes()].concat()),
    }
    stream.extend(text.as_bytes());
    stream.extend(b"\x86\x84");
    stream
}

#[test]
fn every_conversation_comes_out_as_it_is_on_the_phone_however_it_counts_time() {
    for layout in [Layout::Database, Layout::Mbdb] {
        let phone = Phone::new(layout);
        let per_second = if layout == Layout::Mbdb { 1 } else { 1_000_000_000 };
        let mut truth: BTreeMap<String, Vec<(String, i64, bool)>> = BTreeMap::new();
        let sms = phone.database(MESSAGES);
        let mut statement = sms
            .prepare(
                "SELECT c.chat_identifier, m.text, m.date, m.is_from_me FROM message m JOIN chat_message_join j ON j.message_id = m.ROWID \
                 JOIN chat c ON c.ROWID = j.chat_id ORDER BY m.date, m.ROWID",
            )
            .unwrap();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let message = (row.get(1).unwrap(), row.get::<_, i64>(2).unwrap() / per_second + 978_307_200, row.get(3).unwrap());
            truth.entry(row.get(0).unwrap()).or_default().push(message);
        }
        let out = phone.take("messages");
        let list = out.json("conversations.json");
        let mut found = BTreeMap::new();
        for listed in list["conversations"].as_array().unwrap() {
            let conversation = out.json(listed["json"].as_str().unwrap());
            assert!(conversation["people"][0]["name"].is_string(), "the address book knows everybody: {listed}");
            let messages = conversation["messages"].as_array().unwrap().iter().map(|message| {
                let date: jiff::Timestamp = message["date"].as_str().unwrap().parse().unwrap();
                (message["text"].as_str().unwrap().to_owned(), date.as_second(), message["from"] == "me")
            });
            found.insert(conversation["people"][0]["address"].as_str().unwrap().to_owned(), messages.collect::<Vec<_>>());
        }
        assert_eq!(found, truth, "{layout:?}");
        assert_eq!(out.count("message"), truth.values().map(|messages| messages.len() as u64).sum::<u64>());
        assert_eq!(out.count("attachment"), 2);
        let mail = out.text(list["conversations"][0]["mail"].as_str().unwrap());
        assert_eq!(mail.matches("\nMIME-Version: 1.0\n").count() as u64, list["conversations"][0]["messages"].as_u64().unwrap());
    }
}

#[test]
fn a_group_shows_who_said_what_and_what_became_of_it() {
    let phone = Phone::new(Layout::Database);
    let sms = emptied_messages(&phone);
    let insert = |row: i64, columns: &str, values: &str| {
        sms.execute_batch(&format!(
            "INSERT INTO message (ROWID, guid, date, service, {columns}) VALUES ({row}, 'G{row}', {}, 'iMessage', {values})",
            789_642_000_000_000_000 + row * 60_000_000_000
        ))
        .unwrap();
    };
    insert(1, "text, handle_id", "'Who brings the map?', 1");
    insert(2, "attributedBody, is_from_me", "NULL, 1");
    insert(3, "text, handle_id, thread_originator_guid", "'I do', 2, 'G1'");
    insert(4, "handle_id, associated_message_guid, associated_message_type", "1, 'p:0/G3', 2000");
    insert(5, "is_from_me, associated_message_guid, associated_message_type", "1, 'p:0/G3', 2001");
    insert(6, "is_from_me, associated_message_guid, associated_message_type", "1, 'p:0/G3', 3001");
    insert(7, "handle_id, associated_message_guid, associated_message_type, associated_message_emoji", "2, 'bp:G1', 2006, '🦀'");
    insert(8, "handle_id, item_type, group_action_type, other_handle", "1, 1, 0, 2");
    insert(9, "is_from_me, item_type, group_title", "1, 2, 'Harbour crew'");
    insert(10, "text, handle_id", "'\u{fffc}', 2");
    insert(11, "handle_id, date_retracted", "2, 789642700000000000");
    insert(12, "text, is_from_me, date_edited", "'at nine', 1, 789642800000000000");
    insert(13, "text, handle_id, expressive_send_style_id", "'gone soon', 1, 'com.apple.messages.effect.CKConfettiEffect'");
    insert(14, "text, handle_id", "'of a chat that is gone', 2");
    sms.execute("UPDATE message SET attributedBody = ?1 WHERE ROWID = 2", [archive("Not me, I am in the boat")]).unwrap();
    let summary = {
        let version = |date: f64, text: &str| {
            plist::Value::Dictionary(
                [("d".to_owned(), plist::Value::Real(date)), ("t".to_owned(), plist::Value::Data(archive(text)))]
                    .into_iter()
                    .collect(),
            )
        };
        let parts = plist::Value::Array(vec![version(789_642_720.0, "at eight"), version(789_642_800.0, "at nine")]);
        let parts = plist::Value::Dictionary([("0".to_owned(), parts)].into_iter().collect());
        let mut bytes = Vec::new();
        plist::Value::Dictionary([("ec".to_owned(), parts)].into_iter().collect()).to_writer_binary(&mut bytes).unwrap();
        bytes
    };
    sms.execute("UPDATE message SET message_summary_info = ?1 WHERE ROWID = 12", [summary]).unwrap();
    sms.execute_batch(
        "INSERT INTO chat_message_join SELECT 1, ROWID, date FROM message WHERE ROWID < 13;
         INSERT INTO chat_recoverable_message_join VALUES (1, 13, 0);
         INSERT INTO attachment (ROWID, guid, filename, mime_type, transfer_name) VALUES
            (1, 'A1', '~/Library/SMS/Attachments/aa/00/x/map.png', 'image/png', 'map.png'),
            (2, 'A2', '~/Library/SMS/Attachments/aa/01/x/song.m4a', NULL, 'song.m4a'),
            (3, 'A3', '/var/mobile/Library/SMS/Attachments/aa/02/x/evil.html', 'text/html', '../evil.html'),
            (4, 'A4', '~/Library/SMS/Attachments/aa/03/x/p.pluginPayloadAttachment', NULL, 'p');
         INSERT INTO message_attachment_join VALUES (10, 1), (10, 2), (10, 3), (10, 4);",
    )
    .unwrap();
    phone.put("MediaDomain", "Library/SMS/Attachments/aa/00/x/map.png", b"a picture");
    phone.put("MediaDomain", "Library/SMS/Attachments/aa/02/x/evil.html", b"<script>");
    let book = phone.database(CONTACTS);
    book.execute_batch(
        "DELETE FROM ABPerson; DELETE FROM ABMultiValue; INSERT INTO ABPerson (ROWID, First, Last) VALUES (1, 'Ada', 'Byron'), (2, 'Ben', NULL);
         INSERT INTO ABMultiValue (record_id, property, value) VALUES (1, 3, '(555) 010-0001'), (2, 4, 'Ben@Example.org');",
    )
    .unwrap();

    let out = phone.take("messages");
    let conversation = out.json("json/Harbour crew.json");
    assert_eq!(conversation["group"], true);
    let messages = conversation["messages"].as_array().unwrap();
    let texts: Vec<_> = messages.iter().map(|m| m["text"].as_str().or(m["event"].as_str()).unwrap_or("-")).collect();
    assert_eq!(
        texts,
        [
            "Who brings the map?",
            "Not me, I am in the boat",
            "I do",
            "Ada Byron added Ben to the conversation",
            "Me named the conversation “Harbour crew”",
            "-",
            "-",
            "at nine",
            "gone soon"
        ]
    );
    let names: Vec<_> = messages.iter().map(|m| m["name"].as_str().unwrap()).collect();
    assert_eq!(names[..3], ["Ada Byron", "Me", "Ben"]);
    assert_eq!(messages[0]["reactions"], serde_json::json!([{ "from": "ben@example.org", "sign": "🦀" }]));
    assert_eq!(messages[2]["reactions"], serde_json::json!([{ "from": "+15550100001", "sign": "❤️" }]));
    assert_eq!(messages[2]["reply_to"], "G1");
    assert_eq!((&messages[6]["retracted"], &messages[7]["edited"]), (&Value::Bool(true), &Value::Bool(true)));
    assert_eq!(messages[7]["earlier"], serde_json::json!([{ "date": "2026-01-09T09:12:00Z", "text": "at eight" }]));
    assert_eq!(messages[8]["recently_deleted"], true);
    assert_eq!(messages[8]["notes"][0], "sent with the effect confetti");
    assert_eq!(messages[0]["date"], "2026-01-09T09:01:00Z");
    let files: Vec<_> = messages[5]["attachments"].as_array().unwrap().iter().map(|a| a["file"].as_str()).collect();
    assert_eq!(files, [Some("attachments/0001/map.png"), None, Some("attachments/0001/evil.html.txt")]);
    assert_eq!(out.text("attachments/0001/map.png"), "a picture");
    assert_eq!(out.outcome.missing.len(), 1);
    assert!(out.outcome.missing[0].starts_with("Library/SMS/Attachments/aa/01/x/song.m4a"));
    assert_eq!((out.count("conversation"), out.count("message"), out.count("attachment")), (2, 8, 2));
    out.page_has(
        "Harbour crew.html",
        &[
            "<h1><bdi>Harbour crew</bdi></h1>",
            "with Ada Byron, Ben",
            "src=\"./attachments/0001/map.png\"",
            "song.m4a</bdi> is not in the backup",
            "<blockquote><a href=\"./Harbour%20crew.html#m0\"><bdi>Ada Byron</bdi></a>: <bdi>Who brings the map?</bdi></blockquote>",
            "<bdi>🦀</bdi> <bdi>Ben</bdi>",
            "This message was taken back",
            "recently deleted",
            "datetime=\"2026-01-09T09:01:00Z\">10:01</time>",
        ],
    );
    out.page_has("Messages of no conversation.html", &["of a chat that is gone"]);
    out.page_has("index.html", &["2 conversations", "./Harbour%20crew.html"]);
}

#[test]
fn hostile_words_stay_words_and_a_long_conversation_is_divided_by_years() {
    let phone = Phone::new(Layout::Database);
    let sms = emptied_messages(&phone);
    let hostile = "<script>alert(1)</script>\n\u{1b}[2J\"'><img src=x onerror=alert(2)>\u{202e}";
    let large = "<b>&".repeat(256 << 10);
    sms.execute("UPDATE chat SET display_name = '../../<script>' || char(10) || 'x' WHERE ROWID = 1", []).unwrap();
    let mut insert = sms.prepare("INSERT INTO message (guid, text, handle_id, date) VALUES (?1, ?2, 1, ?3)").unwrap();
    for number in 0..2_500_i64 {
        let text = match number {
            0 => hostile,
            1 => &large,
            _ => "hello",
        };
        insert.execute((format!("<{number}>"), text, 700_000_000 + number * 20_000)).unwrap();
    }
    sms.execute("INSERT INTO chat_message_join SELECT 1, ROWID, date FROM message", []).unwrap();
    let out = phone.take("messages");
    let files = listing(&phone.scratch.path().join("out-messages"));
    for (path, content) in &files {
        if path.extension().is_some_and(|extension| extension == "html") {
            let page = String::from_utf8(content.clone()).unwrap();
            assert!(
                !page.contains("<script") && !page.contains("<img") && !page.contains('\u{1b}') && !page.contains("<b>"),
                "{path:?}"
            );
        }
    }
    let first = out.text("script x - 2023.html");
    assert!(first.contains("&lt;script&gt;alert(1)") && first.contains("script x - 2024.html".replace(' ', "%20").as_str()));
    assert!(first.len() > large.len());
    out.page_has("script x.html", &["2023", "2024", " messages"]);
    let json = out.json("json/script x.json");
    assert_eq!(json["messages"][0]["text"], hostile);
    assert_eq!(json["messages"].as_array().unwrap().len(), 2_500);
}

#[test]
fn a_schema_that_nobody_knows_is_said_and_the_database_is_given() {
    let phone = Phone::new(Layout::Database);
    phone.database(MESSAGES).execute_batch("ALTER TABLE message RENAME TO sentence").unwrap();
    let out = phone.take("messages");
    let State::Unknown(why) = &out.outcome.state else { panic!("{:?}", out.outcome) };
    assert_eq!(why, "Messages is of a form that is not known: it has no message");
    let raw = fs::read(out.folder.join("raw/sms.db")).unwrap();
    assert_eq!(raw, fs::read(phone.blob(MESSAGES.domain, MESSAGES.path)).unwrap());
    assert_eq!(phone.take("whatsapp").outcome.state, State::Absent);
}

#[test]
fn contacts_come_out_with_their_labels_addresses_and_pictures() {
    let phone = Phone::new(Layout::Database);
    phone
        .database(CONTACTS)
        .execute_batch(
            "DELETE FROM ABPerson; DELETE FROM ABMultiValue;
             CREATE TABLE ABMultiValueEntry (parent_id INTEGER, key INTEGER, value TEXT); CREATE TABLE ABMultiValueEntryKey (value TEXT);
             CREATE TABLE ABGroup (ROWID INTEGER PRIMARY KEY, Name TEXT); CREATE TABLE ABGroupMembers (UID INTEGER PRIMARY KEY, group_id INTEGER, member_id INTEGER);
             INSERT INTO ABPerson (ROWID, First, Last, Birthday, Note) VALUES (7, 'Zoë', 'Quay', '-207316800.0', '=1+1'), (8, NULL, NULL, NULL, NULL);
             INSERT INTO ABMultiValueEntryKey (ROWID, value) VALUES (1, 'Street'), (2, 'City'), (3, 'service'), (4, 'username');
             INSERT INTO ABMultiValue (UID, record_id, property, label, value) VALUES (1, 7, 3, 1, '+1 555'), (2, 7, 5, 2, NULL), (3, 7, 13, NULL, NULL), (4, 99, 3, 1, 'nobody');
             INSERT INTO ABMultiValueEntry VALUES (2, 1, '1 Mill Lane'), (2, 2, 'Port'), (3, 3, 'Jabber'), (3, 4, 'zoe');
             INSERT INTO ABGroup VALUES (1, 'Crew'); INSERT INTO ABGroupMembers VALUES (1, 1, 7);",
        )
        .unwrap();
    phone.put_database(
        CONTACT_IMAGES,
        "CREATE TABLE ABFullSizeImage (ROWID INTEGER PRIMARY KEY, record_id INTEGER, data BLOB);
         INSERT INTO ABFullSizeImage VALUES (1, 7, x'ffd8ffe0'), (2, 8, x'00010203');",
    );
    let out = phone.take("contacts");
    assert_eq!((out.count("contact"), out.count("picture")), (2, 1));
    let cards = out.text("contacts.vcf");
    for line in [
        "FN:Zoë Quay",
        "TEL;TYPE=CELL:+1 555",
        "ADR;TYPE=HOME:;;1 Mill Lane;Port;;;",
        "BDAY:1994-06-07",
        "CATEGORIES:Crew",
        "PHOTO;ENCODING=b;TYPE=JPEG:/9j/4A==",
    ] {
        assert!(cards.contains(&format!("\r\n{line}\r\n")), "{line}");
    }
    assert_eq!(cards.matches("BEGIN:VCARD").count(), 2);
    assert!(out.text("contacts.csv").contains("'=1+1"));
    let json = out.json("contacts.json");
    assert_eq!(json["contacts"][1]["addresses"][0]["street"], "1 Mill Lane");
    assert_eq!(json["contacts"][1]["messengers"][0]["name"], "zoe");
    assert_eq!(fs::read(out.folder.join("pictures/Zoë Quay.jpeg")).unwrap(), [0xff, 0xd8, 0xff, 0xe0]);
    out.page_has("index.html", &["pictures/Zo%C3%AB%20Quay.jpeg", "1 Mill Lane\nPort", "no name"]);
}

#[test]
fn calls_of_either_schema_are_listed_with_names() {
    let phone = Phone::new(Layout::Database);
    phone
        .database(CONTACTS)
        .execute_batch("UPDATE ABMultiValue SET value = '0555 010 0001' WHERE record_id = 1 AND property = 3")
        .unwrap();
    phone
        .database(CALLS)
        .execute_batch(
            "DELETE FROM ZCALLRECORD;
             INSERT INTO ZCALLRECORD (ZDATE, ZDURATION, ZADDRESS, ZANSWERED, ZORIGINATED, ZCALLTYPE, ZSERVICE_PROVIDER, ZNAME) VALUES
                (789642000.5, 62.7, CAST('+15550100001' AS BLOB), 1, 1, 1, 'com.apple.Telephony', NULL),
                (789642100, 0, 'ben@example.org', 0, 0, 8, 'com.apple.FaceTime', 'Ben'),
                (789642200, 5, NULL, 1, 0, 0, 'net.example.voice', NULL);",
        )
        .unwrap();
    phone.put_database(
        CALLS_IOS7,
        "CREATE TABLE call (ROWID INTEGER PRIMARY KEY, address TEXT, date INTEGER, duration INTEGER, flags INTEGER);
         INSERT INTO call VALUES (1, '555', 1300000000, 9, 5), (2, '556', 1300000001, 0, 4);",
    );
    let out = phone.take("calls");
    assert_eq!(out.count("call"), 5);
    let csv = out.text("calls.csv");
    let lines: Vec<&str> = csv.lines().skip(1).collect();
    assert_eq!(lines[0], "2026-01-09 10:03:20,incoming,,withheld,net.example.voice,0:05,5,");
    assert_eq!(lines[1], "2026-01-09 10:01:40,missed,Ben,ben@example.org,FaceTime video,,0,");
    assert!(lines[2].starts_with("2026-01-09 10:00:00,outgoing,") && lines[2].ends_with(",+15550100001,Phone,1:02,63,"));
    assert_ne!(out.json("calls.json")["calls"][2]["name"], Value::Null);
    assert_eq!(lines[4], "2011-03-13 08:06:40,outgoing,,555,Phone,0:09,9,");
    out.page_has("index.html", &["<bdi>FaceTime video</bdi>", "5 calls"]);
}

#[test]
fn whatsapp_chats_are_conversations_too() {
    let phone = Phone::new(Layout::Database);
    phone.put_database(
        WHATSAPP_CHATS,
        "CREATE TABLE ZWACHATSESSION (Z_PK INTEGER PRIMARY KEY, ZSESSIONTYPE INTEGER, ZGROUPINFO INTEGER, ZCONTACTJID VARCHAR, ZPARTNERNAME VARCHAR);
         CREATE TABLE ZWAGROUPMEMBER (Z_PK INTEGER PRIMARY KEY, ZCHATSESSION INTEGER, ZMEMBERJID VARCHAR, ZCONTACTNAME VARCHAR);
         CREATE TABLE ZWAPROFILEPUSHNAME (Z_PK INTEGER PRIMARY KEY, ZJID VARCHAR, ZPUSHNAME VARCHAR);
         CREATE TABLE ZWAMESSAGE (Z_PK INTEGER PRIMARY KEY, ZCHATSESSION INTEGER, ZGROUPMEMBER INTEGER, ZMEDIAITEM INTEGER, ZMESSAGEINFO INTEGER,
            ZISFROMME INTEGER, ZMESSAGETYPE INTEGER, ZMESSAGEDATE TIMESTAMP, ZSTANZAID VARCHAR, ZFROMJID VARCHAR, ZTEXT VARCHAR, ZPARENTMESSAGE INTEGER);
         CREATE TABLE ZWAMEDIAITEM (Z_PK INTEGER PRIMARY KEY, ZMESSAGE INTEGER, ZTITLE VARCHAR, ZMEDIALOCALPATH VARCHAR, ZMETADATA BLOB, ZLATITUDE FLOAT, ZLONGITUDE FLOAT);
         CREATE TABLE ZWAMESSAGEINFO (Z_PK INTEGER PRIMARY KEY, ZMESSAGE INTEGER, ZRECEIPTINFO BLOB);
         INSERT INTO ZWACHATSESSION VALUES (1, 1, 1, '1-2@g.us', 'Crew'), (2, 0, NULL, '15550100001@s.whatsapp.net', 'Ada B.');
         INSERT INTO ZWAGROUPMEMBER VALUES (1, 1, '15550100009@s.whatsapp.net', ''), (2, 1, '77@lid', 'Lido');
         INSERT INTO ZWAPROFILEPUSHNAME VALUES (1, '15550100009@s.whatsapp.net', 'push name');
         INSERT INTO ZWAMESSAGE VALUES
            (1, 1, 1, NULL, NULL, 0, 0, 789642000, 'S1', '1-2@g.us', 'ahoy', NULL),
            (2, 1, 2, 1, NULL, 0, 1, 789642060, 'S2', '1-2@g.us', NULL, NULL),
            (3, 1, NULL, 2, 1, 1, 0, 789642120, 'S3', NULL, 'aye', NULL),
            (4, 1, 1, NULL, NULL, 0, 6, 789642180, 'S4', '1-2@g.us', 'New name', NULL),
            (5, 1, 1, NULL, NULL, 0, 14, 789642240, 'S5', '1-2@g.us', NULL, NULL),
            (6, 2, NULL, 3, NULL, 0, 5, 789642300, 'S6', '15550100001@s.whatsapp.net', NULL, NULL),
            (7, 2, NULL, 4, NULL, 0, 3, 789642360, 'S7', '15550100001@s.whatsapp.net', NULL, NULL),
            (8, 2, NULL, NULL, NULL, 1, 0, 789642420, 'S8', NULL, 'answer', 6);
         INSERT INTO ZWAMEDIAITEM VALUES (1, 2, 'the quay', 'Media/1-2@g.us/a/quay.jpg', NULL, 0, 0), (2, 3, NULL, NULL, x'2a025331', NULL, NULL),
            (3, 6, NULL, NULL, NULL, 48.85, 2.35), (4, 7, NULL, 'Media/x/gone.opus', NULL, NULL, NULL);
         INSERT INTO ZWAMESSAGEINFO VALUES (1, 3, x'3a100a0e12063737406c69641a04f09fa680');",
    );
    phone.put_database(
        WHATSAPP_CONTACTS,
        "CREATE TABLE ZWAADDRESSBOOKCONTACT (Z_PK INTEGER PRIMARY KEY, ZFULLNAME VARCHAR, ZWHATSAPPID VARCHAR);
         INSERT INTO ZWAADDRESSBOOKCONTACT VALUES (1, 'Nina Nine', '15550100009@s.whatsapp.net');",
    );
    phone.put(WHATSAPP_CHATS.domain, "Message/Media/1-2@g.us/a/quay.jpg", b"a quay");
    let out = phone.take("whatsapp");
    let crew = out.json("json/Crew.json");
    let messages = crew["messages"].as_array().unwrap();
    let names: Vec<_> = messages.iter().map(|message| message["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["Nina Nine", "Lido", "Me", "Nina Nine", "Nina Nine"]);
    assert_eq!(messages[1]["text"], "the quay");
    assert_eq!(messages[2]["reply_to"], "S1");
    assert_eq!(messages[2]["reactions"], serde_json::json!([{ "from": "77@lid", "sign": "🦀" }]));
    assert_eq!(messages[3]["event"], "Nina Nine: something about the group changed: New name");
    assert_eq!(messages[4]["retracted"], true);
    assert_eq!(out.text(messages[1]["attachments"][0]["file"].as_str().unwrap()), "a quay");
    let ada = out.json("json/Ada B.json");
    assert_eq!(ada["messages"][0]["notes"][0], "place: 48.85000, 2.35000");
    assert_eq!(ada["messages"][2]["reply_to"], "S6");
    assert_eq!(out.outcome.missing.len(), 1);
    assert_eq!((out.count("conversation"), out.count("message"), out.count("attachment")), (2, 7, 1));
    out.page_has("index.html", &["WhatsApp", "Crew"]);
}
