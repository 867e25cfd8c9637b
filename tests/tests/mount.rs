//! The file system without the kernel: what is where, how long it is, and what is in it, read in any order.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use russet_backup::{Silent, Unlock, apple};
use russet_mount::{Attributes, Kind, Surroundings, Tree, TreeError};
use russet_repository::Repository;
use russet_specimen::{Layout, Specimen};
use russet_store::MemoryStore;
use russet_tests::{apple_folder, back_up, back_up_folder, create, open, request};
use russet_vfs::{EntryKind, View};

const ROOT: u64 = 1;

fn surroundings(clock: &Arc<AtomicU64>) -> Surroundings {
    let clock = clock.clone();
    let local_time = |unix: i64| format!("day {}T{:02}:{:02}:{:02}", unix / 86_400, unix / 3600 % 24, unix / 60 % 60, unix % 60);
    Surroundings {
        local_time: Box::new(local_time),
        elapsed: Box::new(move || Duration::from_secs(clock.load(Ordering::Relaxed))),
    }
}

fn tree(repository: Repository) -> Tree {
    Tree::new(repository, surroundings(&Arc::default())).unwrap()
}

fn names(tree: &Tree, ino: u64) -> Vec<(String, Attributes)> {
    let mut names = Vec::new();
    let mut add = |name: &[u8], attributes| {
        names.push((String::from_utf8_lossy(name).into_owned(), attributes));
        true
    };
    tree.list(ino, 0, &mut add).unwrap();
    names
}

fn only(tree: &Tree, ino: u64) -> u64 {
    let names = names(tree, ino);
    assert_eq!(names.len(), 1, "{names:?}");
    names[0].1.ino
}

fn walk_to(tree: &Tree, from: u64, path: &str) -> Result<Attributes, TreeError> {
    let mut at = tree.attributes(from)?;
    for name in path.split('/') {
        at = tree.lookup(at.ino, name.as_bytes())?;
    }
    Ok(at)
}

/// Reads a file in pieces of an odd length, the last piece first.
fn read(tree: &Tree, attributes: &Attributes) -> Vec<u8> {
    const PIECE: u64 = 70_001;
    let file = tree.open(attributes.ino).unwrap();
    let mut bytes = vec![0; attributes.size as usize];
    for start in (0..attributes.size).step_by(PIECE as usize).collect::<Vec<_>>().into_iter().rev() {
        let end = (start + PIECE).min(attributes.size);
        let piece = &mut bytes[start as usize..end as usize];
        assert_eq!(tree.read(&file, start, piece).unwrap(), piece.len());
    }
    assert_eq!(tree.read(&file, attributes.size, &mut [0; 9]).unwrap(), 0, "it ends where it was said to end");
    bytes
}

/// Every file below a folder: path, and bytes. What a lookup finds must be what the listing showed.
fn files(tree: &Tree, ino: u64, path: &str, files: &mut BTreeMap<String, Vec<u8>>) {
    for (name, attributes) in names(tree, ino) {
        assert_eq!(tree.lookup(ino, name.as_bytes()).unwrap(), attributes, "{path}/{name}");
        assert_eq!(tree.attributes(attributes.ino).unwrap(), attributes);
        assert!(attributes.kind == Kind::Symlink || attributes.permissions & 0o222 == 0, "{path}/{name}");
        let inner = format!("{path}/{name}");
        match attributes.kind {
            Kind::Directory => {
                assert_eq!(tree.parent(attributes.ino).unwrap(), ino);
                self::files(tree, attributes.ino, &inner, files);
            }
            Kind::File => drop(files.insert(inner, read(tree, &attributes))),
            Kind::Symlink => drop(files.insert(inner, tree.link(attributes.ino).unwrap())),
        }
    }
}

fn files_of(tree: &Tree, date: u64, folder: &str) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    files(tree, walk_to(tree, date, folder).unwrap().ino, "", &mut found);
    found
}

fn on_disk(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let listing = russet_tests::listing(folder).into_iter().filter(|(path, _)| !folder.join(path).is_dir());
    listing.map(|(path, bytes)| (format!("/{}", path.display()), bytes)).collect()
}

#[test]
fn every_layout_is_seen_as_its_owner_knows_it_and_as_it_came() {
    for layout in [Layout::Database, Layout::DatabaseClearManifest, Layout::Mbdb] {
        let scratch = tempfile::tempdir().unwrap();
        let specimen = Specimen { layout, odd: true, ..Specimen::default() };
        let written = specimen.write(scratch.path(), 1).unwrap();
        let store = MemoryStore::default();
        let saved = back_up(&create(store.clone()), &written.folder, "specimen", 1).unwrap();
        let tree = tree(open(store.clone()));
        let device = only(&tree, ROOT);
        let latest = tree.lookup(device, b"latest").unwrap();
        let date = tree.lookup(device, &tree.link(latest.ino).unwrap()).unwrap().ino;
        let tops: Vec<String> = names(&tree, date).into_iter().map(|(name, _)| name).collect();
        assert_eq!(tops, ["domains", "apps", "Camera Roll", "apple-backup"]);

        assert!(
            files_of(&tree, date, "apple-backup") == on_disk(&written.folder),
            "{layout:?}: Apple's folder is not as it came"
        );

        let repository = open(store);
        let view = View::open(repository.reader().unwrap(), &saved.snapshot).unwrap();
        let domains = files_of(&tree, date, "domains");
        let mut shown = 0;
        for item in view.items().iter().filter(|item| item.node.is_some()) {
            let mut plain = Vec::new();
            view.read(item).unwrap().read_to_end(&mut plain).unwrap();
            // What has an impossible name is there under another.
            let named = domains.get(&format!("/{}", item.shown()));
            assert!(named.is_none_or(|bytes| *bytes == plain), "{layout:?}: {}", item.shown());
            shown += usize::from(named.is_some());
        }
        let links = view.items().iter().filter(|item| item.kind == EntryKind::Symlink).count();
        let with_content = view.items().iter().filter(|item| item.node.is_some()).count();
        assert_eq!(domains.len(), with_content + links, "{layout:?}: whatever it is called, everything is there");
        assert!(shown > 100 && shown + 20 > with_content, "{layout:?}: {shown} of {with_content} have their own names");
    }
}

#[test]
fn what_nobody_can_unlock_shows_apples_folder_alone_and_a_plain_folder_its_files() {
    let scratch = tempfile::tempdir().unwrap();
    let written = Specimen::default().write(scratch.path(), 1).unwrap();
    let repository = create(MemoryStore::default());
    apple::import(&repository, &apple_folder(&written.folder), Unlock::Without, &request(1, &|| 0), &Silent).unwrap();
    let plain = scratch.path().join("Letters");
    fs::create_dir(&plain).unwrap();
    fs::write(plain.join("to anna"), "dear").unwrap();
    std::os::unix::fs::symlink("to anna", plain.join("link")).unwrap();
    back_up_folder(&repository, &plain, 2).unwrap();

    let tree = tree(repository);
    let [phone, folder] = names(&tree, ROOT).try_into().unwrap();
    let date = |device: u64| tree.lookup(device, &tree.link(tree.lookup(device, b"latest").unwrap().ino).unwrap()).unwrap().ino;
    let apple = names(&tree, date(phone.1.ino));
    assert_eq!((apple.len(), &*apple[0].0), (1, "apple-backup"));
    assert!(files_of(&tree, date(phone.1.ino), "apple-backup") == on_disk(&written.folder));
    assert_eq!(folder.0, "Letters");
    let files = files_of(&tree, date(folder.1.ino), "files");
    assert_eq!(files, BTreeMap::from([("/link".into(), b"to anna".to_vec()), ("/to anna".into(), b"dear".to_vec())]));
}

#[test]
fn nonsense_is_told_from_what_is_there() {
    let scratch = tempfile::tempdir().unwrap();
    fs::write(scratch.path().join("a"), "a").unwrap();
    let repository = create(MemoryStore::default());
    back_up_folder(&repository, scratch.path(), 1).unwrap();
    let tree = tree(repository);
    let device = only(&tree, ROOT);
    let dates = names(&tree, device);
    let file = walk_to(&tree, dates[1].1.ino, "files/a").unwrap();
    for path in ["nobody", "..", "", "files/b", "files/a/b"] {
        let error = walk_to(&tree, dates[1].1.ino, path).unwrap_err();
        let expected = if path == "files/a/b" { TreeError::NotADirectory } else { TreeError::NoEntry };
        assert_eq!(error.to_string(), expected.to_string(), "{path:?}");
    }
    assert!(matches!(tree.lookup(ROOT, b"nobody"), Err(TreeError::NoEntry)));
    assert!(matches!(tree.open(device), Err(TreeError::IsADirectory)));
    assert!(matches!(tree.link(file.ino), Err(TreeError::NotALink)));
    for ino in [0, 2, u64::MAX, file.ino + 1, file.ino | 1 << 60] {
        assert!(matches!(tree.attributes(ino), Err(TreeError::Stale)), "{ino:x}");
    }
}

#[test]
fn new_dates_are_seen_when_somebody_looks_and_old_numbers_stay() {
    let scratch = tempfile::tempdir().unwrap();
    fs::write(scratch.path().join("a"), "first").unwrap();
    let store = MemoryStore::default();
    let repository = create(store.clone());
    back_up_folder(&repository, scratch.path(), 1).unwrap();
    let clock = Arc::new(AtomicU64::new(0));
    let tree = Tree::new(open(store), surroundings(&clock)).unwrap();
    let device = only(&tree, ROOT);
    let first = names(&tree, device)[1].clone();
    let file = walk_to(&tree, first.1.ino, "files/a").unwrap();

    fs::write(scratch.path().join("a"), "the second").unwrap();
    back_up_folder(&repository, scratch.path(), 2).unwrap();
    assert_eq!(names(&tree, device).len(), 2, "nobody asks the disk all the time");
    clock.store(5, Ordering::Relaxed);
    let dates = names(&tree, device);
    assert_eq!(dates.len(), 3);
    assert_eq!(dates[1], first);
    let second = walk_to(&tree, dates[2].1.ino, "files/a").unwrap();
    assert_eq!((read(&tree, &file), read(&tree, &second)), (b"first".to_vec(), b"the second".to_vec()));
    assert_ne!(file.ino, second.ino);
    assert_eq!(tree.link(dates[0].1.ino).unwrap(), dates[2].0.as_bytes());
}
