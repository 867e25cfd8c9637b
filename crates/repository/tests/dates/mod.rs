//! What the stories of crashes, of attackers and of the model share: repositories that open in no time, and what must be in them.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use russet_format::key_file::KeyFile;
use russet_format::slot::SlotKind;
use russet_format::snapshot::Source;
use russet_format::tree::{Node, NodeKind};
use russet_repository::{Found, Hint, KdfChoice, Meta, Repository, RepositoryError, Saved, SnapshotEntry, walk_on};
use russet_store::{MemoryStore, Name, Store};

/// Contents by path.
pub type Files = BTreeMap<String, Vec<u8>>;
/// What each date holds, by when it was made. A date keeps that for life, whatever its snapshot is called.
pub type Dates = BTreeMap<i64, Files>;

pub const QUICK: KdfChoice = KdfChoice::Argon2id { memory_kib: 19 * 1024, passes: 1, lanes: 1 };
pub const DAY: i64 = 86_400;
pub const T0: i64 = 1_795_419_000;

/// An empty repository with one key, which is a file and so costs no derivation.
pub fn create() -> (MemoryStore, KeyFile) {
    let store = MemoryStore::default();
    let repository = Repository::create(Arc::new(store.clone()), b"pw", QUICK, 1, None).unwrap();
    let key = KeyFile::random(repository.id()).unwrap();
    repository.add_slot(key.password(), SlotKind::KeyFile, "desk", KdfChoice::RandomKey, 2).unwrap();
    let by_key = open(store.clone(), &key).unwrap();
    let first = by_key.slots().unwrap().entries.into_iter().find(|entry| !entry.used).unwrap();
    by_key.remove_slot(first.name).unwrap();
    (store, key)
}

pub fn open(store: impl Store + 'static, key: &KeyFile) -> Result<Repository, RepositoryError> {
    Repository::open_with_key_file(Arc::new(store), key, None, None)
}

pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// Files of noise: name, seed and length of each.
pub fn files(named: &[(&str, u64, usize)]) -> Files {
    named.iter().map(|&(name, seed, len)| (name.to_owned(), noise(seed, len))).collect()
}

/// Stores files, of which those with a slash lie in a folder.
pub fn save(repository: &Repository, files: &Files, started: i64) -> Result<Saved, RepositoryError> {
    let draft = repository.draft()?;
    let mut folders: BTreeMap<&str, Vec<Node>> = BTreeMap::new();
    for (path, bytes) in files {
        let (folder, name) = path.split_once('/').unwrap_or(("", path));
        let content = draft.store(&mut &bytes[..], Hint::Look, &mut Vec::new(), &mut |_| {})?;
        folders.entry(folder).or_default().push(Node::new(name.as_bytes(), NodeKind::File(content)));
    }
    let mut top = folders.remove("").unwrap_or_default();
    for (name, nodes) in folders {
        let totals = Some((nodes.len() as u64, nodes.iter().map(Node::size).sum()));
        top.push(Node { totals, ..Node::new(name.as_bytes(), NodeKind::Directory(draft.directory(nodes)?)) });
    }
    top.sort_by(|a, b| a.name.cmp(&b.name));
    let root = draft.directory(top)?;
    let meta = Meta {
        started: (started, 0),
        finished: started + 60,
        source: Source::Folder,
        parent: None,
        files: files.len() as u64,
        bytes: files.values().map(|bytes| bytes.len() as u64).sum(),
        facts: BTreeMap::from([("source.path".into(), "/home".into())]),
        problems: Vec::new(),
    };
    draft.commit(root, meta)
}

/// What comes out of a date: each file's bytes, or why they do not come.
#[derive(Default)]
pub struct Out {
    pub read: Files,
    pub failed: BTreeMap<String, String>,
    /// Why some folder could not be read.
    pub torn: Option<String>,
}

/// Reads everything that a snapshot names.
pub fn read(repository: &Repository, entry: &SnapshotEntry) -> Out {
    let mut out = Out::default();
    let reader = match repository.reader() {
        Ok(reader) => reader,
        Err(error) => return Out { torn: Some(error.to_string()), ..out },
    };
    let mut torn = None;
    let mut visit = |found: Found<'_>| {
        if let NodeKind::File(content) = &found.node.kind {
            let (path, mut bytes) = (String::from_utf8(found.path.to_vec()).unwrap(), Vec::new());
            match reader.open(content).read_to_end(&mut bytes) {
                Ok(_) => drop(out.read.insert(path, bytes)),
                Err(error) => drop(out.failed.insert(path, error.to_string())),
            }
        }
        Ok(true)
    };
    walk_on(&reader, &entry.snapshot.root, &mut visit, &mut |_, error| torn = Some(error.to_string())).unwrap();
    out.torn = torn;
    out
}

/// Every date that is there, and all that is in it. Whatever cannot be read is an error.
pub fn dates(repository: &Repository) -> Result<Dates, String> {
    let mut dates = Dates::new();
    let opened = repository.snapshots().map_err(|error| error.to_string())?;
    for entry in &opened.entries {
        let out = read(repository, entry);
        if let Some(why) = out.torn.or(out.failed.into_values().next()) {
            return Err(why);
        }
        // Of one date that is there twice, because a run was killed, both are the same.
        if dates.insert(entry.snapshot.started.0, out.read.clone()).is_some_and(|twin| twin != out.read) {
            return Err("two snapshots of one date differ".into());
        }
    }
    Ok(dates)
}

/// The names of the stored files of one folder.
pub fn named(store: &MemoryStore, folder: &str) -> Vec<Name> {
    store.names().into_iter().filter(|name| name.as_str().starts_with(folder)).collect()
}

/// The pack that is longest.
pub fn largest_pack(store: &MemoryStore) -> Name {
    named(store, "packs/").into_iter().max_by_key(|name| store.len(name).unwrap()).unwrap()
}

pub fn change(store: &MemoryStore, name: &Name, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = store.get_all(name).unwrap();
    change(&mut bytes);
    store.put(name, &bytes).unwrap();
}
