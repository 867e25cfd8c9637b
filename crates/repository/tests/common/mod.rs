//! What the tests of forgetting and pruning share: small repositories, made and opened quickly.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::sync::Arc;

use russet_format::id::FileName;
use russet_format::snapshot::Source;
use russet_format::tree::{Content, Node, NodeKind};
use russet_repository::prune::{Grace, Options};
use russet_repository::{Draft, Hint, KdfChoice, Meta, Repository, RepositoryError, Saved, Silent, check};
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

pub const DAY: i64 = 86_400;
/// When the tests begin.
pub const T0: i64 = 1_795_419_000;
/// The least grace, and packs are written again for a twentieth.
pub const OPTIONS: Options = Options { most_unused: 0.05, grace: Grace::Seconds(DAY), dry_run: false };

/// Snapshots and what must be in them.
pub type Truth = Vec<(FileName, Files)>;

/// A repository in which something is unused.
pub struct World {
    pub store: MemoryStore,
    pub truth: Truth,
}

/// Three snapshots were made and two of them forgotten: one pack is partly used, one not at all.
pub fn world() -> World {
    let store = MemoryStore::default();
    let repository = create(&store);
    let [large, small] = [200_000, 60_000];
    let first = [("a1", 1, large), ("a2", 2, small), ("a3", 3, small)];
    let second = [("a1", 1, large), ("b1", 4, large)];
    let third = [("b1", 4, large), ("c1", 5, small)];
    let [gone, kept, gone_too] = [files(&first), files(&second), files(&third)].map(|files| {
        let saved = save(&repository, &files, T0 - 9 * DAY).unwrap();
        (saved.name, files)
    });
    repository.forget(&[gone.0, gone_too.0], T0 - DAY).unwrap();
    World { store, truth: vec![kept] }
}

/// Files that were in forgotten snapshots, and a new one.
pub fn again() -> Files {
    files(&[("a2", 2, 60_000), ("c1", 5, 60_000), ("d", 6, 60_000)])
}

fn files(named: &[(&str, u64, usize)]) -> Files {
    named.iter().map(|&(name, seed, len)| (name.to_owned(), noise(seed, len))).collect()
}

/// Ends a draft that was begun, at `now`.
pub fn commit(draft: Draft, files: &Files, now: i64) -> Result<Saved, RepositoryError> {
    let mut nodes = Vec::new();
    for (name, bytes) in files {
        let content = draft.store(&mut &bytes[..], Hint::Look, &mut Vec::new(), &mut |_| {})?;
        nodes.push(Node::new(name.as_bytes(), NodeKind::File(content)));
    }
    let root = draft.directory(nodes)?;
    draft.commit(root, meta(now))
}

pub fn save(repository: &Repository, files: &Files, now: i64) -> Result<Saved, RepositoryError> {
    commit(repository.draft()?, files, now)
}

pub fn load(repository: &Repository, saved: &Saved) -> Files {
    read(repository, &saved.snapshot.root)
}

fn read(repository: &Repository, root: &Content) -> Files {
    let reader = repository.reader().unwrap();
    let read = |node: &Node| {
        let NodeKind::File(content) = &node.kind else { panic!("not a file") };
        let mut bytes = Vec::new();
        reader.open(content).read_to_end(&mut bytes).unwrap();
        (String::from_utf8(node.name.clone()).unwrap(), bytes)
    };
    reader.nodes(root).unwrap().iter().map(read).collect()
}

/// Every byte that is stored verifies, and these snapshots are there, no others, and read back as what they were.
#[track_caller]
pub fn sound(store: &MemoryStore, truth: &[(FileName, Files)]) {
    is_sound(&open(Arc::new(store.clone())), truth);
}

/// The same of a repository that was opened, or that pruned, just now.
#[track_caller]
pub fn is_sound(repository: &Repository, truth: &[(FileName, Files)]) {
    let report = check::check(repository, &[], Some(100), &Silent).unwrap();
    assert!(report.is_sound(), "{report:?}");
    let there = repository.snapshots().unwrap().entries;
    let names = |names: &mut dyn Iterator<Item = FileName>| names.collect::<BTreeSet<FileName>>();
    assert_eq!(names(&mut there.iter().map(|e| e.name)), names(&mut truth.iter().map(|(name, _)| *name)));
    for entry in there {
        let (_, files) = truth.iter().find(|(name, _)| *name == entry.name).unwrap();
        assert!(read(repository, &entry.snapshot.root) == *files);
    }
}
