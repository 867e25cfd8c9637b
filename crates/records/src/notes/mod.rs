//! Notes: a page and a Markdown file for each, in folders as on the phone, with attachments in their places.

mod attachments;
mod document;
mod embedded;
mod markdown;
mod old;
mod page;
mod store;
mod table;

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use russet_apple_format::well_known::{NOTES, NOTES_IOS8};
use serde_json::{Value, json};

use self::attachments::Attachments;
use self::document::Paragraph;
use self::embedded::Embedded;
use crate::name::{self, Names};
use crate::page::{Html, Page};
use crate::{Context, Count, Folder, Kind, Result, time};

/// Notes.
pub const KIND: Kind = Kind {
    name: "notes",
    about: "notes as pages, Markdown and JSON, in their folders and with their attachments",
    databases: &[NOTES, NOTES_IOS8],
    write,
};

/// A note, without its text.
#[derive(Debug, Clone, Default)]
struct About {
    title: String,
    /// The folders it is in, the outermost first.
    folders: Vec<String>,
    created: Option<Timestamp>,
    modified: Option<Timestamp>,
    pinned: bool,
    deleted: bool,
}

/// What is in a note.
enum Body {
    Text(Vec<Paragraph>),
    /// Only its password opens it.
    Locked,
    /// Why it cannot be read.
    Unreadable(String),
}

/// A note that was written, for the lists.
struct Entry {
    about: About,
    /// Its page, from the folder of all notes.
    page: Vec<String>,
    beginning: String,
    json: Value,
}

/// Writes notes one after the other, each as soon as it is read.
struct Writer<'a> {
    context: &'a Context<'a>,
    folder: &'a Folder<'a>,
    /// The folders on the disk, by the folders that were wanted; and which names are taken in each.
    places: HashMap<Vec<String>, Vec<String>>,
    taken: HashMap<Vec<String>, Names>,
    entries: Vec<Entry>,
    locked: usize,
    attachments: usize,
}

fn write(context: &Context<'_>, folder: &Folder<'_>) -> Result<Vec<Count>> {
    let mut writer =
        Writer { context, folder, places: HashMap::new(), taken: HashMap::new(), entries: Vec::new(), locked: 0, attachments: 0 };
    if let Some(tables) = context.open(&NOTES)? {
        store::read(&tables, &mut writer)?;
    }
    if let Some(tables) = context.open(&NOTES_IOS8)? {
        old::read(&tables, &mut writer)?;
    }
    writer.finish()
}

impl Writer<'_> {
    /// Writes a note as a page and as Markdown.
    fn note(&mut self, about: About, body: &Body, attachments: Option<&Attachments<'_>>) -> Result<()> {
        let place = self.place(&about.folders);
        let stem = self.taken.entry(place.clone()).or_default().unique(&name::safe(&about.title, "Untitled"));
        let files = format!("{stem} files");
        let mut things: HashMap<&str, Vec<Embedded>> = HashMap::new();
        let mut copied = Vec::new();
        if let (Body::Text(paragraphs), Some(attachments)) = (body, attachments) {
            let mut names = Names::default();
            for (id, kind) in paragraphs.iter().flat_map(|p| &p.spans).filter_map(|span| span.look.attachment.as_ref()) {
                if !things.contains_key(&**id) {
                    let mut copy = |item: &russet_vfs::Item, wanted: &str| {
                        let name = names.unique(&name::safe_file(wanted, "attachment"));
                        let path: Vec<&str> = place.iter().map(String::as_str).chain([&*files, &*name]).collect();
                        let copied = self.folder.copy(&path, item)?.map(|name| format!("{files}/{name}"));
                        Ok::<_, crate::Error>(copied)
                    };
                    let found = attachments.find(id, kind, &mut copy, self.folder)?;
                    copied.extend(found.iter().filter_map(Embedded::path).map(str::to_owned));
                    things.insert(id, found);
                }
            }
        }
        let embedded = |id: &str| things.get(id).cloned().unwrap_or_default();
        let (mut html, mut markdown, mut text) = (Html::default(), String::new(), String::new());
        let mut say = |sentence: &str| {
            html.markup("<p class=\"soft\">").text(sentence).markup("</p>\n");
            markdown = format!("*{sentence}*\n");
        };
        match body {
            Body::Text(paragraphs) => {
                html = page::html(paragraphs, &embedded);
                markdown = markdown::markdown(paragraphs, &embedded);
                text = plain(paragraphs);
            }
            Body::Locked => {
                self.locked += 1;
                say("This note is locked. Its text can be read only with its password, on the phone.");
            }
            Body::Unreadable(why) => {
                self.folder.failed(format!("the note \"{}\"", about.title), why);
                say("The text of this note cannot be read.");
            }
        }
        self.attachments += copied.len();
        let up: Vec<&str> = std::iter::repeat_n("..", place.len()).chain(["index.html"]).collect();
        let modified = about.modified.map(|time| time::date_and_clock(time, self.context.zone)).unwrap_or_default();
        let page = Page { title: &about.title, about: &modified, up: Some((&up, "Notes")) }.render(&html);
        let names = [format!("{stem}.html"), format!("{stem}.md")];
        for (name, content) in names.iter().zip([&page[..], markdown.as_bytes()]) {
            let path: Vec<&str> = place.iter().map(String::as_str).chain([&**name]).collect();
            self.folder.file(&path, content, about.modified)?;
        }
        let path = |name: &str| place.iter().map(String::as_str).chain([name]).collect::<Vec<_>>().join("/");
        let json = json!({
            "title": about.title,
            "folders": about.folders,
            "created": about.created.map(time::iso),
            "modified": about.modified.map(time::iso),
            "pinned": about.pinned,
            "recently_deleted": about.deleted,
            "locked": matches!(body, Body::Locked),
            "text": matches!(body, Body::Text(_)).then_some(&text),
            "page": path(&names[0]),
            "markdown": path(&names[1]),
            "attachments": copied.iter().map(|name| path(name)).collect::<Vec<_>>(),
        });
        let beginning = text.lines().filter(|line| !line.trim().is_empty() && line.trim() != about.title.trim()).take(1);
        let beginning = beginning.flat_map(str::chars).take(160).collect();
        let page = place.iter().chain([&names[0]]).cloned().collect();
        self.entries.push(Entry { about, page, beginning, json });
        Ok(())
    }

    /// The folder on the disk for folders on the phone.
    fn place(&mut self, wanted: &[String]) -> Vec<String> {
        if let Some(place) = self.places.get(wanted) {
            return place.clone();
        }
        let Some((last, above)) = wanted.split_last() else { return Vec::new() };
        let mut place = self.place(above);
        let name = self.taken.entry(place.clone()).or_default().unique(&name::safe(last, "Folder"));
        place.push(name);
        self.places.insert(wanted.to_vec(), place.clone());
        place
    }

    /// Writes the lists.
    fn finish(mut self) -> Result<Vec<Count>> {
        self.entries.sort_by(|a, b| {
            let order = |entry: &Entry| (entry.about.deleted, entry.about.folders.clone(), !entry.about.pinned);
            order(a).cmp(&order(b)).then(b.about.modified.cmp(&a.about.modified))
        });
        let json: Vec<&Value> = self.entries.iter().map(|entry| &entry.json).collect();
        self.folder.file(&["notes.json"], format!("{:#}\n", json!({ "notes": json })).as_bytes(), None)?;
        let mut body = Html::default();
        for entries in self.entries.chunk_by(|a, b| a.about.folders == b.about.folders) {
            body.markup("<h2>").name(&entries[0].about.folders.join(" / ")).markup("</h2>\n<ul class=\"list\">\n");
            for entry in entries {
                let page: Vec<&str> = entry.page.iter().map(String::as_str).collect();
                body.markup("<li><a href=\"").path(&page).markup("\">").name(&entry.about.title).markup("</a>");
                if let Some(modified) = entry.about.modified {
                    body.markup("<time>").text(&time::date(modified, self.context.zone)).markup("</time>");
                }
                if !entry.beginning.is_empty() {
                    body.markup("<p>").name(&entry.beginning).markup("</p>");
                }
                body.markup("</li>\n");
            }
            body.markup("</ul>\n");
        }
        let about = format!("{} notes", self.entries.len());
        self.folder.file(&["index.html"], &Page { title: "Notes", about: &about, up: None }.render(&body), None)?;
        if self.locked > 0 {
            let locked = self.locked;
            self.folder
                .remark(format!("notes locked with a password of their own, so that only their titles are given: {locked}"));
        }
        let folders: BTreeSet<&[String]> = self.entries.iter().map(|entry| &*entry.about.folders).collect();
        Ok(vec![
            Count::of("note", self.entries.len()),
            Count::of("folder", folders.len()),
            Count::of("attachment", self.attachments),
        ])
    }
}

/// The text without its looks.
fn plain(paragraphs: &[Paragraph]) -> String {
    let lines = paragraphs.iter().map(|p| p.spans.iter().map(|span| &*span.text).collect::<String>());
    lines.collect::<Vec<_>>().join("\n").replace('\u{fffc}', "")
}
