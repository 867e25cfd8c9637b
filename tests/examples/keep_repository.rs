//! Makes the repository that is kept of a released version, for `tests/old.rs` to read for ever:
//! `cargo run -p russet-tests --example keep_repository -- tests/repositories/v1`
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::path::PathBuf;

use russet_repository::format::slot::SlotKind;
use russet_specimen::{Layout, Specimen};
use russet_store::LocalStore;
use russet_tests::{QUICK, back_up, back_up_folder, contents, create};

fn main() {
    let to = PathBuf::from(std::env::args().nth(1).expect("the folder to make"));
    let repository = create(LocalStore::create(to.join("repository")).unwrap());
    repository.add_slot(b"a second password", SlotKind::Password, "second", QUICK, 1_700_000_001).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let encrypted = Specimen { odd: true, ..Specimen::default() };
    for generation in [1, 2] {
        let written = encrypted.write(&scratch.path().join("encrypted"), generation).unwrap();
        back_up(&repository, &written.folder, "specimen", generation.into()).unwrap();
    }
    let old = Specimen { seed: 2, layout: Layout::Mbdb, password: None, ..Specimen::default() };
    let written = old.write(&scratch.path().join("old"), 1).unwrap();
    back_up(&repository, &written.folder, "", 3).unwrap();
    let plain = scratch.path().join("folder");
    std::fs::create_dir_all(plain.join("deep/er")).unwrap();
    std::fs::write(plain.join("deep/er/file"), "contents").unwrap();
    std::fs::write(plain.join("empty"), "").unwrap();
    back_up_folder(&repository, &plain, 4).unwrap();

    let mut listing = String::new();
    for (line, hash) in contents(&repository) {
        writeln!(listing, "{hash} {line}").unwrap();
    }
    std::fs::write(to.join("contents.txt"), listing).unwrap();
}
