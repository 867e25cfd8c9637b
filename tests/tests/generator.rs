//! Every generation of whole backup folders from a generator that is not ours, strange cases included: in, and out again bit for bit.
//!
//! Skipped, and said so, where `../shared` or Python's `cryptography` is not there.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use russet_repository::format::snapshot::ProblemKind;
use russet_repository::{Repository, Saved, Silent, check};
use russet_store::MemoryStore;
use russet_tests::{apple_folder, back_up, create, differences, shared};
use russet_vfs::apple_backup::{Form, export};
use russet_vfs::rehearse::{Extent, rehearse};
use russet_vfs::target::Options;
use russet_vfs::{View, extract};
use sha2::{Digest, Sha256};

const SIZE: &str = "12M";

struct Generator {
    python: PathBuf,
    script: PathBuf,
}

impl Generator {
    fn find() -> Option<Generator> {
        let script = shared("tools/make_apple_backup.py")?;
        let candidates = [std::env::var_os("RUSSET_PYTHON").map(PathBuf::from), Some("python3".into())];
        let works = |python: &PathBuf| {
            Command::new(python).args(["-c", "import cryptography"]).output().is_ok_and(|output| output.status.success())
        };
        let python = candidates.into_iter().flatten().find(works);
        if python.is_none() {
            eprintln!("skipped: no Python with the package cryptography");
        }
        Some(Generator { python: python?, script })
    }

    /// Updates the folder in place to a generation, and gives the truth about it.
    fn make(&self, out: &Path, generation: u32, encrypted: bool) -> HashMap<(String, String), Truth> {
        let truth = out.with_extension("truth");
        let mut command = Command::new(&self.python);
        command.arg(&self.script).arg("--out").arg(out).args(["--seed", "3", "--size", SIZE, "--odd", "--quiet"]);
        command.arg("--generation").arg(generation.to_string()).arg("--truth").arg(&truth);
        match encrypted {
            true => command.args(["--password", "pw"]),
            false => command.arg("--plain"),
        };
        assert!(command.status().unwrap().success());
        let line = |line: &str| {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
            let stored = value["stored"].as_bool().unwrap_or(true);
            ((text("domain"), text("path")), Truth { sha256: text("sha256"), stored, odd: text("odd") })
        };
        std::fs::read_to_string(truth).unwrap().lines().map(line).collect()
    }
}

struct Truth {
    sha256: String,
    stored: bool,
    odd: String,
}

fn sha256(mut content: impl Read) -> String {
    let mut bytes = Vec::new();
    content.read_to_end(&mut bytes).unwrap();
    Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn compare_with_truth(repository: &Repository, saved: &Saved, truth: &HashMap<(String, String), Truth>) {
    let view = View::open(repository.reader().unwrap(), &saved.snapshot).unwrap();
    let mut equal = 0;
    for ((domain, path), wanted) in truth {
        let item = view.item(domain, path).unwrap_or_else(|| panic!("{domain}/{path} is not listed"));
        assert_eq!(item.node.is_some(), wanted.stored, "{domain}/{path}");
        if !wanted.stored || wanted.odd == "stored-truncated" {
            continue;
        }
        // Without a key nobody can know what is garbage.
        if wanted.odd.starts_with("trailing-garbage") && saved.snapshot.facts["apple.encrypted"] == "no" {
            continue;
        }
        assert_eq!(sha256(view.read(item).unwrap()), wanted.sha256, "{domain}/{path} {}", wanted.odd);
        equal += 1;
    }
    assert!(equal > 400, "{equal} files were compared");
}

fn three_generations(encrypted: bool) {
    let Some(generator) = Generator::find() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let live = scratch.path().join("live");
    let store = MemoryStore::default();
    let repository = create(store.clone());
    let mut dates = Vec::new();
    for generation in 1..=3 {
        let truth = generator.make(&live, generation, encrypted);
        let folder = apple_folder(&live).path;
        let kept = scratch.path().join(format!("kept-{generation}"));
        assert!(Command::new("cp").arg("-a").arg(&folder).arg(&kept).status().unwrap().success());
        let saved = back_up(&repository, &live, "pw", generation.into()).unwrap();
        let kinds: Vec<ProblemKind> = saved.snapshot.problems.iter().map(|p| p.kind).collect();
        assert!(kinds.contains(&ProblemKind::Missing) && kinds.contains(&ProblemKind::Unlisted), "{kinds:?}");
        compare_with_truth(&repository, &saved, &truth);
        dates.push((saved, kept));
    }
    for (number, (saved, kept)) in dates.iter().enumerate() {
        let out = scratch.path().join(format!("out-{number}"));
        let exported = export(&repository, &saved.snapshot, &out, Form::AsItCame, Options::default(), &Silent).unwrap();
        assert!(exported.failed.is_empty(), "{:?}", exported.failed);
        assert_eq!(differences(kept, &out), [""; 0], "generation {}", number + 1);

        let human = scratch.path().join(format!("human-{number}"));
        let view = View::open(repository.reader().unwrap(), &saved.snapshot).unwrap();
        let written = extract::extract(&view, &extract::Selection::default(), &human, Options::default(), &Silent).unwrap();
        assert!(written.failed.is_empty() && written.written.skipped.len() <= 1, "{written:?}");
        assert!(!written.written.renamed.is_empty(), "names that lead out of the folder are renamed and reported");
    }
    assert!(std::fs::read_dir(scratch.path()).unwrap().all(|e| !e.unwrap().file_name().to_string_lossy().contains("escape")));
    assert!(check::check(&repository, &[], Some(100), &Silent).unwrap().is_sound());
    let snapshots = repository.snapshots().unwrap().entries;
    let rehearsal =
        rehearse(&repository.reader().unwrap(), &snapshots, Extent::Share { percent: 100, seed: 1 }, &Silent).unwrap();
    assert!(rehearsal.failed.is_empty() && rehearsal.databases > 5, "{rehearsal:?}");

    let again = back_up(&repository, &live, "a password is not even asked for", 9).unwrap();
    assert_eq!(again.snapshot.new_bytes, 0);
}

#[test]
fn three_generations_of_an_encrypted_backup_come_back_bit_for_bit() {
    three_generations(true);
}

#[test]
fn three_generations_of_a_plain_backup_come_back_bit_for_bit() {
    three_generations(false);
}

#[test]
fn a_plain_export_of_an_encrypted_backup_reads_as_a_plain_backup_with_the_same_contents() {
    let Some(generator) = Generator::find() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let live = scratch.path().join("live");
    let truth = generator.make(&live, 1, true);
    let repository = create(MemoryStore::default());
    let saved = back_up(&repository, &live, "pw", 1).unwrap();
    let out = scratch.path().join("plain");
    let exported = export(&repository, &saved.snapshot, &out, Form::Plain, Options::default(), &Silent).unwrap();
    assert!(exported.failed.is_empty(), "{:?}", exported.failed);

    assert!(!apple_folder(&out).encrypted);
    let plain = back_up(&repository, &out, "no password is asked for", 2).unwrap();
    let digests = plain.snapshot.problems.iter().filter(|p| p.kind == ProblemKind::DigestDiffers).count();
    assert_eq!(digests, 0, "digests are those of the plain files");
    let view = View::open(repository.reader().unwrap(), &plain.snapshot).unwrap();
    for ((domain, path), wanted) in truth.iter().filter(|(_, t)| t.stored && t.odd != "stored-truncated") {
        let item = view.item(domain, path).unwrap();
        assert_eq!(sha256(view.read(item).unwrap()), wanted.sha256, "{domain}/{path} {}", wanted.odd);
    }
}
