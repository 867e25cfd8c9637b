//! Times each step on a specimen of 40 MB in a folder of its own: `cargo run --release -p russet-benches`.
//! Works anywhere, needs nothing. For data of a phone's size, and for peers, see `benches/run`.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::sync::Arc;
use std::time::Instant;

use russet_backup::source::{Found, inspect};
use russet_backup::{Request, Saved, Silent, Unlock, apple};
use russet_repository::{KdfChoice, Repository, check};
use russet_specimen::{Size, Specimen};
use russet_store::LocalStore;
use russet_vfs::apple_backup::{Form, export};
use russet_vfs::rehearse::rehearse;
use russet_vfs::target::Options;
use zeroize::Zeroizing;

fn timed<T>(what: &str, bytes: u64, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let value = work();
    let seconds = start.elapsed().as_secs_f64();
    match bytes {
        0 => println!("{what:<38} {seconds:>8.3} s"),
        _ => println!("{what:<38} {seconds:>8.3} s {:>8.0} MB/s", bytes as f64 / 1e6 / seconds),
    }
    value
}

fn main() {
    let scratch = tempfile::tempdir().unwrap();
    let specimen = Specimen { size: Size::Medium, rounds: 10_000_000, ..Specimen::default() };
    let store = Arc::new(LocalStore::create(scratch.path().join("repository")).unwrap());
    let create = || Repository::create(store.clone(), b"password", KdfChoice::default(), 0, None).unwrap();
    let repository = timed("make a repository (Argon2id, 256 MiB)", 0, create);
    let bring_in = |repository: &Repository, folder: &std::path::Path| -> Saved {
        let Found::Apple(folder) = inspect(folder).unwrap() else { panic!("a specimen is an Apple backup") };
        let request =
            Request { started: (0, 0), clock: &|| 0, host: String::new(), facts: Default::default(), exclude: Vec::new() };
        let mut ask = |_: &russet_backup::Ask<'_>| Some(Zeroizing::new("specimen".to_owned()));
        apple::import(repository, &folder, Unlock::Ask(&mut ask), &request, &Silent).unwrap()
    };
    let folder = specimen.write(&scratch.path().join("phone"), 1).unwrap().folder;
    let unlock_only = Specimen { seed: 9, rounds: 10_000_000, ..Specimen::default() };
    let small = unlock_only.write(&scratch.path().join("small"), 1).unwrap().folder;
    timed("first backup, 2 MB (10,000,000 rounds)", 0, || bring_in(&repository, &small));
    let bytes = bring_in(&repository, &small).snapshot.bytes;
    timed("unchanged backup, 2 MB", bytes, || bring_in(&repository, &small));
    let first = bring_in(&repository, &folder);
    let bytes = first.snapshot.bytes;
    println!("  {} files, {bytes} bytes, {} stored", first.snapshot.files, first.snapshot.stored_bytes);
    timed("unchanged backup, 40 MB", bytes, || bring_in(&repository, &folder));
    let folder = specimen.write(&scratch.path().join("phone"), 2).unwrap().folder;
    let second = timed("a day later", bytes, || bring_in(&repository, &folder));
    println!("  {} bytes new, {} stored", second.snapshot.new_bytes, second.snapshot.stored_bytes);
    let out = scratch.path().join("out");
    timed("Apple's folder made again", bytes, || {
        export(&repository, &second.snapshot, &out, Form::AsItCame, Options::default(), &Silent).unwrap()
    });
    timed("verify --read-data: packs", bytes, || check::check(&repository, &[], Some(100), &Silent).unwrap());
    let snapshots = repository.snapshots().unwrap().entries;
    timed("verify --read-data: rehearsal", bytes, || {
        rehearse(&repository.reader().unwrap(), &snapshots, 100, 0, &Silent).unwrap()
    });
}
