//! What is in a backup, and what is *not* in it and why: the part that people learn too late.

use std::collections::HashSet;

use russet_apple_format::domain::{Domain, Kind};
use russet_apple_format::photos;
use russet_apple_format::well_known::{self, ENCRYPTED_ONLY, WellKnown};
use russet_repository::format::snapshot::Source;
use russet_repository::rewrite::REWRITTEN_WHY;

use crate::view::{EntryKind, Item, View};

/// The fact that says what was left out on purpose, a line each.
pub const EXCLUDED: &str = "excluded";
/// How many files that were.
pub const EXCLUDED_FILES: &str = "excluded.files";
/// Their plain bytes.
pub const EXCLUDED_BYTES: &str = "excluded.bytes";

/// Something that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Present {
    /// What people call it.
    pub what: String,
    /// How much of it.
    pub detail: String,
    /// Bytes.
    pub bytes: u64,
}

/// Something that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absent {
    /// What people call it.
    pub what: String,
    /// Why, and what to do about it.
    pub why: String,
}

/// What is in a backup and what is not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    /// What is there.
    pub present: Vec<Present>,
    /// What is not there.
    pub absent: Vec<Absent>,
    /// The photo library was too large to find out which originals are in iCloud only.
    pub photos_not_compared: bool,
}

impl View {
    /// Says what is in the snapshot and what is not. A photo library that is larger than `most_memory` bytes is not looked into.
    pub fn coverage(&self, most_memory: u64) -> Coverage {
        let mut coverage = Coverage::default();
        let fact = |name: &str| self.snapshot.facts.get(name).map(String::as_str);
        if self.snapshot.source != Source::AppleBackup {
            return coverage;
        }
        if fact("apple.locked") == Some("yes") {
            coverage.absent(
                "a look inside",
                "the backup was kept encrypted as it came, without the phone's password: it can be given back whole and no more. \
                 Back up again with the password and everything can be browsed",
            );
            return coverage;
        }
        let encrypted = fact("apple.encrypted") == Some("yes");
        self.say_what_is_there(&mut coverage, encrypted);
        self.say_what_was_left_out(&mut coverage);
        self.say_what_needs_encryption(&mut coverage, encrypted);
        self.say_what_is_in_icloud(&mut coverage, most_memory);
        coverage.absent(
            "the apps themselves, Apple Pay, Face ID, mail on servers, and music and books from the stores",
            "phones never put these into a backup; they are loaded or set up again",
        );
        coverage
    }

    fn stored(&self) -> impl Iterator<Item = &Item> {
        self.items().iter().filter(|item| item.kind == EntryKind::File && item.node.is_some())
    }

    fn say_what_is_there(&self, coverage: &mut Coverage, encrypted: bool) {
        let mut known: Vec<(&WellKnown, u64)> = Vec::new();
        let (mut pictures, mut picture_bytes, mut apps) = (0u64, 0, HashSet::new());
        let (mut attachments, mut attachment_bytes, mut app_bytes) = (0u64, 0, 0);
        for item in self.stored() {
            let path = String::from_utf8_lossy(&item.path);
            known.extend(well_known::ALL.iter().filter(|k| k.domain == &*item.domain && k.path == path).map(|k| (k, item.size)));
            let domain = Domain::parse(&item.domain);
            match domain.kind() {
                Kind::CameraRoll if path.starts_with("Media/DCIM/") => {
                    (pictures, picture_bytes) = (pictures + 1, picture_bytes + item.size)
                }
                Kind::Media if path.starts_with("Library/SMS/Attachments/") => {
                    (attachments, attachment_bytes) = (attachments + 1, attachment_bytes + item.size);
                }
                Kind::App => {
                    apps.insert(item.domain.clone());
                    app_bytes += item.size;
                }
                _ => {}
            }
        }
        if pictures > 0 {
            coverage.present("Photos and videos", format!("{pictures} files"), picture_bytes);
        }
        let order = |known: &WellKnown| well_known::ALL.iter().position(|k| k == known);
        known.sort_by_key(|(known, _)| order(known));
        for (known, bytes) in known {
            // Every backup has the file, but only an encrypted one has keys that open what is in it.
            if encrypted || *known != well_known::KEYCHAIN {
                coverage.present(known.label, String::new(), bytes);
            }
        }
        if attachments > 0 {
            coverage.present("Attachments of messages", format!("{attachments} files"), attachment_bytes);
        }
        if !apps.is_empty() {
            coverage.present("Data of apps", format!("{} apps", apps.len()), app_bytes);
        }
    }

    fn say_what_was_left_out(&self, coverage: &mut Coverage) {
        if self.left_out().is_empty() {
            return;
        }
        let wishes = self.snapshot.facts.get(EXCLUDED).map(|wishes| wishes.replace('\n', ", ")).unwrap_or_default();
        let bytes: u64 = self.left_out().iter().map(|file| file.bytes).sum();
        coverage.absent(
            format!("{wishes} ({} files, {bytes} bytes)", self.left_out().len()),
            "left out because somebody wanted that; `russet device include` takes it in again from the next backup on",
        );
    }

    fn say_what_needs_encryption(&self, coverage: &mut Coverage, encrypted: bool) {
        if encrypted {
            return;
        }
        let there = |only: &well_known::EncryptedOnly| {
            only.domain != "KeychainDomain"
                && self.stored().any(|item| only.covers(&item.domain, &String::from_utf8_lossy(&item.path)))
        };
        let mut said = HashSet::new();
        let absent = ENCRYPTED_ONLY.iter().filter(|only| !there(only)).map(|only| only.label);
        let labels: Vec<&str> = absent.filter(|label| said.insert(*label)).collect();
        if !labels.is_empty() {
            coverage.absent(
                labels.join(", "),
                "the phone gives these only to an encrypted backup: switch on \"Encrypt local backup\" and back up again",
            );
        }
    }

    fn say_what_is_in_icloud(&self, coverage: &mut Coverage, most_memory: u64) {
        let has = |known: WellKnown| self.item(known.domain, known.path).filter(|item| item.node.is_some());
        let was_left_out = |known: &WellKnown| {
            self.left_out().iter().any(|file| &*file.domain == known.domain && file.path == known.path.as_bytes())
        };
        let was_reduced = self.snapshot.facts.contains_key(REWRITTEN_WHY);
        if has(well_known::MESSAGES).is_none() && !was_left_out(&well_known::MESSAGES) && !was_reduced {
            coverage.absent(
                "Messages",
                "the backup has no message database; perhaps Messages in iCloud is on, and they are only there",
            );
        }
        let library = has(well_known::PHOTOS);
        coverage.photos_not_compared = library.is_some_and(|item| item.size > most_memory);
        let listed = library.filter(|item| item.size <= most_memory).and_then(|item| {
            let bytes = self.read(item).ok()?;
            photos::originals(bytes, item.size).ok()
        });
        let Some(listed) = listed else { return };
        let in_camera_roll = |domain: &str| domain == "CameraRollDomain";
        let stored = self.stored().filter(|item| in_camera_roll(&item.domain)).map(|item| &item.path[..]);
        let left_out = self.left_out().iter().filter(|file| in_camera_roll(&file.domain)).map(|file| &file.path[..]);
        let here: HashSet<&[u8]> = stored.chain(left_out).collect();
        let elsewhere = listed.iter().filter(|path| !here.contains(path.as_bytes())).count();
        if elsewhere > 0 {
            coverage.absent(
                format!("the originals of {elsewhere} of {} photos and videos", listed.len()),
                "the photo library lists them, and the backup does not have them: iCloud Photos is optimising storage, so they are only in \
                 iCloud. \"Download and Keep Originals\" on the phone brings them in",
            );
        }
    }
}

impl Coverage {
    fn present(&mut self, what: impl Into<String>, detail: impl Into<String>, bytes: u64) {
        self.present.push(Present { what: what.into(), detail: detail.into(), bytes });
    }

    fn absent(&mut self, what: impl Into<String>, why: impl Into<String>) {
        self.absent.push(Absent { what: what.into(), why: why.into() });
    }
}
