//! NoteStore.sqlite, since iOS 9: one table holds notes, folders, accounts and attachments, and every iOS adds columns to it.

use std::collections::HashMap;

use russet_apple_format::tables::{Fields, Tables};

use super::attachments::Attachments;
use super::document::{Document, unpack};
use super::{About, Body, Writer};
use crate::{Result, time};

/// The table of everything.
pub(super) const OBJECTS: &str = "ZICCLOUDSYNCINGOBJECT";
/// The kind of folder that holds what was thrown away.
const TRASH: i64 = 1;
/// No folders of Apple's app lie deeper.
const DEEPEST: usize = 16;

/// What of the table of everything is needed again and again.
#[derive(Debug, Clone, Default)]
pub(super) struct Object {
    pub(super) id: String,
    /// Its uniform type identifier, if it is an attachment.
    pub(super) kind: String,
    title: Option<String>,
    /// The name of a folder, or of an account.
    name: Option<String>,
    folder: Option<i64>,
    parent: Option<i64>,
    owner: Option<i64>,
    accounts: Vec<i64>,
    is_trash: bool,
    is_gone: bool,
    is_account: bool,
    locked: bool,
    pinned: bool,
    created: Option<jiff::Timestamp>,
    modified: Option<jiff::Timestamp>,
    /// For attachments: the file that holds it, the attachment it is part of, what it is called, where it leads, and text that stands for it.
    pub(super) media: Option<i64>,
    pub(super) part_of: Option<i64>,
    pub(super) file_name: Option<String>,
    pub(super) label: Option<String>,
    pub(super) url: Option<String>,
    pub(super) words: Option<String>,
}

/// Reads all notes and hands them on.
pub(super) fn read(tables: &Tables, writer: &mut Writer<'_>) -> Result<()> {
    tables.require(OBJECTS, &["Z_PK", "ZIDENTIFIER"])?;
    tables.require("ZICNOTEDATA", &["ZNOTE", "ZDATA"])?;
    let objects = objects(tables)?;
    let with_notes = objects.values().filter(|object| object.is_account).count();
    let attachments = Attachments::new(writer.context, tables, &objects);
    tables.each("ZICNOTEDATA", &["ZNOTE", "ZDATA"], "ORDER BY Z_PK", (), |row| {
        let Some(note) = row.integer("ZNOTE").and_then(|note| objects.get(&note)) else { return Ok(()) };
        if note.is_gone {
            return Ok(());
        }
        let (folders, deleted) = folders(note, &objects, with_notes > 1);
        let about = About {
            title: note.title.clone().unwrap_or_else(|| "Untitled".to_owned()),
            folders,
            created: note.created,
            modified: note.modified,
            pinned: note.pinned,
            deleted,
        };
        writer.note(about, &body(note, row), Some(&attachments))
    })
}

fn body(note: &Object, row: &Fields<'_>) -> Body {
    if note.locked {
        return Body::Locked;
    }
    let Some(data) = row.bytes("ZDATA") else { return Body::Unreadable("its text is not in the backup".to_owned()) };
    match unpack(data).and_then(|unpacked| Document::parse(&unpacked)?.paragraphs()) {
        Ok(paragraphs) => Body::Text(paragraphs),
        Err(error) => Body::Unreadable(error.to_string()),
    }
}

fn objects(tables: &Tables) -> Result<HashMap<i64, Object>> {
    // Which column names the account has changed with most systems.
    let numbered = |name: &str| name.strip_prefix("ZACCOUNT").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()));
    let accounts: Vec<&str> = tables.columns(OBJECTS).iter().map(String::as_str).filter(|name| numbered(name)).collect();
    let columns = [
        "Z_PK",
        "ZIDENTIFIER",
        "ZTYPEUTI",
        "ZTYPEUTI1",
        "ZTITLE",
        "ZTITLE1",
        "ZTITLE2",
        "ZUSERTITLE",
        "ZNAME",
        "ZFOLDER",
        "ZPARENT",
        "ZOWNER",
        "ZFOLDERTYPE",
        "ZMARKEDFORDELETION",
        "ZACCOUNTTYPE",
        "ZISPASSWORDPROTECTED",
        "ZISPINNED",
        "ZCREATIONDATE1",
        "ZCREATIONDATE3",
        "ZMODIFICATIONDATE1",
        "ZMEDIA",
        "ZPARENTATTACHMENT",
        "ZFILENAME",
        "ZURLSTRING",
        "ZALTTEXT",
    ];
    let columns: Vec<&str> = columns.into_iter().chain(accounts.iter().copied()).collect();
    let mut objects = HashMap::new();
    tables.each(OBJECTS, &columns, "", (), |row| {
        let Some(key) = row.integer("Z_PK") else { return Ok(()) };
        let date = |column: &str| row.real(column).and_then(time::apple);
        objects.insert(
            key,
            Object {
                id: row.text("ZIDENTIFIER").unwrap_or_default(),
                kind: row.words("ZTYPEUTI").or_else(|| row.words("ZTYPEUTI1")).unwrap_or_default(),
                title: row.words("ZTITLE1"),
                name: row.words("ZTITLE2").or_else(|| row.words("ZNAME")),
                folder: row.integer("ZFOLDER"),
                parent: row.integer("ZPARENT"),
                owner: row.integer("ZOWNER"),
                accounts: accounts.iter().filter_map(|column| row.integer(column)).collect(),
                is_trash: row.integer("ZFOLDERTYPE") == Some(TRASH),
                is_gone: row.flag("ZMARKEDFORDELETION"),
                is_account: row.words("ZNAME").is_some() && row.words("ZTITLE2").is_none(),
                locked: row.flag("ZISPASSWORDPROTECTED"),
                pinned: row.flag("ZISPINNED"),
                created: date("ZCREATIONDATE3").or_else(|| date("ZCREATIONDATE1")),
                modified: date("ZMODIFICATIONDATE1"),
                media: row.integer("ZMEDIA"),
                part_of: row.integer("ZPARENTATTACHMENT"),
                file_name: row.words("ZFILENAME"),
                label: row.words("ZUSERTITLE").or_else(|| row.words("ZTITLE")),
                url: row.words("ZURLSTRING"),
                words: row.words("ZALTTEXT"),
            },
        );
        Ok::<_, crate::Error>(())
    })?;
    Ok(objects)
}

/// The folders that a note is in, the account first if there are several; and whether it was thrown away.
fn folders(note: &Object, objects: &HashMap<i64, Object>, with_account: bool) -> (Vec<String>, bool) {
    let mut names = Vec::new();
    let mut account = None;
    let mut deleted = false;
    let mut at = note.folder;
    let mut seen = Vec::new();
    while let Some((key, folder)) = at.and_then(|at| Some((at, objects.get(&at)?))) {
        if seen.len() == DEEPEST || seen.contains(&key) {
            break;
        }
        seen.push(key);
        deleted |= folder.is_trash;
        names.push(match (&folder.name, folder.is_trash) {
            (_, true) => "Recently Deleted".to_owned(),
            (Some(name), false) => name.clone(),
            (None, false) => "Notes".to_owned(),
        });
        account = account.or(folder.owner);
        at = folder.parent;
    }
    if names.is_empty() {
        names.push("Notes".to_owned());
    }
    if with_account {
        let account = account.into_iter().chain(note.accounts.iter().copied()).filter_map(|key| objects.get(&key));
        names.extend(account.filter(|object| object.is_account).find_map(|object| object.name.clone()));
    }
    names.reverse();
    (names, deleted)
}
