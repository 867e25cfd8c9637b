//! Voicemail: the recordings with date and caller in their names, what the phone understood of them, and a list.

use std::collections::HashMap;
use std::io::Read;

use jiff::Timestamp;
use russet_apple_format::keyed_archive::Archive;
use russet_apple_format::well_known::{VOICEMAIL, WellKnown};
use russet_vfs::Item;
use serde_json::{Value, json};

use crate::csv::Csv;
use crate::name::{self, Names};
use crate::page::{Html, Page};
use crate::{Context, Count, Folder, Kind, Result, time};

/// Voicemail.
pub const KIND: Kind = Kind {
    name: "voicemail",
    about: "recordings with date and caller in their names, transcripts, a page, CSV and JSON",
    databases: &[VOICEMAIL, RECORDINGS],
    write,
};

/// Where the recordings are. They are named by the rows of the database.
const RECORDINGS: WellKnown =
    WellKnown { label: "Recordings of voicemail", domain: VOICEMAIL.domain, path: "Library/Voicemail/" };
/// What recordings are called, by system.
const SOUNDS: &[&str] = &["amr", "m4a", "caf", "wav", "mp3"];
/// A larger transcript is none.
const LARGEST_TRANSCRIPT: u64 = 4 << 20;

/// A message that somebody left.
#[derive(Debug, Clone, Default, PartialEq)]
struct Message {
    /// Its row, and what its files are called by.
    id: Option<i64>,
    date: Option<Timestamp>,
    /// The number of who left it; none if it was withheld.
    number: Option<String>,
    /// Whose number it is in the address book.
    name: Option<String>,
    seconds: Option<i64>,
    /// When its owner threw it away.
    deleted: Option<Timestamp>,
    transcript: Option<String>,
    /// What the recording is written as.
    file: Option<String>,
}

fn write(context: &Context<'_>, folder: &Folder<'_>) -> Result<Vec<Count>> {
    let mut messages = Vec::new();
    match context.open(&VOICEMAIL)? {
        Some(tables) => {
            tables.require("voicemail", &["date", "sender"])?;
            let columns = ["ROWID", "date", "sender", "callback_num", "duration", "trashed_date"];
            tables.each("voicemail", &columns, "ORDER BY date, ROWID", (), |row| {
                messages.push(Message {
                    id: row.integer("ROWID"),
                    date: row.integer("date").and_then(time::unix),
                    number: row.words("sender").or_else(|| row.words("callback_num")),
                    seconds: row.integer("duration"),
                    deleted: row.real("trashed_date").and_then(time::apple),
                    ..Message::default()
                });
                Ok::<_, crate::Error>(())
            })?;
        }
        None => folder.remark("the list of voicemail is not in the backup, so nobody knows who left which recording"),
    }
    // Recordings and transcripts by their numbers; those that no row knows are given back too.
    let (mut sounds, mut transcripts, mut others) = (HashMap::new(), HashMap::new(), Vec::new());
    for item in context.files_below(RECORDINGS.domain, RECORDINGS.path) {
        let path = String::from_utf8_lossy(&item.path);
        let file = path.rsplit('/').next().unwrap_or_default();
        let Some((stem, extension)) = file.rsplit_once('.') else { continue };
        let extension = extension.to_ascii_lowercase();
        match (stem.parse::<i64>(), &*extension) {
            (Ok(id), "transcript") => drop(transcripts.insert(id, item)),
            (Ok(id), sound) if SOUNDS.contains(&sound) => drop(sounds.insert(id, (item, extension.clone()))),
            (Err(_), sound) if SOUNDS.contains(&sound) => others.push((item, file.to_owned())),
            _ => {}
        }
    }
    let people = context.people(folder);
    let mut names = Names::default();
    for message in &mut messages {
        message.name = message.number.as_deref().and_then(|number| people.name(number)).map(str::to_owned);
        let Some(id) = message.id else { continue };
        message.transcript = transcripts.get(&id).and_then(|item| transcript(context, item));
        let Some((item, extension)) = sounds.remove(&id) else {
            folder.missing(format!("the recording {id} of {}", message.caller()));
            continue;
        };
        let date = message.date.map(|date| time::local(date, context.zone).replace(':', ".")).unwrap_or_default();
        let wanted = format!("{date} {}", message.caller());
        message.file =
            copy(folder, &mut names, &format!("{}.{extension}", name::safe(&wanted, "voicemail")), item, message.date)?;
    }
    let mut unlisted: Vec<(&Item, String)> =
        sounds.into_iter().map(|(id, (item, extension))| (item, format!("{id}.{extension}"))).collect();
    unlisted.sort_by(|a, b| a.1.cmp(&b.1));
    for (item, file) in unlisted.into_iter().chain(others) {
        let file = copy(folder, &mut names, &name::safe_file(&file, "voicemail"), item, None)?;
        messages.push(Message { file, ..Message::default() });
    }
    let recordings = messages.iter().filter(|message| message.file.is_some()).count();
    list(context, folder, &messages)?;
    Ok(vec![Count::of("voicemail", messages.len()), Count::of("recording", recordings)])
}

impl Message {
    /// Who left it, as far as anyone knows.
    fn caller(&self) -> &str {
        self.name.as_deref().or(self.number.as_deref()).unwrap_or("unknown number")
    }
}

/// Writes a recording whose name nothing else has. What it is named by, or else its own date, becomes the date of the file.
fn copy(folder: &Folder<'_>, names: &mut Names, wanted: &str, item: &Item, date: Option<Timestamp>) -> Result<Option<String>> {
    folder.copy_dated(&["recordings", &names.unique(wanted)], item, date)
}

/// What the phone understood: an archived object with its text. One that cannot be read says nothing.
fn transcript(context: &Context<'_>, item: &Item) -> Option<String> {
    let mut bytes = Vec::new();
    context.view.read(item).ok()?.take(LARGEST_TRANSCRIPT).read_to_end(&mut bytes).ok()?;
    let archive = Archive::parse(&bytes).ok()?;
    let entry = archive.root().ok()?.flatten().find(|(name, _)| *name == b"transcriptionString")?;
    archive.text(entry.1).ok()?.filter(|text| !text.trim().is_empty())
}

fn list(context: &Context<'_>, folder: &Folder<'_>, messages: &[Message]) -> Result<()> {
    let mut csv = Csv::new(&["Date", "Caller", "Number", "Seconds", "Deleted", "Recording", "Transcript"]);
    let mut body = Html::default();
    let local = |date: Option<Timestamp>| date.map(|date| time::local(date, context.zone)).unwrap_or_default();
    for message in messages.iter().rev() {
        let (date, deleted) = (local(message.date), local(message.deleted));
        let seconds = message.seconds.map(|seconds| seconds.to_string()).unwrap_or_default();
        let [file, transcript] = [&message.file, &message.transcript].map(|text| text.as_deref().unwrap_or_default());
        csv.row(&[
            date.as_str(),
            message.caller(),
            message.number.as_deref().unwrap_or_default(),
            &seconds,
            &deleted,
            file,
            transcript,
        ]);
        body.markup("<section class=\"card\">\n<h2>")
            .name(message.caller())
            .markup("</h2>\n<p><time>")
            .text(&date)
            .markup("</time>");
        if let Some(seconds) = message.seconds {
            body.markup(" · ").text(&time::duration(seconds));
        }
        if !deleted.is_empty() {
            body.markup(" · <span class=\"soft\">deleted</span>");
        }
        body.markup("</p>\n");
        match &message.file {
            Some(file) => {
                body.markup("<p><audio controls preload=\"none\" src=\"")
                    .path(&["recordings", file])
                    .markup("\"></audio></p>\n<p><a href=\"");
                body.path(&["recordings", file]).markup("\">").name(file).markup("</a></p>\n");
            }
            None => drop(body.markup("<p class=\"soft\">The recording is not in the backup.</p>\n")),
        }
        if let Some(transcript) = &message.transcript {
            body.markup("<p>").name(transcript).markup("</p>\n");
        }
        body.markup("</section>\n");
    }
    folder.file(&["voicemail.csv"], csv.bytes(), None)?;
    let json: Vec<Value> = messages
        .iter()
        .map(|message| {
            json!({
                "date": message.date.map(time::iso),
                "number": message.number,
                "name": message.name,
                "seconds": message.seconds,
                "deleted": message.deleted.map(time::iso),
                "transcript": message.transcript,
                "file": message.file.as_ref().map(|file| format!("recordings/{file}")),
            })
        })
        .collect();
    folder.file(&["voicemail.json"], format!("{:#}\n", json!({ "voicemail": json })).as_bytes(), None)?;
    let about = format!("{} messages, newest first; not every browser plays .amr, other players do", messages.len());
    folder.file(&["index.html"], &Page { title: "Voicemail", about: &about, up: None }.render(&body), None)?;
    Ok(())
}
