//! What a large repository costs: an index of so many chunks, and a snapshot of so many files, both made up.
//!
//! `cargo run --release -p russet-benches --bin scale -- FOLDER [CHUNKS [FILES]]` makes them in FOLDER and prints figures; docs/SCALE.md says what
//! follows from them. Each step is a process of its own, so that its memory is its own.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use russet_apple_format::database::Database;
use russet_apple_format::row::file_id;
use russet_apple_format::{MbFile, Row};
use russet_repository::format::id::{ChunkId, FileName};
use russet_repository::format::index::{IndexFile, IndexedPack};
use russet_repository::format::key::Keys;
use russet_repository::format::pack::{ChunkKind, Codec, Directory, PACK_FRAMES, Segment};
use russet_repository::format::slot::Slot;
use russet_repository::format::snapshot::Source;
use russet_repository::format::tree::{Content, Entry, Node, NodeKind};
use russet_repository::{Hint, KdfChoice, Meta, Repository};
use russet_store::{LocalStore, Name, Result, Store};
use russet_vfs::View;

const PASSWORD: &[u8] = b"password";
/// The least that a reader takes: what deriving a key costs is not measured here.
const CHEAP: KdfChoice = KdfChoice::Argon2id { memory_kib: 19 << 10, passes: 1, lanes: 1 };
/// Of contents that compress to a half, in chunks of 64 KiB: 32 of them in a segment, 16 segments in a pack of 16 MiB.
const MIXED: Shape = Shape { in_segment: 32, segments: 16, len: 64 << 10 };
/// Photos and films: each chunk is a segment.
const DENSE: Shape = Shape { in_segment: 1, segments: 16, len: (1 << 20) - 64 };
const PACKS_PER_INDEX: u64 = 32;

#[derive(Clone, Copy)]
struct Shape {
    in_segment: u64,
    segments: u64,
    len: u32,
}

/// A local store that says it has packs, and counts what is asked of it.
struct Pretended {
    real: LocalStore,
    packs: Vec<(Name, u64)>,
    gets: AtomicU64,
    lists: AtomicU64,
}

impl Store for Pretended {
    fn put(&self, name: &Name, bytes: &[u8]) -> Result<()> {
        self.real.put(name, bytes)
    }

    fn put_new(&self, name: &Name, bytes: &[u8]) -> Result<()> {
        self.real.put_new(name, bytes)
    }

    fn get(&self, name: &Name, range: Range<u64>) -> Result<Vec<u8>> {
        self.gets.fetch_add(1, Ordering::Relaxed);
        self.real.get(name, range)
    }

    fn get_all(&self, name: &Name) -> Result<Vec<u8>> {
        self.gets.fetch_add(1, Ordering::Relaxed);
        self.real.get_all(name)
    }

    fn len(&self, name: &Name) -> Result<u64> {
        self.real.len(name)
    }

    fn list(&self, prefix: &str) -> Result<Vec<(Name, u64)>> {
        let names = if prefix == "packs" { self.packs.clone() } else { self.real.list(prefix)? };
        // An object store gives a thousand names at a time.
        self.lists.fetch_add(names.len().div_ceil(1000).max(1) as u64, Ordering::Relaxed);
        Ok(names)
    }

    fn remove(&self, name: &Name) -> Result<()> {
        self.real.remove(name)
    }

    fn describe(&self) -> String {
        self.real.describe()
    }
}

/// Names and ids that look random: the same number, the same name.
fn spread(what: &str, number: u64) -> [u8; 32] {
    *blake3::keyed_hash(blake3::hash(what.as_bytes()).as_bytes(), &number.to_le_bytes()).as_bytes()
}

fn pack(number: u64, shape: Shape) -> IndexedPack {
    let Shape { in_segment, segments, len } = shape;
    let segment = |segment: u64| {
        let first = (number * segments + segment) * in_segment;
        let chunks: Vec<_> = (first..first + in_segment).map(|n| (ChunkId(spread("chunk", n)), len)).collect();
        let raw_len = len * in_segment as u32;
        let stored_len = if in_segment > 1 { raw_len / 2 } else { raw_len };
        let codec = if in_segment > 1 { Codec::Zstd } else { Codec::Stored };
        Segment { stored_len, raw_len, codec, chunks }
    };
    let directory = Directory { kind: ChunkKind::Data, segments: (0..segments).map(segment).collect() };
    IndexedPack { name: FileName(spread("pack", number)), frames: 257, header_len: 112, directory }
}

fn stored(pack: FileName) -> (Name, u64) {
    let hex = pack.hex();
    (Name::new(format!("packs/{}/{hex}", &hex[..2])).unwrap(), 112 + 257 * ((1 << PACK_FRAMES) + 16))
}

fn keys(store: &dyn Store) -> Keys {
    let slot = Slot::decode(&store.get_all(&store.list("keys").unwrap()[0].0).unwrap()).unwrap();
    slot.open(PASSWORD).unwrap().keys(slot.repository)
}

fn put_index(store: &dyn Store, keys: &Keys, packs: Range<u64>, shape: Shape) {
    let file = IndexFile { packs: packs.map(|number| pack(number, shape)).collect(), supersedes: Vec::new() };
    let bytes = file.seal(keys).unwrap();
    store.put(&Name::new(format!("index/{}", FileName::of(&bytes).hex())).unwrap(), &bytes).unwrap();
}

/// Peak and present memory of this process in MiB.
fn memory() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).map_or(0, |kib: u64| kib >> 10)
    };
    (field("VmHWM:"), field("VmRSS:"))
}

/// Does something, and says how long it took and how much memory it left.
fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let value = work();
    let (peak, now) = memory();
    println!("{what:<58} {:>8.3} s   peak {peak:>5} MiB   then {now:>5} MiB", start.elapsed().as_secs_f64());
    value
}

struct Place {
    folder: PathBuf,
    chunks: u64,
    files: u64,
    shape: Shape,
}

impl Place {
    fn packs(&self) -> u64 {
        self.chunks / (self.shape.segments * self.shape.in_segment)
    }

    /// The repository with so many packs more than it was made with.
    fn open(&self, more: u64) -> (Arc<Pretended>, Repository) {
        let real = LocalStore::open(self.folder.join("index")).unwrap();
        let packs = (0..self.packs() + more).map(|number| stored(FileName(spread("pack", number)))).collect();
        let store = Arc::new(Pretended { real, packs, gets: AtomicU64::new(0), lists: AtomicU64::new(0) });
        let repository = Repository::open(store.clone(), PASSWORD, Some(&self.folder.join("cache"))).unwrap();
        store.gets.store(0, Ordering::Relaxed);
        store.lists.store(0, Ordering::Relaxed);
        (store, repository)
    }

    fn load(&self, what: &str, more: u64) -> (Arc<Pretended>, Repository) {
        let (store, repository) = self.open(more);
        let before = memory();
        let index = timed(what, || repository.index().unwrap());
        let (gets, lists) = (store.gets.load(Ordering::Relaxed), store.lists.load(Ordering::Relaxed));
        println!(
            "    before it {} MiB; {index:?}, {} MiB; {gets} files read, {lists} pages listed",
            before.0,
            index.memory() >> 20
        );
        (store, repository)
    }

    fn make(&self) {
        std::fs::create_dir_all(&self.folder).unwrap();
        let store = Arc::new(LocalStore::create(self.folder.join("index")).unwrap());
        Repository::create(store.clone(), PASSWORD, CHEAP, 0, None).unwrap();
        let keys = keys(&*store);
        let mut packs = 0..self.packs();
        while !packs.is_empty() {
            let some = packs.start..(packs.start + PACKS_PER_INDEX).min(packs.end);
            packs.start = some.end;
            put_index(&*store, &keys, some, self.shape);
        }
        let files = store.list("index").unwrap();
        let bytes: u64 = files.iter().map(|(_, len)| len).sum();
        println!("{} chunks in {} packs, {} index files of {} MiB", self.chunks, self.packs(), files.len(), bytes >> 20);
    }

    fn add(&self) {
        let store = LocalStore::open(self.folder.join("index")).unwrap();
        put_index(&store, &keys(&store), self.packs()..self.packs() + PACKS_PER_INDEX, self.shape);
    }

    /// Asks for every chunk in another order than that of the table, as a backup does, and for as many that are not there.
    fn back_up(&self) {
        let (_store, repository) = self.open(PACKS_PER_INDEX);
        let before = memory().1;
        let draft = timed("a backup begins", || repository.draft().unwrap());
        for (what, of) in [("it asks for every chunk", "chunk"), ("it asks for as many that are not there", "no chunk")] {
            let start = Instant::now();
            let found = (0..self.chunks).filter(|&n| draft.holds(&content(ChunkId(spread(of, n)), 1))).count();
            println!("    {found} found, {:.0} ns each", start.elapsed().as_nanos() as f64 / self.chunks as f64);
            timed(what, || ());
        }
        let now = memory().1;
        println!("    {:.1} bytes of memory for each chunk", ((now - before) << 20) as f64 / self.chunks as f64);
    }

    /// A snapshot of a folder, and one of an Apple backup whose manifest names as many files.
    fn make_snapshots(&self) {
        let store = Arc::new(LocalStore::create(self.folder.join("files")).unwrap());
        let repository = Repository::create(store, PASSWORD, CHEAP, 0, None).unwrap();
        let draft = repository.draft().unwrap();
        let path = |number: u64| format!("Library/Application Support/{:03}/{number:08}.bin", number % 1000);
        let mut shelves: Vec<Vec<Node>> = (0..256).map(|_| Vec::new()).collect();
        let mut database = Database::create().unwrap();
        for number in 0..self.files {
            let (domain, path) = (format!("AppDomain-org.example.app{:03}", number * 300 / self.files), path(number));
            let id = file_id(&domain, &path);
            let record = MbFile { path: path.clone(), size: 100, mode: 0o100644, inode: number, ..MbFile::default() };
            database.insert(&Row { file_id: id, domain, path, flags: 1, blob: record.encode() }).unwrap();
            let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
            let mut node = Node::new(hex, NodeKind::File(content(ChunkId(spread("content", number)), 100)));
            node.mtime = (number as i64, 0);
            shelves[usize::from(id[0])].push(node);
        }
        let mut root = Vec::new();
        for (number, nodes) in shelves.into_iter().enumerate() {
            root.push(Node::new(format!("{number:02x}"), NodeKind::Directory(draft.directory(nodes).unwrap())));
        }
        let manifest = database.serialize().unwrap();
        println!("a manifest of {} MiB", manifest.len() >> 20);
        let manifest = draft.store(&mut &manifest[..], Hint::Look, &mut Vec::new(), &mut |_| {}).unwrap();
        let folder = draft.directory(root.clone()).unwrap();
        root.push(Node::new("Manifest.db", NodeKind::File(manifest)));
        let apple = draft.directory(root).unwrap();
        let meta = |source| Meta {
            started: (source as i64, 0),
            finished: 1,
            source,
            parent: None,
            files: self.files,
            bytes: 100 * self.files,
            facts: Default::default(),
            problems: Vec::new(),
        };
        draft.commit(apple, meta(Source::AppleBackup)).unwrap();
        repository.draft().unwrap().commit(folder, meta(Source::Folder)).unwrap();
    }

    fn list(&self, source: Source) {
        let store = Arc::new(LocalStore::open(self.folder.join("files")).unwrap());
        let repository = Repository::open(store, PASSWORD, None).unwrap();
        let snapshots = repository.snapshots().unwrap().entries;
        let snapshot = &snapshots.iter().find(|entry| entry.snapshot.source == source).unwrap().snapshot;
        timed("    the key is derived and the snapshot is found", || ());
        let view = timed(&format!("{source:?}: all files are listed"), || {
            let view = View::open(repository.reader().unwrap(), snapshot).unwrap();
            let shown: usize = view.items().iter().map(|item| item.shown().len()).sum();
            println!("    {} files, {} MB of names", view.items().len(), shown / 1_000_000);
            view
        });
        timed("    and the folders at the top", || view.list("").unwrap().len());
    }
}

fn content(id: ChunkId, len: u64) -> Content {
    Content { depth: 0, entries: vec![Entry::whole(id, len)] }
}

/// The steps, each a process of its own.
const STEPS: [&str; 9] = ["make", "build", "open", "add", "merge", "back-up", "make-snapshots", "list-folder", "list-apple"];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let folder = arguments.get(1).expect("FOLDER [CHUNKS [FILES [dense]]]");
    let number = |at: usize, default: u64| arguments.get(at).map_or(default, |text| text.parse().unwrap());
    let shape = if arguments.get(4).is_some_and(|shape| shape == "dense") { DENSE } else { MIXED };
    let place = Place { folder: Path::new(folder).to_owned(), chunks: number(2, 10_000_000), files: number(3, 1_300_000), shape };
    match arguments.get(5).map(String::as_str) {
        None => {
            for step in STEPS {
                let shape = arguments.get(4).map_or("mixed", String::as_str);
                let mut command = Command::new(std::env::current_exe().unwrap());
                command.arg(folder).arg(place.chunks.to_string()).arg(place.files.to_string()).args([shape, step]);
                assert!(command.status().unwrap().success(), "{step}");
            }
        }
        Some("make") => place.make(),
        Some("build") => drop(place.load("the index is built of all index files", 0)),
        Some("open") => drop(place.load("the index is opened from the cache", 0)),
        Some("add") => place.add(),
        Some("merge") => drop(place.load("the index is opened after one index file was added", PACKS_PER_INDEX)),
        Some("back-up") => place.back_up(),
        Some("make-snapshots") => place.make_snapshots(),
        Some("list-folder") => place.list(Source::Folder),
        Some("list-apple") => place.list(Source::AppleBackup),
        Some(other) => panic!("no step is called {other}"),
    }
}
