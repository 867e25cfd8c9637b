//! What stands behind the attachments of notes: files in the app's container, found by the identifiers in their paths, and rows.

use std::collections::HashMap;

use russet_apple_format::tables::Tables;
use russet_apple_format::well_known::NOTES;
use russet_vfs::Item;

use super::document::unpack;
use super::embedded::Embedded;
use super::store::{OBJECTS, Object};
use super::table::Table;
use crate::{Context, Folder, Result};

/// Folders of the container whose files belong to what is named next in their paths, the best first.
const SHELVES: [&str; 4] = ["Media", "FallbackPDFs", "FallbackImages", "Previews"];
/// The length of an identifier; in some places more follows it.
const ID: usize = 36;
/// No gallery has more pictures.
const MOST_PARTS: usize = 1_000;

/// What every browser shows.
const PICTURES: &[&str] = &["jpg", "jpeg", "png", "gif", "webp", "bmp", "avif"];
const SOUNDS: &[&str] = &["m4a", "mp3", "wav", "aac", "ogg", "oga", "flac"];
const FILMS: &[&str] = &["mov", "mp4", "m4v", "webm"];

/// The attachments of all notes.
pub(super) struct Attachments<'a> {
    tables: &'a Tables,
    objects: &'a HashMap<i64, Object>,
    by_id: HashMap<&'a str, i64>,
    parts: HashMap<i64, Vec<i64>>,
    /// Files by shelf and identifier.
    files: HashMap<(usize, String), Vec<&'a Item>>,
}

/// Copies a file under about this name, and gives the path that leads to it from the note.
pub(super) type CopyOut<'c> = dyn FnMut(&Item, &str) -> Result<Option<String>> + 'c;

impl<'a> Attachments<'a> {
    pub(super) fn new(context: &Context<'a>, tables: &'a Tables, objects: &'a HashMap<i64, Object>) -> Attachments<'a> {
        let mut files: HashMap<(usize, String), Vec<&Item>> = HashMap::new();
        for item in context.files_below(NOTES.domain, "") {
            let path = String::from_utf8_lossy(&item.path);
            let parts: Vec<&str> = path.split('/').collect();
            let shelf = parts.windows(2).find_map(|pair| Some((SHELVES.iter().position(|shelf| *shelf == pair[0])?, pair[1])));
            if let Some((shelf, id)) = shelf.and_then(|(shelf, name)| Some((shelf, name.get(..ID)?))) {
                files.entry((shelf, id.to_ascii_uppercase())).or_default().push(item);
            }
        }
        let mut parts: HashMap<i64, Vec<i64>> = HashMap::new();
        for (key, object) in objects {
            if let Some(whole) = object.part_of {
                parts.entry(whole).or_default().push(*key);
            }
        }
        parts.values_mut().for_each(|parts| parts.sort());
        let by_id = objects.iter().map(|(key, object)| (&*object.id, *key)).collect();
        Attachments { tables, objects, by_id, parts, files }
    }

    /// What stands for an attachment. Files are copied; what is not in the backup is noted.
    pub(super) fn find(&self, id: &str, kind: &str, copy: &mut CopyOut<'_>, folder: &Folder<'_>) -> Result<Vec<Embedded>> {
        let Some((key, object)) = self.by_id.get(id).and_then(|key| Some((*key, self.objects.get(key)?))) else {
            return Ok(vec![Embedded::Missing("an attachment that is not in the backup".to_owned())]);
        };
        let kind = if object.kind.is_empty() { kind } else { &object.kind };
        match kind {
            "com.apple.notes.table" => return Ok(vec![self.table(key)?]),
            "com.apple.notes.gallery" => {
                let parts = self.parts.get(&key).into_iter().flatten().take(MOST_PARTS).filter_map(|part| self.objects.get(part));
                let mut found = Vec::new();
                for part in parts {
                    found.extend(self.file(part, copy, folder)?);
                }
                if !found.is_empty() {
                    return Ok(found);
                }
            }
            _ => {}
        }
        if let Some(words) = object.words.as_ref().filter(|_| kind.starts_with("com.apple.notes.inlinetextattachment")) {
            return Ok(vec![Embedded::Text(words.clone())]);
        }
        if let Some(url) = &object.url {
            let title = object.label.clone().unwrap_or_else(|| url.clone());
            return Ok(vec![Embedded::Link { url: url.clone(), title }]);
        }
        self.file(object, copy, folder)
    }

    fn table(&self, key: i64) -> Result<Embedded> {
        let mut table = None;
        self.tables.each(OBJECTS, &["ZMERGEABLEDATA1", "ZMERGEABLEDATA"], "WHERE Z_PK = ?1", [key], |row| {
            let data = row.bytes("ZMERGEABLEDATA1").or_else(|| row.bytes("ZMERGEABLEDATA"));
            table = data.and_then(|data| Table::parse(&unpack(data).ok()?).ok());
            Ok::<_, crate::Error>(())
        })?;
        Ok(table.map_or_else(|| Embedded::Missing("a table that cannot be read".to_owned()), Embedded::Table))
    }

    /// The file of an attachment and, if no browser shows it, the phone's own picture of it before it.
    fn file(&self, object: &Object, copy: &mut CopyOut<'_>, folder: &Folder<'_>) -> Result<Vec<Embedded>> {
        let media = object.media.and_then(|key| self.objects.get(&key));
        let on = |shelf: usize, id: &str| {
            let there =
                self.files.get(&(shelf, id.to_ascii_uppercase())).into_iter().flatten().filter(|item| item.node.is_some());
            // Previews come in several sizes; of anything else the last generation counts.
            there.copied().max_by_key(|item| if shelf == 3 { item.size } else { 0 })
        };
        let whole = media.and_then(|media| on(0, &media.id)).or_else(|| on(0, &object.id)).or_else(|| on(1, &object.id));
        let picture = on(2, &object.id).or_else(|| on(3, &object.id));
        let name = media.and_then(|media| media.file_name.clone()).or_else(|| object.file_name.clone());
        let label = object.label.clone().or_else(|| name.clone());
        let is_shown = |item: &Item| {
            let extension = extension(item);
            [PICTURES, SOUNDS, FILMS].iter().any(|known| known.contains(&&*extension))
        };
        let mut found = Vec::new();
        let picture = picture.filter(|_| whole.is_none_or(|whole| !is_shown(whole)));
        for (item, name) in [(picture, &label), (whole, &name)] {
            let Some(item) = item else { continue };
            let file = file_name(item);
            let wanted = match name {
                // A picture of something is not what it is called.
                Some(name) if name.to_ascii_lowercase().ends_with(&format!(".{}", extension(item))) => name.clone(),
                Some(name) => format!("{name}.{}", extension(item)),
                None => file,
            };
            let Some(path) = copy(item, &wanted)? else { continue };
            let name = label.clone().unwrap_or(wanted);
            found.push(match &*extension(item) {
                known if PICTURES.contains(&known) => Embedded::Picture { path, name },
                known if SOUNDS.contains(&known) => Embedded::Sound { path, name },
                known if FILMS.contains(&known) => Embedded::Film { path, name },
                _ => Embedded::File { path, name },
            });
        }
        if found.is_empty() {
            let what = label.unwrap_or_else(|| object.kind.clone());
            folder.missing(format!("the attachment {what} of a note"));
            found.push(Embedded::Missing(format!("{what}, which is not in the backup")));
        }
        Ok(found)
    }
}

fn file_name(item: &Item) -> String {
    let path = String::from_utf8_lossy(&item.path);
    path.rsplit('/').next().unwrap_or_default().to_owned()
}

fn extension(item: &Item) -> String {
    let name = file_name(item);
    name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase()).unwrap_or_default()
}
