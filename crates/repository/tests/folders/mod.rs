//! What the stories about rewriting, repairing and copying share: some files in a repository in memory.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use russet_format::parity::Share;
use russet_format::snapshot::{Problem, ProblemKind, Severity, Source};
use russet_format::tree::{Content, Node, NodeKind};
use russet_repository::{Hint, KdfChoice, Meta, Repository, Result, Saved, SnapshotEntry, walk};
use russet_store::{MemoryStore, Store};

/// Key derivation that costs little.
pub const QUICK: KdfChoice = KdfChoice::Argon2id { memory_kib: 19 * 1024, passes: 1, lanes: 1 };

/// Contents by path.
pub type Files = BTreeMap<String, Vec<u8>>;

/// Opens it with its password.
pub fn open(store: impl Store + 'static) -> Result<Repository> {
    Repository::open(Arc::new(store), b"pw", None)
}

/// Two folders, `keep` with many files and `mixed` with a few, and a file beside them.
pub fn files() -> Files {
    let mut files: Files = (0..300).map(|n| (format!("keep/{n:03}"), format!("file {n}").repeat(n).into_bytes())).collect();
    files.extend((0..9).map(|n| (format!("mixed/{n}"), vec![n; 20_000])));
    files.insert("top".into(), b"beside the folders".to_vec());
    files
}

/// A repository with one snapshot of these files, marked as one to keep. Its packs have no parity, so that damage is damage.
pub fn repository(files: &Files) -> (MemoryStore, Repository, SnapshotEntry) {
    let store = MemoryStore::default();
    let mut repository = Repository::create(Arc::new(store.clone()), b"pw", QUICK, 1, None).unwrap();
    repository.set_parity(Share::NONE).unwrap();
    let saved = save(&repository, files, 1_000);
    repository.pin(saved.name, "the first", 1_100).unwrap();
    (store, repository, SnapshotEntry { name: saved.name, snapshot: saved.snapshot })
}

/// Another snapshot.
pub fn save(repository: &Repository, files: &Files, started: i64) -> Saved {
    let draft = repository.draft().unwrap();
    let mut folders: BTreeMap<&str, Vec<Node>> = BTreeMap::new();
    for (path, bytes) in files {
        let (folder, name) = path.split_once('/').unwrap_or(("", path));
        let content = draft.store(&mut &bytes[..], Hint::Look, &mut Vec::new(), &mut |_| {}).unwrap();
        folders.entry(folder).or_default().push(Node::new(name, NodeKind::File(content)));
    }
    let mut top = folders.remove("").unwrap_or_default();
    for (name, nodes) in folders {
        let totals = Some((nodes.len() as u64, nodes.iter().map(Node::size).sum()));
        top.push(Node { totals, ..Node::new(name, NodeKind::Directory(draft.directory(nodes).unwrap())) });
    }
    let root = draft.directory(top).unwrap();
    let meta = Meta {
        started: (started, 5),
        finished: started + 60,
        source: Source::Folder,
        parent: None,
        files: files.len() as u64,
        bytes: files.values().map(|bytes| bytes.len() as u64).sum(),
        facts: BTreeMap::from([("source.path".into(), "/home".into())]),
        problems: vec![problem("an old one", Severity::Note)],
    };
    draft.commit(root, meta).unwrap()
}

/// A problem of one file.
pub fn problem(path: &str, severity: Severity) -> Problem {
    Problem { kind: ProblemKind::Lost, severity, path: path.into(), detail: String::new() }
}

/// Every file below a root.
pub fn load(repository: &Repository, root: &Content) -> Files {
    let reader = repository.reader().unwrap();
    let mut files = Files::new();
    walk(&reader, root, &mut |found| {
        if let NodeKind::File(content) = &found.node.kind {
            let mut bytes = Vec::new();
            reader.open(content).read_to_end(&mut bytes).unwrap();
            files.insert(String::from_utf8(found.path.to_vec()).unwrap(), bytes);
        }
        Ok(true)
    })
    .unwrap();
    files
}
