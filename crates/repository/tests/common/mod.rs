//! What the tests of forgetting and pruning share: small repositories, made and opened quickly.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use russet_format::snapshot::Source;
use russet_format::tree::{Node, NodeKind};
use russet_repository::{Hint, KdfChoice, Meta, Repository, RepositoryError, Saved};
use russet_store::{MemoryStore, Store};

/// Files of one folder, by name.
pub type Files = BTreeMap<String, Vec<u8>>;

const QUICK: KdfChoice = KdfChoice::Argon2id { memory_kib: 19 * 1024, passes: 1, lanes: 1 };

pub fn create(store: &MemoryStore) -> Repository {
    Repository::create(Arc::new(store.clone()), b"pw", QUICK, 1, None).unwrap()
}

pub fn open(store: Arc<dyn Store>) -> Repository {
    Repository::open(store, b"pw", None).unwrap()
}

pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// One file of noise.
pub fn file(name: &str, seed: u64, len: usize) -> Files {
    Files::from([(name.to_owned(), noise(seed, len))])
}

pub fn meta(now: i64) -> Meta {
    Meta {
        started: (now, 0),
        finished: now,
        source: Source::Folder,
        parent: None,
        files: 0,
        bytes: 0,
        facts: BTreeMap::new(),
        problems: Vec::new(),
    }
}

pub fn save(repository: &Repository, files: &Files, now: i64) -> Result<Saved, RepositoryError> {
    let draft = repository.draft()?;
    let mut nodes = Vec::new();
    for (name, bytes) in files {
        let content = draft.store(&mut &bytes[..], Hint::Look, &mut Vec::new(), &mut |_| {})?;
        nodes.push(Node::new(name.as_bytes(), NodeKind::File(content)));
    }
    let root = draft.directory(nodes)?;
    draft.commit(root, meta(now))
}

pub fn load(repository: &Repository, saved: &Saved) -> Files {
    let reader = repository.reader().unwrap();
    let read = |node: &Node| {
        let NodeKind::File(content) = &node.kind else { panic!("not a file") };
        let mut bytes = Vec::new();
        reader.open(content).read_to_end(&mut bytes).unwrap();
        (String::from_utf8(node.name.clone()).unwrap(), bytes)
    };
    reader.nodes(&saved.snapshot.root).unwrap().iter().map(read).collect()
}
