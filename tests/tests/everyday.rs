//! Photos, notes, Safari, calendars and voicemail, taken out of a backup as what people open, and compared with what was on the phone.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use russet_records::{ALL, Context, Outcome, State, write};
use russet_specimen::{Specimen, Written};
use russet_store::MemoryStore;
use russet_tests::{back_up, create, listing};
use russet_vfs::View;
use russet_vfs::target::{Options, Target};
use serde_json::Value;
use tempfile::TempDir;

/// A phone whose backup is not encrypted, so that its files can be replaced by others.
struct Phone {
    written: Written,
    _scratch: TempDir,
}

/// What came out, and how it went.
struct Out {
    folder: PathBuf,
    outcome: Outcome,
    _scratch: TempDir,
}

impl Phone {
    fn new() -> Phone {
        let scratch = tempfile::tempdir().unwrap();
        let written = Specimen { password: None, ..Specimen::default() }.write(scratch.path(), 1).unwrap();
        Phone { written, _scratch: scratch }
    }

    /// Where the backup keeps a file of the phone.
    fn blob(&self, domain: &str, path: &str) -> PathBuf {
        let truth = self.written.truth.iter().find(|truth| truth.domain == domain && truth.path == path);
        let id = &truth.unwrap_or_else(|| panic!("the specimen has no {domain} {path}")).file_id;
        self.written.folder.join(&id[..2]).join(id)
    }

    /// Changes a database of the phone.
    fn change(&self, domain: &str, path: &str, sql: &str) {
        rusqlite::Connection::open(self.blob(domain, path)).unwrap().execute_batch(sql).unwrap();
    }

    fn take(&self, kind: &str) -> Out {
        let repository = create(MemoryStore::default());
        let saved = back_up(&repository, &self.written.folder, "", 1).unwrap();
        let view = View::open(repository.reader().unwrap(), &saved.snapshot).unwrap();
        let scratch = tempfile::tempdir().unwrap();
        let target = Target::open(scratch.path(), Options::default()).unwrap();
        let kind = ALL.iter().find(|known| known.name == kind).unwrap();
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let mut outcomes = write(&Context::new(&view, &zone, &|_| ()), &[kind], &target).unwrap();
        let written = target.finish().unwrap();
        assert_eq!((written.renamed, written.skipped), (Vec::new(), Vec::new()), "names fit the disk as they are");
        Out { folder: scratch.path().join(kind.name), outcome: outcomes.remove(0), _scratch: scratch }
    }
}

impl Out {
    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.folder.join(path)).unwrap_or_else(|error| panic!("{path}: {error}; there are {:?}", self.names()))
    }

    fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.text(path)).unwrap()
    }

    /// Every file, by its path.
    fn names(&self) -> BTreeSet<String> {
        let shown = |path: &PathBuf| path.to_string_lossy().into_owned();
        listing(&self.folder).iter().filter(|(_, content)| &content[..] != b"folder").map(|(path, _)| shown(path)).collect()
    }

    fn count(&self, noun: &str) -> u64 {
        self.outcome
            .counts
            .iter()
            .find(|count| count.noun == noun)
            .unwrap_or_else(|| panic!("no {noun}: {:?}", self.outcome))
            .number
    }

    /// Each link of each page leads to a file that is there.
    fn links_are_whole(&self) {
        let mut links = 0;
        for page in self.names().iter().filter(|name| name.ends_with(".html") && *name != "bookmarks.html") {
            let text = self.text(page);
            let attributes = ["href=\"./", "src=\"./"];
            for link in attributes.iter().flat_map(|attribute| text.split(attribute).skip(1)) {
                let link = link.split('"').next().unwrap();
                let decoded = percent_decoded(link);
                let path = self.folder.join(Path::new(page).parent().unwrap()).join(&decoded);
                assert!(path.exists(), "{page} leads to {decoded}");
                links += 1;
            }
        }
        assert!(links > 0);
    }
}

fn percent_decoded(link: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = link.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first == b'%' {
            bytes.push(u8::from_str_radix(std::str::from_utf8(&after[..2]).unwrap(), 16).unwrap());
            rest = &after[2..];
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn photos_come_out_by_month_with_their_dates_pairs_edits_and_albums() {
    let phone = Phone::new();
    let out = phone.take("photos");
    assert_eq!(out.outcome.state, State::Written);
    assert_eq!((out.count("photo"), out.count("video"), out.count("edited version"), out.count("album")), (24, 0, 1, 2));
    assert_eq!(out.outcome.missing, ["Media/DCIM/100APPLE/IMG_9001.MOV"]);
    out.links_are_whole();
    let photos = out.json("photos.json");
    let photos = photos["photos"].as_array().unwrap();
    let of = |phone_name: &str| {
        let is_it = |photo: &&Value| photo["phone_path"].as_str().unwrap().ends_with(phone_name);
        photos.iter().find(is_it).unwrap_or_else(|| panic!("{phone_name} is not listed"))
    };
    let files = |phone_name: &str| -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        of(phone_name)["files"].as_array().unwrap().iter().map(|file| (text(&file["role"]), text(&file["path"]))).collect()
    };
    for photo in photos.iter().filter(|photo| photo["phone_path"] != "Media/DCIM/100APPLE/IMG_9001.MOV") {
        let phone_path = photo["phone_path"].as_str().unwrap();
        let original = &photo["files"][0]["path"].as_str().unwrap();
        let written = out.folder.join(original);
        assert_eq!(fs::read(&written).unwrap(), fs::read(phone.blob("CameraRollDomain", phone_path)).unwrap(), "{phone_path}");
        let taken: jiff::Timestamp = photo["taken"].as_str().unwrap().parse().unwrap();
        assert_eq!(written.metadata().unwrap().mtime(), taken.as_second(), "{original}");
        // The specimen's clock is an hour ahead of UTC.
        let month = jiff::tz::offset(1).to_datetime(taken).strftime("%Y/%Y-%m").to_string();
        assert!(original.contains(&month), "{original} was taken in {month}");
    }
    let live: Vec<(String, String)> = files("IMG_0014.JPG");
    assert_eq!(live.len(), 2);
    assert_eq!(live[0].1.strip_suffix(".JPG"), live[1].1.strip_suffix(".MOV"), "a pair stays together");
    let edited = files("IMG_0015.JPG");
    assert_eq!((&*edited[1].0, edited[1].1.ends_with("/IMG_0015 (edited).jpg")), ("edited", true), "{edited:?}");
    assert!(files("IMG_0012.JPG")[0].1.starts_with("Hidden/") && files("IMG_0013.JPG")[0].1.starts_with("Recently Deleted/"));
    let same = [files("IMG_0016.JPG")[0].1.clone(), files("IMG_0017.JPG")[0].1.clone()];
    assert!(same[0].ends_with("/Sunset.JPG") && same[1].ends_with("/sunset 2.JPG"), "{same:?}");

    let album = out.folder.join("Albums/Trips/Summer 2025");
    let mut names: Vec<String> =
        fs::read_dir(&album).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["IMG_0014.JPG", "IMG_0014.MOV", "IMG_0015 (edited).jpg", "IMG_0015.JPG", "Sunset.JPG"]);
    let inode = |path: PathBuf| path.metadata().unwrap().ino();
    assert_eq!(inode(album.join("IMG_0014.JPG")), inode(out.folder.join(&live[0].1)), "an album takes no room");
    assert!(out.text("not-in-backup.csv").contains("IMG_9001.MOV"));
}

#[test]
fn without_a_library_that_is_known_photos_come_out_as_they_lie() {
    let phone = Phone::new();
    phone.change("CameraRollDomain", "Media/PhotoData/Photos.sqlite", "ALTER TABLE ZASSET RENAME TO ZPICTURE");
    let unknown = phone.take("photos");
    fs::remove_file(phone.blob("CameraRollDomain", "Media/PhotoData/Photos.sqlite")).unwrap();
    let absent = phone.take("photos");
    for (out, word, raw) in [(unknown, "no ZASSET", true), (absent, "not in the backup", false)] {
        assert!(out.outcome.remarks[0].contains(word), "{:?}", out.outcome.remarks);
        assert_eq!((out.count("unlisted file"), out.count("photo")), (26, 0), "24 pictures, a film and the outcome of edits");
        let names = out.names();
        assert!(names.contains("DCIM/100APPLE/IMG_0001.JPG") && names.contains("DCIM/100APPLE/IMG_0014.MOV"), "{names:?}");
        assert_eq!(names.contains("raw/Photos.sqlite"), raw);
    }
}

#[test]
fn notes_come_out_in_their_folders_with_what_is_in_them() {
    let out = Phone::new().take("notes");
    assert_eq!((out.count("note"), out.count("folder"), out.count("attachment")), (4, 3, 1));
    assert!(out.outcome.remarks[0].ends_with("only their titles are given: 1"), "{:?}", out.outcome.remarks);
    out.links_are_whole();
    let shopping = "# Shopping\n\n- [x] Milk 🥛\n- [ ] Bread\n\n## Where\n\n**At the market**, [opening hours](<https://market.example.org/hours>)\n";
    assert_eq!(out.text("Notes/Shopping.md"), shopping);
    let harbour = "# Harbour plan\n\n1. First the lighthouse\n2. Then the pier\n\n![harbour.jpg](<Harbour plan files/harbour.jpg>)\n\n\
         | Ferry | Time |\n| --- | --- |\n| Island | 9:40 |\n\n\\#harbour\n";
    assert_eq!(out.text("Notes/Trips/Harbour plan.md"), harbour);
    let page = out.text("Notes/Trips/Harbour plan.html");
    assert!(page.contains("<ol>\n<li>First the lighthouse</li>\n<li>Then the pier</li>\n</ol>"), "{page}");
    assert!(
        page.contains("src=\"./Harbour%20plan%20files/harbour.jpg\"") && page.contains("<td>Island</td><td>9:40</td>"),
        "{page}"
    );
    assert!(out.text("Notes/Secret.html").contains("This note is locked"));
    assert!(out.names().contains("Recently Deleted/Old idea.md"));
    let json = out.json("notes.json");
    let locked: Vec<bool> = json["notes"].as_array().unwrap().iter().map(|note| note["locked"].as_bool().unwrap()).collect();
    assert_eq!(locked.iter().filter(|locked| **locked).count(), 1);
}

#[test]
fn a_note_that_is_damaged_is_said_and_keeps_no_other_from_coming_out() {
    let phone = Phone::new();
    let notes = ("AppDomainGroup-group.com.apple.notes", "NoteStore.sqlite");
    phone.change(notes.0, notes.1, "UPDATE ZICNOTEDATA SET ZDATA = substr(ZDATA, 1, 40) WHERE ZNOTE = 5; UPDATE ZICNOTEDATA SET ZDATA = x'1f8b' WHERE ZNOTE = 8;
        UPDATE ZICCLOUDSYNCINGOBJECT SET ZTITLE1 = '../../<b>\"x' WHERE Z_PK = 6; UPDATE ZICCLOUDSYNCINGOBJECT SET ZPARENT = 3 WHERE Z_PK = 2;");
    fs::remove_file(phone.blob(notes.0, &media(&phone))).unwrap();
    let out = phone.take("notes");
    assert_eq!((out.outcome.failed.len(), out.outcome.missing.len()), (2, 1), "{:?}", out.outcome);
    assert_eq!(out.count("note"), 4);
    assert!(out.names().iter().any(|name| name.ends_with("/b x.html")), "{:?}", out.names());
    phone.change(notes.0, notes.1, "ALTER TABLE ZICNOTEDATA RENAME COLUMN ZDATA TO ZBLOB");
    let out = phone.take("notes");
    assert!(matches!(&out.outcome.state, State::Unknown(why) if why.ends_with("no ZICNOTEDATA.ZDATA")), "{:?}", out.outcome);
    assert!(out.names().contains("raw/NoteStore.sqlite"));
}

fn media(phone: &Phone) -> String {
    phone.written.truth.iter().find(|truth| truth.path.ends_with("harbour.jpg")).unwrap().path.clone()
}

#[test]
fn calendars_come_out_as_files_that_others_import() {
    let out = Phone::new().take("calendar");
    assert_eq!((out.count("calendar"), out.count("event")), (2, 6));
    out.links_are_whole();
    let work = out.text("Work.ics").replace("\r\n ", "").replace("\r\n", "\n");
    let event = |summary: &str| {
        let events: Vec<&str> =
            work.split("BEGIN:VEVENT\n").skip(1).map(|event| event.split("END:VEVENT").next().unwrap()).collect();
        let found = events.iter().find(|event| event.contains(&format!("SUMMARY:{summary}\n")));
        found.unwrap_or_else(|| panic!("no {summary} in {work}")).to_string()
    };
    let has = |event: &str, lines: &[&str]| {
        lines.iter().for_each(|line| assert!(event.lines().any(|l| l == *line), "{line} is not in {event}"))
    };
    has(
        &event("Stand-up"),
        &[
            "UID:series-1",
            "DTSTART;TZID=Europe/Paris:20260105T090000",
            "DTEND;TZID=Europe/Paris:20260105T091500",
            "RRULE:FREQ=WEEKLY;UNTIL=20260316T080000Z;BYDAY=MO;WKST=MO",
            "EXDATE;TZID=Europe/Paris:20260112T090000",
        ],
    );
    has(
        &event("Stand-up\\, later"),
        &["UID:series-1", "RECURRENCE-ID;TZID=Europe/Paris:20260119T090000", "DTSTART;TZID=Europe/Paris:20260119T100000"],
    );
    has(
        &event("Review\\; second part"),
        &[
            "DTSTART;TZID=America/New_York:20260106T090000",
            "LOCATION:The old mill\\, 7 Mill Lane",
            "GEO:48.85;2.35",
            "URL:https://mill.example.org/meet",
            "ORGANIZER;CN=\"Robin\":mailto:robin@example.org",
            "TRIGGER:-PT15M",
        ],
    );
    assert!(event("Review\\; second part").contains("ATTENDEE;ROLE=REQ-PARTICIPANT;PARTSTAT=DECLINED:mailto:"));
    for zone in ["Europe/Paris", "America/New_York"] {
        assert_eq!(work.matches(&format!("TZID:{zone}\n")).count(), 1, "each zone is described once");
    }
    let home = out.text("Home.ics");
    for line in [
        "DTSTART;VALUE=DATE:20260725",
        "DTEND;VALUE=DATE:20260728",
        "DESCRIPTION:Bring:\\n- the map\\n- an umbrella",
        "STATUS:CANCELLED",
        "RRULE:FREQ=YEARLY;BYMONTH=1;BYMONTHDAY=16;WKST=MO",
        "TRIGGER:PT9H",
    ] {
        assert!(home.split("\r\n").any(|l| l == line), "{line} is not in {home}");
    }
    assert!(home.split("\r\n").all(|line| line.len() <= 75) && !home.replace("\r\n", "").contains(['\r', '\n']));
    assert!(out.text("index.html").contains("every week on Monday until 2026-03-16"));
}

#[test]
fn safari_comes_out_with_bookmarks_that_browsers_import() {
    let out = Phone::new().take("safari");
    assert_eq!((out.count("visit"), out.count("bookmark"), out.count("reading list page"), out.count("tab")), (200, 2, 1, 3));
    out.links_are_whole();
    let bookmarks = out.text("bookmarks.html");
    let lines: Vec<&str> = bookmarks.lines().skip(5).map(str::trim_start).collect();
    let plain: Vec<String> = lines.iter().map(|line| line.split(" ADD_DATE=").next().unwrap().to_owned()).collect();
    assert_eq!(
        plain,
        [
            "<DL><p>",
            "<DT><H3 PERSONAL_TOOLBAR_FOLDER=\"true\">Favourites</H3>",
            "<DL><p>",
            "<DT><A HREF=\"https://tides.example.org/?a=1&amp;b=2\"",
            "</DL><p>",
            "<DT><H3>Bookmarks</H3>",
            "<DL><p>",
            "<DT><H3>Trains</H3>",
            "<DL><p>",
            "<DT><A HREF=\"https://trains.example.org/\"",
            "</DL><p>",
            "</DL><p>",
            "<DT><H3>Reading list</H3>",
            "<DL><p>",
            "<DT><A HREF=\"https://library.example.org/tides\"",
            "<DD>How tides come about, and why not every day is like another",
            "</DL><p>",
            "</DL><p>",
        ]
    );
    assert!(lines[3].ends_with(">Tides &amp; &lt;currents&gt;</A>"));
    assert!(out.text("tabs.csv").contains(",Surprise,https://gifts.example.org/,,yes"), "{}", out.text("tabs.csv"));
    assert_eq!(out.text("history.csv").lines().count(), 201);
    assert_eq!(out.json("safari.json")["history"].as_array().unwrap().len(), 200);
}

#[test]
fn a_database_of_safari_that_is_not_known_keeps_no_other_from_coming_out() {
    let phone = Phone::new();
    phone.change("HomeDomain", "Library/Safari/Bookmarks.db", "ALTER TABLE bookmarks RENAME COLUMN url TO address");
    phone.change(
        "AppDomain-com.apple.mobilesafari",
        "Library/Safari/SafariTabs.db",
        "UPDATE bookmarks SET parent = 6 WHERE id IN (3, 0)",
    );
    let out = phone.take("safari");
    assert_eq!((out.outcome.state.clone(), out.count("visit"), out.count("bookmark")), (State::Written, 200, 0));
    assert!(out.outcome.remarks[0].contains("no bookmarks.url") && out.names().contains("raw/Bookmarks.db"), "{:?}", out.outcome);
}

#[test]
fn voicemail_comes_out_with_date_and_caller_in_its_name() {
    let phone = Phone::new();
    let out = phone.take("voicemail");
    assert_eq!((out.count("voicemail"), out.count("recording")), (1, 1));
    out.links_are_whole();
    let file = out.json("voicemail.json")["voicemail"][0]["file"].as_str().unwrap().to_owned();
    let name = out.json("voicemail.json")["voicemail"][0]["name"].as_str().unwrap().to_owned();
    assert_eq!(file, format!("recordings/2025-12-20 10.00.00 {name}.amr"));
    let sound = fs::read(phone.blob("HomeDomain", "Library/Voicemail/1.amr")).unwrap();
    assert_eq!(fs::read(out.folder.join(&file)).unwrap(), sound);
    assert!(out.text("voicemail.csv").contains("I left the spare key at the bakery."));
    fs::remove_file(phone.blob("HomeDomain", "Library/Voicemail/voicemail.db")).unwrap();
    let out = phone.take("voicemail");
    assert_eq!((out.outcome.state.clone(), out.count("recording")), (State::Written, 1));
    assert!(out.names().contains("recordings/1.amr"));
}
