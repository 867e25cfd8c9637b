//! Over a whole small life of a repository no key ever meets a nonce twice.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod dates;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex};

use dates::{DAY, T0, create, files, open, save};
use russet_format::key_file::KeyFile;
use russet_format::slot::SlotKind;
use russet_repository::prune::{Grace, Options, prune};
use russet_repository::{KdfChoice, Repository, Silent};
use russet_store::{MemoryStore, Name, Result, Store};

/// Files with their kinds.
type Files = BTreeSet<(String, Vec<u8>)>;

/// A store that keeps a copy of whatever was ever put.
#[derive(Clone)]
struct Recorder {
    inner: MemoryStore,
    ever: Arc<Mutex<Files>>,
}

impl Recorder {
    fn record(&self, name: &Name, bytes: &[u8]) {
        let kind = name.as_str().trim_start_matches("mirror/").split('/').next().unwrap().to_owned();
        self.ever.lock().unwrap().insert((kind, bytes.to_vec()));
    }
}

impl Store for Recorder {
    fn put(&self, name: &Name, bytes: &[u8]) -> Result<()> {
        self.record(name, bytes);
        self.inner.put(name, bytes)
    }
    fn put_new(&self, name: &Name, bytes: &[u8]) -> Result<()> {
        self.record(name, bytes);
        self.inner.put_new(name, bytes)
    }
    fn get(&self, name: &Name, range: Range<u64>) -> Result<Vec<u8>> {
        self.inner.get(name, range)
    }
    fn get_all(&self, name: &Name) -> Result<Vec<u8>> {
        self.inner.get_all(name)
    }
    fn len(&self, name: &Name) -> Result<u64> {
        self.inner.len(name)
    }
    fn list(&self, prefix: &str) -> Result<Vec<(Name, u64)>> {
        self.inner.list(prefix)
    }
    fn remove(&self, name: &Name) -> Result<()> {
        self.inner.remove(name)
    }
    fn describe(&self) -> String {
        self.inner.describe()
    }
}

/// What seals a file's data key, by the header: envelope and generation, and with it the nonce, the sealed data key, and all before the frames.
struct Sealed {
    wrapping: (u8, u16),
    nonce: Vec<u8>,
    data_key: Vec<u8>,
    header: Vec<u8>,
}

fn sealed(file: &[u8]) -> Sealed {
    let envelope = file[24];
    let from = if envelope == 2 { 40 + 1120 } else { 40 };
    Sealed {
        // Envelope 2 wraps with a key of its own for each file.
        wrapping: (envelope, u16::from_le_bytes([file[26], file[27]])),
        nonce: file[from..from + 24].to_vec(),
        data_key: file[from + 24..from + 72].to_vec(),
        header: file[..from + 72].to_vec(),
    }
}

#[test]
fn no_key_meets_a_nonce_twice_in_the_whole_life_of_a_repository() {
    let (inner, key) = create();
    let store = Recorder { inner, ever: Arc::default() };
    let repository = || open(store.clone(), &key).unwrap();
    for life in 0..3 {
        let start = T0 + life * 40 * DAY;
        for day in 0..6u64 {
            let changed = files(&[("a/1", 1, 90_000), ("a/2", 10 * life as u64 + day, 40_000), ("b", 7, 300)]);
            save(&repository(), &changed, start + day as i64 * DAY).unwrap();
        }
        // The same bytes again, by a key that only adds.
        let file = KeyFile::random(repository().id()).unwrap();
        repository().add_write_only_slot(&file, "box", 5).unwrap();
        save(
            &open(store.clone(), &file).unwrap(),
            &files(&[("a/1", 1, 90_000), ("d", 900 + life as u64, 9_000)]),
            start + 7 * DAY,
        )
        .unwrap();
        repository().keep_secrets("phone", &[("password", b"hunter2")], start).unwrap();
        repository().keep_secrets("phone", &[("password", b"hunter2")], start).unwrap();
        let entries = repository().snapshots().unwrap().entries;
        repository().pin(entries[0].name, "the first", start).unwrap();
        let going: Vec<_> = entries.iter().skip(1).step_by(2).map(|entry| entry.name).collect();
        repository().forget(&going, start + 8 * DAY).unwrap();
        for day in [9, 11, 13] {
            let options = Options { most_unused: 0.0, grace: Grace::Seconds(DAY), dry_run: false };
            prune(&repository(), &options, start + day * DAY, &Silent).unwrap();
        }
        let mut rotating = repository();
        rotating.rotate(key.password(), SlotKind::KeyFile, "desk", KdfChoice::RandomKey, 9).unwrap();
        rotating.reseal(&Silent).unwrap();
        repository().add_slot(&[life as u8; 32], SlotKind::KeyFile, "another", KdfChoice::RandomKey, 5).unwrap();
    }
    let (to, to_key) = create();
    let copy = Recorder { inner: to, ever: store.ever.clone() };
    let into: Repository = open(copy, &to_key).unwrap();
    russet_repository::copy::copy(&repository(), &into, &repository().snapshots().unwrap().entries, T0, &Silent).unwrap();

    let ever = store.ever.lock().unwrap();
    let (mut nonces, mut data_keys, mut headers) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let (mut salts, mut slot_nonces) = (BTreeSet::new(), BTreeSet::new());
    let mut counted = BTreeMap::<&str, u64>::new();
    for (kind, bytes) in ever.iter().filter(|(kind, _)| kind != "config") {
        *counted.entry(kind).or_default() += 1;
        if kind == "keys" {
            // The salt makes the key: 32 bytes, after a label of any length and the parameters; the commitment and the nonce follow.
            let label = usize::from(u16::from_le_bytes([bytes[34], bytes[35]]));
            let at = 36 + label + if bytes[25] & 0x80 != 0 { 2 } else { 0 } + 13;
            assert!(salts.insert(bytes[at..at + 32].to_vec()), "two slots have one salt");
            assert!(slot_nonces.insert(bytes[at + 64..at + 88].to_vec()), "two slots have one nonce");
            continue;
        }
        let sealed = sealed(bytes);
        let repository = &bytes[8..24];
        assert!(nonces.insert((repository, sealed.wrapping, sealed.nonce)), "a nonce met its key twice: {kind}");
        assert!(data_keys.insert(sealed.data_key), "two files have one data key: {kind}");
        // Frames are numbered, and their key follows from the data key and all of the header.
        assert!(headers.insert(sealed.header), "two files have one key of frames: {kind}");
    }
    let all: u64 = counted.values().sum();
    eprintln!("{all} sealed files and slots: {counted:?}");
    assert!(counted.len() == 6 && all > 150, "{counted:?}");
}
