//! Apple backups of every layout: in, and out again, with every contents as the phone had it.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Read;
use std::path::Path;

use russet_backup::source::{self, Found};
use russet_backup::{BackupError, Silent, Unlock, apple};
use russet_repository::format::snapshot::{ProblemKind, Severity};
use russet_repository::{Repository, Saved, check};
use russet_specimen::{Layout, Size, Specimen, TruthKind, Written};
use russet_store::MemoryStore;
use russet_tests::{apple_folder, back_up, create, differences, request, shared};
use russet_vfs::apple_backup::{Form, export};
use russet_vfs::extract::{Selection, extract};
use russet_vfs::target::Options;
use russet_vfs::{VfsError, View};

fn compare_with_truth(repository: &Repository, saved: &Saved, written: &Written) {
    let view = View::open(repository.reader().unwrap(), &saved.snapshot).unwrap();
    for truth in &written.truth {
        let item = view.item(&truth.domain, &truth.path).unwrap_or_else(|| panic!("{truth:?} is not listed"));
        let TruthKind::File(wanted) = &truth.kind else { continue };
        if !truth.intact {
            continue;
        }
        let mut plain = Vec::new();
        view.read(item).unwrap().read_to_end(&mut plain).unwrap();
        assert_eq!(*blake3::hash(&plain).as_bytes(), wanted.blake3, "{}/{} {:?}", truth.domain, truth.path, truth.odd);
        assert_eq!(item.size, wanted.size);
    }
}

fn copy(from: &Path, to: &Path) {
    for (path, content) in russet_tests::listing(from) {
        let target = to.join(path);
        match &content[..] {
            b"folder" => fs::create_dir_all(target).unwrap(),
            _ => {
                fs::create_dir_all(target.parent().unwrap()).unwrap();
                fs::write(target, content).unwrap();
            }
        }
    }
}

#[test]
fn every_layout_and_generation_comes_back_as_the_phone_had_it() {
    for layout in [Layout::Database, Layout::DatabaseClearManifest, Layout::Mbdb] {
        for password in [Some("pw"), None] {
            let specimen = Specimen { layout, password: password.map(Into::into), odd: true, ..Specimen::default() };
            let scratch = tempfile::tempdir().unwrap();
            let repository = create(MemoryStore::default());
            let mut dates = Vec::new();
            for generation in 1..=3 {
                let written = specimen.write(&scratch.path().join("live"), generation).unwrap();
                let saved = back_up(&repository, &written.folder, "pw", generation.into()).unwrap();
                compare_with_truth(&repository, &saved, &written);
                let kept = scratch.path().join(format!("kept-{generation}"));
                copy(&written.folder, &kept);
                dates.push((saved, kept));
            }
            for (saved, kept) in &dates {
                let out = kept.with_extension("out");
                let exported = export(&repository, &saved.snapshot, &out, Form::AsItCame, Options::default(), &Silent).unwrap();
                assert!(exported.failed.is_empty(), "{layout:?} {password:?} {:?}", exported.failed);
                assert_eq!(differences(kept, &out), [""; 0], "{layout:?} {password:?}");
            }
            assert!(check::check(&repository, &[], Some(100), &Silent).unwrap().is_sound());
        }
    }
}

#[test]
fn a_plain_export_is_a_plain_backup_in_every_layout() {
    for layout in [Layout::Database, Layout::DatabaseClearManifest, Layout::Mbdb] {
        let specimen = Specimen { layout, ..Specimen::default() };
        let scratch = tempfile::tempdir().unwrap();
        let written = specimen.write(scratch.path(), 1).unwrap();
        let repository = create(MemoryStore::default());
        let saved = back_up(&repository, &written.folder, "specimen", 1).unwrap();
        let out = scratch.path().join("plain");
        export(&repository, &saved.snapshot, &out, Form::Plain, Options::default(), &Silent).unwrap();
        assert!(!apple_folder(&out).encrypted, "{layout:?}");
        let plain = back_up(&repository, &out, "nobody asks", 2).unwrap();
        compare_with_truth(&repository, &plain, &written);
        let wrong_digests = plain.snapshot.problems.iter().filter(|p| p.kind == ProblemKind::DigestDiffers).count();
        assert_eq!(wrong_digests, 0, "{layout:?}");
    }
}

#[test]
fn an_unchanged_backup_is_not_read_again_and_a_touched_one_costs_no_space() {
    let scratch = tempfile::tempdir().unwrap();
    let written = Specimen::default().write(scratch.path(), 1).unwrap();
    let repository = create(MemoryStore::default());
    back_up(&repository, &written.folder, "specimen", 1).unwrap();
    // Contents that cannot be read any more prove that nobody tries.
    let blob = fs::read_dir(&written.folder).unwrap().map(|e| e.unwrap().path()).find(|p| p.is_dir()).unwrap();
    let blob = fs::read_dir(blob).unwrap().next().unwrap().unwrap().path();
    let (modified, len) = (fs::metadata(&blob).unwrap().modified().unwrap(), fs::metadata(&blob).unwrap().len());
    fs::write(&blob, vec![0; len as usize]).unwrap();
    fs::File::options().write(true).open(&blob).unwrap().set_modified(modified).unwrap();
    let second = back_up(&repository, &written.folder, "specimen", 2).unwrap();
    assert_eq!(second.snapshot.new_bytes, 0);
    assert!(second.snapshot.problems.is_empty(), "{:?}", second.snapshot.problems);
}

#[test]
fn a_wrong_phone_password_is_refused_before_anything_is_stored() {
    let scratch = tempfile::tempdir().unwrap();
    let written = Specimen::default().write(scratch.path(), 1).unwrap();
    let store = MemoryStore::default();
    let repository = create(store.clone());
    let before = store.names();
    let outcome = back_up(&repository, &written.folder, "not it", 1);
    assert!(matches!(outcome, Err(BackupError::WrongPhonePassword { .. })), "{outcome:?}");
    let outcome =
        apple::import(&repository, &apple_folder(&written.folder), Unlock::Ask(&mut |_| None), &request(1, &|| 0), &Silent);
    assert!(matches!(outcome, Err(BackupError::NoPhonePassword { .. })), "{outcome:?}");
    assert_eq!(store.names(), before);
}

#[test]
fn the_phone_password_is_asked_for_once_and_kept_sealed() {
    let scratch = tempfile::tempdir().unwrap();
    let password = "a password that is easy to find";
    let specimen = Specimen { password: Some(password.into()), ..Specimen::default() };
    let written = specimen.write(scratch.path(), 1).unwrap();
    let store = MemoryStore::default();
    let repository = create(store.clone());
    back_up(&repository, &written.folder, password, 1).unwrap();
    let nobody_asks = apple::import(
        &repository,
        &apple_folder(&written.folder),
        Unlock::Ask(&mut |_| panic!("asked again")),
        &request(2, &|| 0),
        &Silent,
    );
    nobody_asks.unwrap();
    for (name, bytes) in store.snapshot() {
        assert!(!bytes.windows(password.len()).any(|w| w == password.as_bytes()), "{name} shows the password");
    }
}

#[test]
fn an_encrypted_backup_without_its_password_is_kept_as_it_is_and_given_back_whole() {
    let scratch = tempfile::tempdir().unwrap();
    let written = Specimen::default().write(scratch.path(), 1).unwrap();
    let repository = create(MemoryStore::default());
    let folder = apple_folder(&written.folder);
    let saved = apple::import(&repository, &folder, Unlock::Without, &request(1, &|| 0), &Silent).unwrap();
    let view = View::open(repository.reader().unwrap(), &saved.snapshot).unwrap();
    assert!(!view.has_domains());
    assert!(view.coverage(u64::MAX).absent.iter().any(|absent| absent.why.contains("without the phone's password")));
    let out = scratch.path().join("out");
    export(&repository, &saved.snapshot, &out, Form::AsItCame, Options::default(), &Silent).unwrap();
    assert_eq!(differences(&written.folder, &out), [""; 0]);
    let plain = export(&repository, &saved.snapshot, &scratch.path().join("p"), Form::Plain, Options::default(), &Silent);
    assert!(matches!(plain, Err(VfsError::Locked)));
    // Once the password is known, the same files are unlocked.
    let unlocked = back_up(&repository, &written.folder, "specimen", 2).unwrap();
    compare_with_truth(&repository, &unlocked, &written);
}

#[test]
fn a_plain_backup_names_what_it_lacks_and_an_encrypted_one_has_it() {
    let lacking = |password: Option<&str>| {
        let scratch = tempfile::tempdir().unwrap();
        let specimen = Specimen { password: password.map(Into::into), ..Specimen::default() };
        let written = specimen.write(scratch.path(), 1).unwrap();
        let repository = create(MemoryStore::default());
        let saved = back_up(&repository, &written.folder, "pw", 1).unwrap();
        let coverage = View::open(repository.reader().unwrap(), &saved.snapshot).unwrap().coverage(u64::MAX);
        assert!(coverage.present.iter().any(|p| p.what == "Messages"), "{coverage:?}");
        coverage.absent.iter().any(|absent| absent.what.contains("Health") && absent.what.contains("passwords"))
    };
    assert!(lacking(None));
    assert!(!lacking(Some("pw")));
}

#[test]
fn missing_cut_and_extra_files_are_named_and_fail_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let specimen = Specimen { odd: true, size: Size::Small, ..Specimen::default() };
    let written = specimen.write(scratch.path(), 1).unwrap();
    let repository = create(MemoryStore::default());
    let saved = back_up(&repository, &written.folder, "specimen", 1).unwrap();
    let problems = &saved.snapshot.problems;
    for kind in
        [ProblemKind::Missing, ProblemKind::Cut, ProblemKind::Unlisted, ProblemKind::SizeDiffers, ProblemKind::DigestDiffers]
    {
        assert!(problems.iter().any(|problem| problem.kind == kind), "{kind:?}: {problems:?}");
    }
    assert!(!saved.snapshot.whole && problems.iter().any(|p| p.severity == Severity::Loss));
}

#[test]
fn an_app_or_a_picture_comes_out_alone_and_nothing_is_overwritten_unasked() {
    let scratch = tempfile::tempdir().unwrap();
    let written = Specimen::default().write(scratch.path(), 1).unwrap();
    let repository = create(MemoryStore::default());
    let saved = back_up(&repository, &written.folder, "specimen", 1).unwrap();
    let view = View::open(repository.reader().unwrap(), &saved.snapshot).unwrap();
    let to = scratch.path().join("photos");
    let photos = Selection { path: Some("Media/DCIM/**/*.JPG".into()), ..Selection::default() };
    let first = extract(&view, &photos, &to, Options::default(), &Silent).unwrap();
    assert!(first.written.files > 0 && first.failed.is_empty(), "{first:?}");
    let again = extract(&view, &photos, &to, Options::default(), &Silent).unwrap();
    assert_eq!((again.written.files, again.written.skipped.len() as u64), (0, first.written.files));
    let over = Options { overwrite: true, ..Options::default() };
    assert_eq!(extract(&view, &photos, &to, over, &Silent).unwrap().written.files, first.written.files);
    let nothing = Selection { apps: vec!["com.example.nobody".into()], ..Selection::default() };
    assert!(matches!(extract(&view, &nothing, &to, Options::default(), &Silent), Err(VfsError::NoPath { .. })));
}

#[test]
fn a_folder_of_several_backups_is_told_from_one_and_from_any_other() {
    let scratch = tempfile::tempdir().unwrap();
    for seed in [1, 2] {
        let _ = Specimen { seed, ..Specimen::default() }.write(&scratch.path().join("Backup"), 1).unwrap();
    }
    assert!(
        matches!(source::inspect(&scratch.path().join("Backup")).unwrap(), Found::Several { backups, failed } if backups.len() == 2 && failed.is_empty())
    );
    assert!(matches!(source::inspect(scratch.path()).unwrap(), Found::Folder(_)));
    let third = Specimen { seed: 3, ..Specimen::default() }.write(&scratch.path().join("Backup"), 1).unwrap();
    fs::write(third.folder.join("Manifest.plist"), "").unwrap();
    let found = source::inspect(&scratch.path().join("Backup")).unwrap();
    assert!(
        matches!(found, Found::Several { backups, failed } if backups.len() == 2 && failed.len() == 1),
        "none is left out silently"
    );
    fs::write(scratch.path().join("file"), "x").unwrap();
    assert!(matches!(source::inspect(&scratch.path().join("file")), Err(BackupError::NotAFolder { .. })));
}

/// Writes to files as soon as the backup begins to store.
struct Meddler(Vec<std::path::PathBuf>);

impl russet_backup::Progress for Meddler {
    fn phase(&self, phase: russet_backup::Phase, _: u64, _: u64) {
        if phase == russet_backup::Phase::Storing {
            for path in &self.0 {
                let mut bytes = fs::read(path).unwrap();
                bytes.extend_from_slice(&[0; 32]);
                fs::write(path, bytes).unwrap();
            }
        }
    }
    fn advance(&self, _: u64, _: u64) {}
}

#[test]
fn a_backup_folder_that_changes_while_it_is_read_is_noticed() {
    let scratch = tempfile::tempdir().unwrap();
    let written = Specimen::default().write(scratch.path(), 1).unwrap();
    let sms = written.truth.iter().find(|truth| truth.path == "Library/SMS/sms.db").unwrap();
    let blob = written.folder.join(&sms.file_id[..2]).join(&sms.file_id);
    let meddler = Meddler(vec![blob, written.folder.join("Manifest.plist")]);
    let repository = create(MemoryStore::default());
    let mut ask = |_: &russet_backup::Ask<'_>| Some("specimen".to_owned().into());
    let folder = apple_folder(&written.folder);
    let saved = apple::import(&repository, &folder, Unlock::Ask(&mut ask), &request(1, &|| 0), &meddler).unwrap();
    let changed: Vec<&str> =
        saved.snapshot.problems.iter().filter(|p| p.kind == ProblemKind::Changed).map(|p| &p.path[..]).collect();
    assert!(changed.contains(&"HomeDomain/Library/SMS/sms.db") && changed.contains(&"Manifest.plist"), "{changed:?}");
    assert!(!saved.snapshot.whole);
}

#[test]
fn a_pipe_in_the_place_of_a_file_is_not_waited_for() {
    let scratch = tempfile::tempdir().unwrap();
    let written = Specimen::default().write(scratch.path(), 1).unwrap();
    let pipe = written.folder.join("Manifest.plist");
    fs::remove_file(&pipe).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    if !made.is_ok_and(|status| status.success()) {
        return;
    }
    assert!(matches!(source::inspect(&written.folder), Err(BackupError::Io { .. })));
}

#[test]
fn a_garbled_manifest_is_a_sentence_and_stores_no_snapshot() {
    let scratch = tempfile::tempdir().unwrap();
    let written = Specimen::default().write(scratch.path(), 1).unwrap();
    fs::write(written.folder.join("Manifest.db"), vec![0x55; 40_960]).unwrap();
    let repository = create(MemoryStore::default());
    let error = back_up(&repository, &written.folder, "specimen", 1).unwrap_err();
    assert!(error.to_string().contains("Manifest.db"), "{error}");
    assert!(repository.snapshots().unwrap().entries.is_empty());
}

#[test]
fn a_real_manifest_and_a_real_tiny_backup_are_taken() {
    let repository = create(MemoryStore::default());
    if let Some(real) = shared("fixtures/real-ios14-manifest") {
        let saved = back_up(&repository, &real, "", 1).unwrap();
        let view = View::open(repository.reader().unwrap(), &saved.snapshot).unwrap();
        assert_eq!(view.items().len(), 3721);
        assert!(view.items().iter().filter(|item| item.node.is_some()).count() > 5);
    }
    if let Some(tiny) = shared("fixtures/tiny-encrypted-password-0000") {
        let saved = back_up(&repository, &tiny, "0000", 2).unwrap();
        let view = View::open(repository.reader().unwrap(), &saved.snapshot).unwrap();
        let item = view.item("MyTestDomain", "Media/Test.txt").unwrap_or_else(|| panic!("{:?}", view.items()));
        let mut text = String::new();
        view.read(item).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "Test data");
        let out = tempfile::tempdir().unwrap();
        export(&repository, &saved.snapshot, out.path(), Form::AsItCame, Options::default(), &Silent).unwrap();
        assert_eq!(differences(&tiny, out.path()), [""; 0]);
    }
}
