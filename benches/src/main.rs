//! A small fixed backup, restore and verify in one process, for whoever counts or times them: `benches/counts`, `perf`, `benches/run`.
//!
//! `russet-benches backup restore verify` makes its data and a repository in memory, and then takes the steps that are named, in order;
//! without a step it does nothing else. `russet-benches rounds` derives a phone's key with Apple's 10,000,000 rounds, and does nothing else.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use russet_apple_format::keybag::{Keybag, NewKeybag};
use russet_backup::{Request, Saved, Silent, folder};
use russet_benches::{blob, database, text};
use russet_repository::{KdfChoice, Repository, check};
use russet_store::MemoryStore;
use russet_vfs::View;
use russet_vfs::extract::{Selection, extract};
use russet_vfs::target::Options;

/// Apple's number of rounds.
const ROUNDS: u32 = 10_000_000;

fn main() {
    let steps: Vec<String> = std::env::args().skip(1).collect();
    match steps.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["rounds"] => derive(),
        ["rounds", "--by-crate"] => derive_by_crate(),
        ref steps => small_run(steps),
    }
}

fn derive() {
    let bag = NewKeybag { uuid: [0; 16], salt: [1; 20], iterations: 1, double_protection: Some(([2; 20], ROUNDS)), classes: &[] };
    std::hint::black_box(Keybag::create(&bag, "password").unwrap());
}

/// What `derive` is compared with: the crate that its loop is tested against.
fn derive_by_crate() {
    let mut key = [0; 32];
    pbkdf2::pbkdf2_hmac::<sha2::Sha256>(b"password", &[2; 20], ROUNDS, &mut key);
    std::hint::black_box(key);
}

fn small_run(steps: &[&str]) {
    let scratch = tempfile::tempdir().unwrap();
    let source = scratch.path().join("source");
    write_source(&source);
    let cheapest = KdfChoice::Argon2id { memory_kib: 19 * 1024, passes: 1, lanes: 1 };
    let repository = Repository::create(Arc::new(MemoryStore::default()), b"password", cheapest, 0, None).unwrap();
    let mut saved: Option<Saved> = None;
    for (at, step) in steps.iter().enumerate() {
        match *step {
            "backup" => {
                let now = || 1_800_000_000;
                let request = Request {
                    started: (now(), 0),
                    clock: &now,
                    host: String::new(),
                    facts: Default::default(),
                    exclude: Vec::new(),
                };
                saved = Some(folder::import(&repository, &source, &request, &Silent).unwrap());
            }
            "restore" => {
                let snapshot = &saved.as_ref().expect("a backup comes before what needs one").snapshot;
                let view = View::open(repository.reader().unwrap(), snapshot).unwrap();
                let to = scratch.path().join(format!("restored-{at}"));
                let extracted = extract(&view, &Selection::default(), &to, Options::default(), &Silent).unwrap();
                assert!(extracted.failed.is_empty() && extracted.missing.is_empty(), "{extracted:?}");
            }
            "verify" => assert!(check::check(&repository, &[], Some(100), &Silent).unwrap().is_sound()),
            other => panic!("no such step: {other}"),
        }
    }
}

/// Every kind of content that is treated in a way of its own: 11 MiB in 300 files.
fn write_source(folder: &Path) {
    for at in 0..300_u64 {
        let content = match at {
            0 => database(at, 4 << 20),
            1..5 => blob(at, 1 << 20),
            5..8 => text(at, 1 << 20),
            _ => text(at, 200 + (at as usize * 7_919) % 6_000),
        };
        let parent = folder.join(format!("{:02}", at % 16));
        std::fs::create_dir_all(&parent).unwrap();
        std::fs::write(parent.join(format!("{at:03}")), content).unwrap();
    }
}
