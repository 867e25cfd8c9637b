//! Backups with less in them: one app as a folder of Apple's form.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use russet_repository::{Repository, Saved, Silent};
use russet_specimen::{Layout, Specimen, Truth, TruthKind, Written};
use russet_store::MemoryStore;
use russet_tests::{apple_folder, back_up, create, listing};
use russet_vfs::apple_backup::{Form, export_apps};
use russet_vfs::target::Options;
use russet_vfs::{EntryKind, VfsError, View};

const DIARY: &str = "org.example.diary";

fn is_of_diary(domain: &str) -> bool {
    matches!(domain, "AppDomain-org.example.diary" | "AppDomainGroup-group.org.example.diary")
}

/// A specimen in a repository.
fn backed_up(specimen: &Specimen, scratch: &Path) -> (Repository, Saved, Written) {
    let written = specimen.write(&scratch.join("whole"), 1).unwrap();
    let repository = create(MemoryStore::default());
    let saved = back_up(&repository, &written.folder, "specimen", 1).unwrap();
    (repository, saved, written)
}

fn export_diary(repository: &Repository, saved: &Saved, to: &Path, form: Form) {
    let exported = export_apps(repository, &saved.snapshot, &[DIARY.into()], to, form, Options::default(), &Silent).unwrap();
    assert!(exported.failed.is_empty(), "{:?}", exported.failed);
}

/// Proves that a snapshot holds these files, these rows, and nothing else.
fn compare(repository: &Repository, saved: &Saved, truth: &[&Truth]) {
    assert!(saved.snapshot.whole && saved.snapshot.problems.is_empty(), "{:?}", saved.snapshot.problems);
    let view = View::open(repository.reader().unwrap(), &saved.snapshot).unwrap();
    assert_eq!(view.items().len(), truth.len());
    for truth in truth {
        let item = view.item(&truth.domain, &truth.path).unwrap_or_else(|| panic!("{truth:?} is not listed"));
        let TruthKind::File(wanted) = &truth.kind else {
            assert_ne!(item.kind, EntryKind::File);
            continue;
        };
        let mut plain = Vec::new();
        view.read(item).unwrap().read_to_end(&mut plain).unwrap();
        assert_eq!(*blake3::hash(&plain).as_bytes(), wanted.blake3, "{truth:?}");
    }
}

#[test]
fn one_app_comes_out_as_a_whole_backup_of_its_own_in_every_layout() {
    for layout in [Layout::Database, Layout::DatabaseClearManifest, Layout::Mbdb] {
        for form in [Form::AsItCame, Form::Plain] {
            let scratch = tempfile::tempdir().unwrap();
            let (repository, saved, written) = backed_up(&Specimen { layout, ..Specimen::default() }, scratch.path());
            let out = scratch.path().join(&written.udid);
            export_diary(&repository, &saved, &out, form);

            let folder = apple_folder(&out);
            assert_eq!((folder.udid.as_str(), folder.encrypted), (written.udid.as_str(), form == Form::AsItCame));
            assert_eq!(folder.last_backup, apple_folder(&written.folder).last_backup);
            let (whole, part) = (listing(&written.folder), listing(&out));
            let changed: Vec<&str> = part
                .iter()
                .filter(|(path, content)| whole.get(*path) != Some(content))
                .filter_map(|(path, _)| path.to_str())
                .filter(|path| form == Form::AsItCame || path.starts_with(['M', 'I', 'S']))
                .collect();
            let manifest = if layout == Layout::Mbdb { "Manifest.mbdb" } else { "Manifest.db" };
            assert_eq!(changed, ["Info.plist", manifest, "Manifest.plist"], "{layout:?}");

            let other = create(MemoryStore::default());
            let again = back_up(&other, &out, "specimen", 1).unwrap();
            compare(&other, &again, &written.truth.iter().filter(|truth| is_of_diary(&truth.domain)).collect::<Vec<_>>());
            let bytes = std::fs::read(out.join("Manifest.plist")).unwrap();
            let apps = russet_apple_format::manifest::ManifestPlist::parse(&bytes).unwrap().applications();
            assert_eq!(apps.iter().map(|app| app.id.as_str()).collect::<Vec<_>>(), [DIARY]);
            let info = russet_apple_format::info::Info::parse(&std::fs::read(out.join("Info.plist")).unwrap()).unwrap();
            assert_eq!(info.installed_applications, [DIARY]);
        }
    }
}

#[test]
fn several_apps_come_out_together_and_one_that_nobody_has_is_an_error() {
    let scratch = tempfile::tempdir().unwrap();
    let (repository, saved, written) = backed_up(&Specimen::default(), scratch.path());
    let export = |apps: &[&str], to: &str| {
        let apps: Vec<String> = apps.iter().map(|app| (*app).to_owned()).collect();
        export_apps(&repository, &saved.snapshot, &apps, &scratch.path().join(to), Form::AsItCame, Options::default(), &Silent)
    };
    export(&["ORG.example.DIARY", "org.example.tides"], "two").unwrap();
    let other = create(MemoryStore::default());
    let again = back_up(&other, &scratch.path().join("two"), "specimen", 1).unwrap();
    let wanted = |domain: &str| is_of_diary(domain) || domain.contains("org.example.tides");
    compare(&other, &again, &written.truth.iter().filter(|truth| wanted(&truth.domain)).collect::<Vec<_>>());
    let nobody = export(&["org.example.diary", "org.example.nobody"], "none");
    assert!(matches!(nobody, Err(VfsError::NoPath { .. })), "{nobody:?}");
    assert!(!scratch.path().join("none").exists());
}

#[test]
fn a_reader_that_is_not_ours_opens_one_app() {
    let mut python = [std::env::var_os("RUSSET_PYTHON").map(PathBuf::from), Some("python3".into())].into_iter().flatten();
    let has_reader = |python: &PathBuf| {
        Command::new(python).args(["-c", "import iphone_backup_decrypt"]).output().is_ok_and(|output| output.status.success())
    };
    let Some(python) = python.find(has_reader) else {
        eprintln!("skipped: no Python with the package iphone-backup-decrypt");
        return;
    };
    let scratch = tempfile::tempdir().unwrap();
    let (repository, saved, written) = backed_up(&Specimen::default(), scratch.path());
    let out = scratch.path().join("diary");
    export_diary(&repository, &saved, &out, Form::AsItCame);
    let script = "\
import sys, sqlite3
from iphone_backup_decrypt import EncryptedBackup
folder, manifest = sys.argv[1:]
backup = EncryptedBackup(backup_directory=folder, passphrase='specimen')
backup.test_decryption()
backup.save_manifest_file(manifest)
rows = sqlite3.connect(manifest)
assert rows.execute('pragma integrity_check').fetchone() == ('ok',)
for domain, path in rows.execute('select domain, relativePath from Files where flags = 1 order by 1, 2').fetchall():
    content = backup.extract_file_as_bytes(path, domain_like=domain)
    print(domain, path, len(content), sep='\\t')
";
    let output = Command::new(python).args(["-c", script]).arg(&out).arg(scratch.path().join("rows.db")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let size = |truth: &Truth| if let TruthKind::File(wanted) = &truth.kind { Some(wanted.size) } else { None };
    let files = written.truth.iter().filter(|truth| is_of_diary(&truth.domain));
    let expected: Vec<String> =
        files.filter_map(|truth| Some(format!("{}\t{}\t{}", truth.domain, truth.path, size(truth)?))).collect();
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().collect::<Vec<_>>(), expected);
}
