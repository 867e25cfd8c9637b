//! What the stories in `tests/` share: a repository in memory, an import, and folders to compare.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, clippy::print_stderr)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use russet_backup::source::{AppleFolder, Found};
use russet_backup::{BackupError, Request, Saved, Silent, Unlock, apple, folder, source};
use russet_repository::{KdfChoice, Repository};
use russet_store::Store;
use zeroize::Zeroizing;

/// Key derivation that costs little.
pub const QUICK: KdfChoice = KdfChoice::Argon2id { memory_kib: 19 * 1024, passes: 1, lanes: 1 };
/// The repository's password in every story.
pub const PASSWORD: &[u8] = b"a repository for stories";

/// Makes a repository in a store.
pub fn create(store: impl Store + 'static) -> Repository {
    Repository::create(Arc::new(store), PASSWORD, QUICK, 1_700_000_000, None).unwrap()
}

/// Opens the repository of a store.
pub fn open(store: impl Store + 'static) -> Repository {
    Repository::open(Arc::new(store), PASSWORD, None).unwrap()
}

/// The Apple backup in a folder, or in the only folder in it.
pub fn apple_folder(path: &Path) -> AppleFolder {
    match source::inspect(path).unwrap() {
        Found::Apple(folder) => *folder,
        Found::Several { mut backups, failed } if backups.len() == 1 && failed.is_empty() => backups.remove(0),
        other => panic!("{} is {other:?}", path.display()),
    }
}

/// Brings in an Apple backup with a phone password.
pub fn back_up(repository: &Repository, path: &Path, password: &str, day: i64) -> Result<Saved, BackupError> {
    let mut asked = false;
    let mut ask =
        |_: &russet_backup::Ask<'_>| (!std::mem::replace(&mut asked, true)).then(|| Zeroizing::new(password.to_owned()));
    apple::import(repository, &apple_folder(path), Unlock::Ask(&mut ask), &request(day, &|| 0), &Silent)
}

/// Brings in any folder.
pub fn back_up_folder(repository: &Repository, path: &Path, day: i64) -> Result<Saved, BackupError> {
    folder::import(repository, path, &request(day, &|| 0), &Silent)
}

/// What an import of that day is told.
pub fn request<'a>(day: i64, clock: &'a dyn Fn() -> i64) -> Request<'a> {
    let started = (1_700_000_000 + day * 86_400, 0);
    Request { started, clock, host: "desk".into(), facts: BTreeMap::new(), exclude: Vec::new() }
}

/// Every file, folder and link below a folder, with what is in it.
pub fn listing(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut listing = BTreeMap::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let kind = entry.file_type().unwrap();
            let content = if kind.is_symlink() {
                std::fs::read_link(&path).unwrap().to_string_lossy().into_owned().into_bytes()
            } else if kind.is_dir() {
                folders.push(path.clone());
                b"folder".to_vec()
            } else {
                std::fs::read(&path).unwrap()
            };
            listing.insert(path.strip_prefix(root).unwrap().to_path_buf(), content);
        }
    }
    listing
}

/// Says how two folders differ, as `diff -r` would; nothing if they do not.
pub fn differences(a: &Path, b: &Path) -> Vec<String> {
    let (a, b) = (listing(a), listing(b));
    let mut differences: Vec<String> =
        a.iter().filter(|(path, content)| b.get(*path) != Some(content)).map(|(p, _)| format!("{p:?}")).collect();
    differences.extend(b.keys().filter(|path| !a.contains_key(*path)).map(|p| format!("only in the second: {p:?}")));
    differences
}

/// A folder of data that is not the project's own, if it is there; the caller skips and says so if not.
pub fn shared(path: &str) -> Option<PathBuf> {
    let found = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared").join(path);
    if !found.exists() {
        eprintln!("skipped: shared/{path} is not here");
        return None;
    }
    Some(found)
}

/// What every file of every snapshot is called and what is in it (BLAKE3 of the plaintext), as a person sees it.
pub fn contents(repository: &Repository) -> BTreeMap<String, String> {
    let mut contents = BTreeMap::new();
    for (number, entry) in repository.snapshots().unwrap().entries.iter().enumerate() {
        let view = russet_vfs::View::open(repository.reader().unwrap(), &entry.snapshot).unwrap();
        for item in view.items() {
            let hash = match view.read(item) {
                Ok(mut plain) => {
                    let mut hasher = blake3::Hasher::new();
                    std::io::copy(&mut plain, &mut hasher).unwrap();
                    hasher.finalize().to_hex().to_string()
                }
                Err(_) => format!("{:?}", item.kind),
            };
            contents.insert(format!("{number} {:?}", item.shown()), hash);
        }
    }
    contents
}
