//! What a specimen writes is read by the code that reads real backups.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use russet_apple_format::manifest::ManifestPlist;
use russet_apple_format::row::file_id_text;
use russet_apple_format::sqlite::{self, Verdict};
use russet_apple_format::status::Status;
use russet_apple_format::{ClassKeys, Keybag, ManifestIndex, RowKind, cipher};
use russet_specimen::{Layout, PlainHash, Size, Specimen, Truth, TruthKind, Written};

const LAYOUTS: [Layout; 3] = [Layout::Database, Layout::DatabaseClearManifest, Layout::Mbdb];

fn every_kind() -> impl Iterator<Item = Specimen> {
    let passwords = [None, Some("päss word")];
    LAYOUTS.into_iter().flat_map(move |layout| {
        passwords.into_iter().flat_map(move |password| {
            [false, true].map(|odd| Specimen {
                seed: 7,
                layout,
                password: password.map(str::to_owned),
                rounds: 3,
                size: Size::Small,
                odd,
            })
        })
    })
}

/// Every file below a folder, with its bytes and its time.
fn contents(folder: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for file in fs::read_dir(next).unwrap() {
            let path = file.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let time = path.metadata().unwrap().modified().unwrap();
                files.insert(path.strip_prefix(folder).unwrap().to_owned(), (fs::read(&path).unwrap(), time));
            }
        }
    }
    files
}

/// A backup that was opened.
struct Opened {
    folder: PathBuf,
    keys: ClassKeys,
    index: ManifestIndex,
}

impl Opened {
    fn new(written: &Written, password: &str) -> Opened {
        let folder = written.folder.clone();
        assert!(Status::parse(&fs::read(folder.join("Status.plist")).unwrap()).unwrap().is_finished());
        let manifest = ManifestPlist::parse(&fs::read(folder.join("Manifest.plist")).unwrap()).unwrap();
        assert_eq!(manifest.is_encrypted(), !password.is_empty());
        let bag = Keybag::parse(manifest.keybag().unwrap()).unwrap();
        let keys = bag.unlock(&bag.derive(password).unwrap()).unwrap();
        let mut bytes = fs::read(folder.join("Manifest.db")).or_else(|_| fs::read(folder.join("Manifest.mbdb"))).unwrap();
        if let Some(wrapped) = manifest.manifest_key() {
            bytes = cipher::decrypt_all(&keys.unwrap(wrapped).unwrap(), &bytes);
        }
        Opened { folder, keys, index: ManifestIndex::from_bytes(&bytes).unwrap() }
    }

    fn plain(&self, truth: &Truth) -> Option<Vec<u8>> {
        let row =
            self.index.rows().unwrap().map(Result::unwrap).find(|row| row.domain == truth.domain && row.path == truth.path)?;
        let blobs = [self.folder.join(&truth.file_id[..2]).join(&truth.file_id), self.folder.join(&truth.file_id)];
        let blob = blobs.iter().find_map(|path| fs::read(path).ok())?;
        match self.index.record(&row).unwrap().usable_key() {
            Some(key) => Some(cipher::decrypt_all(&self.keys.unwrap(key).unwrap(), &blob)),
            None => Some(blob),
        }
    }
}

fn check(specimen: &Specimen, written: &Written) {
    let opened = Opened::new(written, specimen.password.as_deref().unwrap_or_default());
    let rows: Vec<_> = opened.index.rows().unwrap().map(Result::unwrap).collect();
    assert_eq!(rows.len(), written.truth.len());
    for (row, truth) in rows.iter().zip(&written.truth) {
        assert_eq!((&row.domain, &row.path, file_id_text(&row.file_id)), (&truth.domain, &truth.path, truth.file_id.clone()));
        assert!(row.has_expected_id());
        let record = opened.index.record(row).unwrap();
        assert_eq!((record.modified, record.kind()), (truth.modified, Some(row.kind())));
        match &truth.kind {
            TruthKind::Directory => assert_eq!(row.kind(), RowKind::Directory),
            TruthKind::Symlink(target) => assert_eq!(record.target.as_ref(), Some(target)),
            TruthKind::File(expected) => {
                let plain = opened.plain(truth);
                let is_there = plain.as_deref().map(PlainHash::of) == Some(*expected);
                assert_eq!(is_there, truth.intact, "{} {}", truth.domain, truth.path);
                if truth.odd.is_none() {
                    assert!(truth.intact);
                    assert_eq!(record.size, expected.size);
                }
            }
        }
    }
}

#[test]
fn every_generation_of_every_kind_decrypts_to_its_truth() {
    for specimen in every_kind() {
        let root = tempfile::tempdir().unwrap();
        for generation in 1..=3 {
            check(&specimen, &specimen.write(root.path(), generation).unwrap());
        }
    }
}

#[test]
fn two_writes_of_one_seed_are_equal_to_the_byte() {
    for specimen in every_kind() {
        let [one, two] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let written = [specimen.write(one.path(), 1).unwrap(), specimen.write(two.path(), 1).unwrap()];
        assert_eq!(written[0].truth, written[1].truth);
        assert_eq!(contents(one.path()), contents(two.path()));
    }
}

#[test]
fn generations_written_in_place_are_those_written_at_once() {
    for specimen in every_kind() {
        let [step, jump] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        for generation in 1..=4 {
            let _ = specimen.write(step.path(), generation).unwrap();
        }
        let _ = specimen.write(jump.path(), 4).unwrap();
        assert_eq!(contents(step.path()), contents(jump.path()));
    }
}

#[test]
fn a_day_changes_little_and_leaves_the_rest_untouched() {
    let specimen = Specimen::default();
    let root = tempfile::tempdir().unwrap();
    let first = specimen.write(root.path(), 1).unwrap();
    let before = contents(&first.folder);
    // An untouched file would keep even a time that nobody gave it.
    let kept = first.truth.iter().find(|truth| truth.path.ends_with("IMG_0001.JPG")).unwrap();
    let kept = first.folder.join(&kept.file_id[..2]).join(&kept.file_id);
    fs::File::options().write(true).open(&kept).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    let second = specimen.write(root.path(), 2).unwrap();
    let after = contents(&second.folder);
    assert_eq!(kept.metadata().unwrap().modified().unwrap(), SystemTime::UNIX_EPOCH);

    let same = before.iter().filter(|(path, (bytes, _))| after.get(*path).is_some_and(|(now, _)| now == bytes)).count();
    let gone = before.keys().filter(|path| !after.contains_key(*path)).count();
    let new = after.keys().filter(|path| !before.contains_key(*path)).count();
    assert!(same * 10 > before.len() * 8 && gone >= 2 && new >= 5, "{same} same, {gone} gone, {new} new of {}", before.len());
}

#[test]
fn a_changed_file_gets_a_new_key() {
    let specimen = Specimen::default();
    let root = tempfile::tempdir().unwrap();
    let keys = [1, 2].map(|generation| {
        let written = specimen.write(root.path(), generation).unwrap();
        let opened = Opened::new(&written, "specimen");
        let row = opened.index.rows().unwrap().flatten().find(|row| row.path == "Library/SMS/sms.db").unwrap();
        opened.index.record(&row).unwrap().encryption_key.unwrap()
    });
    assert_ne!(keys[0], keys[1]);
}

#[test]
fn its_databases_are_sound_and_hold_the_messages_of_each_day() {
    let specimen = Specimen::default();
    let root = tempfile::tempdir().unwrap();
    let mut counts = Vec::new();
    for generation in 1..=3 {
        let written = specimen.write(root.path(), generation).unwrap();
        let opened = Opened::new(&written, "specimen");
        let mut databases = 0;
        for truth in &written.truth {
            let is_database = [".db", ".sqlite", ".sqlitedb", ".storedata"].iter().any(|end| truth.path.ends_with(end));
            if !is_database {
                continue;
            }
            databases += 1;
            let plain = opened.plain(truth).unwrap();
            assert_eq!(sqlite::check(plain.as_slice(), plain.len() as u64).unwrap(), Verdict::Ok, "{}", truth.path);
            if truth.path.ends_with("sms.db") {
                let path = root.path().join("sms.db");
                fs::write(&path, plain).unwrap();
                let sms = rusqlite::Connection::open(&path).unwrap();
                let sql = "SELECT count(*) FROM message JOIN handle ON handle_id = handle.ROWID";
                counts.push(sms.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap());
            }
        }
        assert_eq!(databases, 12);
    }
    assert!(counts.is_sorted() && counts[0] < counts[1] && counts[1] < counts[2], "{counts:?}");
}

#[test]
fn a_wrong_password_opens_nothing() {
    let specimen = Specimen::default();
    let root = tempfile::tempdir().unwrap();
    let written = specimen.write(root.path(), 1).unwrap();
    let manifest = ManifestPlist::parse(&fs::read(written.folder.join("Manifest.plist")).unwrap()).unwrap();
    let bag = Keybag::parse(manifest.keybag().unwrap()).unwrap();
    assert!(bag.unlock(&bag.derive("Specimen").unwrap()).is_err());
}

#[test]
fn sizes_are_about_what_is_promised() {
    let size = |size| {
        let root = tempfile::tempdir().unwrap();
        let written = Specimen { size, ..Specimen::default() }.write(root.path(), 1).unwrap();
        let plain = written.truth.iter().filter_map(|truth| match truth.kind {
            TruthKind::File(plain) => Some(plain.size),
            _ => None,
        });
        (plain.clone().count(), plain.sum::<u64>())
    };
    let (files, bytes) = size(Size::Small);
    assert!((90..160).contains(&files) && (1_500_000..3_000_000).contains(&bytes), "{files} files, {bytes} bytes");
    let (files, bytes) = size(Size::Medium);
    assert!((1_000..2_000).contains(&files) && (30_000_000..60_000_000).contains(&bytes), "{files} files, {bytes} bytes");
}

#[test]
fn only_encrypted_backups_hold_health() {
    for specimen in every_kind() {
        let root = tempfile::tempdir().unwrap();
        let written = specimen.write(root.path(), 1).unwrap();
        assert_eq!(written.truth.iter().any(|truth| truth.domain == "HealthDomain"), specimen.password.is_some());
    }
}

#[test]
fn every_row_of_an_ordinary_backup_has_its_folders() {
    let root = tempfile::tempdir().unwrap();
    let written = Specimen::default().write(root.path(), 1).unwrap();
    let is_folder = |domain: &str, path: &str| {
        written.truth.iter().any(|truth| truth.domain == domain && truth.path == path && truth.kind == TruthKind::Directory)
    };
    for truth in &written.truth {
        assert!(is_folder(&truth.domain, ""));
        assert!(truth.path.match_indices('/').all(|(at, _)| is_folder(&truth.domain, &truth.path[..at])), "{}", truth.path);
    }
}
