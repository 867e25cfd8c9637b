//! What a store in a folder promises beyond the common suite.
#![allow(clippy::unwrap_used)]
#![allow(clippy::print_stderr, reason = "a test that cannot run here says so")]

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use russet_store::{LocalStore, Name, Store, StoreError, conformance};
use tempfile::TempDir;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn new_store() -> (TempDir, LocalStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::create(folder.path().join("store")).unwrap();
    (folder, store)
}

/// Every file name in one folder, hidden ones too.
fn entries(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Runs one test of this file again in a process of its own, with `ROLE` set to `role`.
fn again(program: &Path, test: &str, role: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(["--exact", test, "--nocapture"]).env("ROLE", role);
    command
}

#[test]
fn the_local_store_keeps_every_promise() {
    let folder = tempfile::tempdir().unwrap();
    let stores = AtomicUsize::new(0);
    conformance::run(|| {
        let number = stores.fetch_add(1, Ordering::SeqCst);
        LocalStore::create(folder.path().join(number.to_string())).unwrap()
    });
    for number in 0..stores.into_inner() {
        let hidden = entries(&folder.path().join(number.to_string())).into_iter().find(|name| name.starts_with('.'));
        assert_eq!(hidden, None, "a temporary file was left");
    }
}

#[test]
fn opening_wants_a_folder_that_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let (missing, file) = (folder.path().join("missing"), folder.path().join("file"));
    fs::write(&file, b"x").unwrap();
    assert!(matches!(LocalStore::open(&missing), Err(StoreError::NotFound { .. })));
    assert!(matches!(LocalStore::open(&file), Err(StoreError::NotAFolder { .. })));
    assert!(matches!(LocalStore::create(&file), Err(StoreError::NotAFolder { .. })));
    assert!(matches!(LocalStore::create(file.join("below")), Err(StoreError::NotAFolder { .. })));
    assert!(!missing.exists());
}

#[test]
fn creating_again_opens_what_is_there() {
    let (_folder, store) = new_store();
    store.put(&name("a/b"), b"x").unwrap();
    let again = LocalStore::create(store.root()).unwrap();
    assert_eq!(again.get_all(&name("a/b")).unwrap(), b"x");
    assert_eq!(again.describe(), store.root().display().to_string());
}

#[test]
fn a_file_where_a_folder_should_be_is_said_so_and_kept() {
    let (_folder, store) = new_store();
    store.put(&name("a"), b"x").unwrap();
    for below in ["a/b", "a/b/c"] {
        assert!(matches!(store.put(&name(below), b"y"), Err(StoreError::NotAFolder { name }) if name == "a"));
        assert!(matches!(store.put_new(&name(below), b"y"), Err(StoreError::NotAFolder { .. })));
    }
    assert_eq!(store.get_all(&name("a")).unwrap(), b"x");
}

#[test]
fn a_folder_where_a_file_should_be_is_kept() {
    let (_folder, store) = new_store();
    store.put(&name("a/b"), b"x").unwrap();
    assert!(store.put(&name("a"), b"y").is_err());
    assert!(store.put_new(&name("a"), b"y").is_err());
    assert_eq!(store.get_all(&name("a/b")).unwrap(), b"x");
    assert_eq!(entries(store.root()), ["a"], "a temporary file was left");
}

#[test]
fn a_store_that_is_gone_does_not_look_empty() {
    let (_folder, store) = new_store();
    store.put(&name("a/b"), b"x").unwrap();
    fs::remove_dir_all(store.root()).unwrap();

    let root = store.root().display().to_string();
    let check = |outcome: Result<(), StoreError>| match outcome {
        Err(StoreError::NotFound { name }) => assert_eq!(name, root),
        other => panic!("{other:?}"),
    };
    check(store.list("").map(drop));
    check(store.list("a").map(drop));
    check(store.get_all(&name("a/b")).map(drop));
    check(store.remove(&name("a/b")));
    check(store.put(&name("a/b"), b"y"));
    check(store.put_new(&name("c"), b"y"));
    assert!(!store.root().exists(), "the root was made again");
}

#[test]
fn what_is_foreign_is_not_listed() {
    let (_folder, store) = new_store();
    store.put(&name("a/b/c/d"), b"x").unwrap();
    for folder in ["lost+found", ".Trash", "a/b/c/deep"] {
        fs::create_dir(store.root().join(folder)).unwrap();
        fs::write(store.root().join(folder).join("file"), b"x").unwrap();
    }
    for file in ["Thumbs.db", ".DS_Store", "a/.hidden", "a/b/two words"] {
        fs::write(store.root().join(file), b"x").unwrap();
    }
    assert_eq!(store.list("").unwrap(), [(name("a/b/c/d"), 1)]);
}

#[test]
fn temporary_files_are_swept_once_they_are_a_day_old() {
    let (_folder, store) = new_store();
    store.put(&name("a/b/c/d"), b"x").unwrap();
    let day = Duration::from_secs(24 * 60 * 60);
    let now = SystemTime::now();
    let litter = |file: &str, modified: SystemTime| {
        let file = File::create(store.root().join(file)).unwrap();
        file.set_modified(modified).unwrap();
    };
    litter(".russet-old.tmp", now - day * 2);
    litter("a/b/c/.russet-old.tmp", now - day * 2);
    litter("a/.russet-young.tmp", now - day / 2);
    litter("a/.russet-future.tmp", now + day * 9);
    litter("a/.other", now - day * 900);
    assert_eq!(store.list("").unwrap().len(), 1);

    LocalStore::open(store.root()).unwrap();
    assert_eq!(entries(store.root()), ["a"]);
    assert_eq!(entries(&store.root().join("a")), [".other", ".russet-future.tmp", ".russet-young.tmp", "b"]);
    assert_eq!(entries(&store.root().join("a/b/c")), ["d"]);
    litter("a/.russet-old.tmp", now - day * 2);
    assert_eq!(store.sweep().unwrap(), 1);
}

#[test]
fn a_killed_write_leaves_no_file_that_is_not_whole() {
    const LEN: usize = 2_000_000;
    if let Some(root) = std::env::var_os("ROLE") {
        let store = LocalStore::open(root).unwrap();
        for round in 0_u8.. {
            store.put(&name("a/same"), &vec![round; LEN]).unwrap();
            store.put(&name(&format!("a/{round}")), &vec![round; LEN]).unwrap();
        }
    }
    let (_folder, store) = new_store();
    let program = std::env::current_exe().unwrap();
    for round in 0..8 {
        let test = "a_killed_write_leaves_no_file_that_is_not_whole";
        let mut writer = again(&program, test, store.root()).stdout(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(30 + 7 * round));
        writer.kill().unwrap();
        writer.wait().unwrap();
        for (file, len) in store.list("").unwrap() {
            let content = store.get_all(&file).unwrap();
            assert_eq!((len, content.len()), (LEN as u64, LEN), "{file}");
            assert!(content.iter().all(|byte| *byte == content[0]), "{file} is of two minds");
        }
    }
    assert_ne!(store.list("").unwrap(), [], "no write ever came to its end");
}

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::process::CommandExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn only_the_owner_may_read() {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::create(folder.path().join("new/store")).unwrap();
        store.put(&name("a/b"), b"x").unwrap();
        store.put_new(&name("a/c"), b"x").unwrap();
        for made in ["new", "new/store", "new/store/a"] {
            assert_eq!(mode(&folder.path().join(made)), 0o700, "{made}");
        }
        for made in ["a/b", "a/c"] {
            assert_eq!(mode(&store.root().join(made)), 0o600, "{made}");
        }
    }

    #[test]
    fn no_link_leads_out_of_the_store() {
        let (folder, store) = new_store();
        let outside = folder.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("file"), b"secret").unwrap();
        symlink(&outside, store.root().join("folder")).unwrap();
        symlink(outside.join("file"), store.root().join("file")).unwrap();
        symlink("nowhere", store.root().join("dangling")).unwrap();

        let denied = |outcome: Result<(), StoreError>| assert!(matches!(outcome, Err(StoreError::Denied { .. })));
        for way in ["file", "dangling", "folder", "folder/file"] {
            denied(store.get(&name(way), 0..1).map(drop));
            denied(store.get_all(&name(way)).map(drop));
            denied(store.len(&name(way)).map(drop));
        }
        for way in ["folder/file", "folder/new", "folder/deep/new"] {
            denied(store.put(&name(way), b"x"));
            denied(store.put_new(&name(way), b"x"));
            denied(store.remove(&name(way)));
        }
        denied(store.list("folder").map(drop));
        denied(store.list("folder/deep").map(drop));
        assert_eq!(store.list("").unwrap(), []);

        assert!(matches!(store.put_new(&name("dangling"), b"x"), Err(StoreError::AlreadyExists { .. })));
        store.put(&name("dangling"), b"x").unwrap();
        store.put(&name("file"), b"x").unwrap();
        assert_eq!(store.get_all(&name("file")).unwrap(), b"x");
        store.remove(&name("folder")).unwrap();
        assert_eq!(entries(&outside), ["file"]);
        assert_eq!(fs::read(outside.join("file")).unwrap(), b"secret");
        assert_eq!(entries(store.root()), ["dangling", "file"]);
    }

    #[test]
    fn the_root_itself_may_be_a_link() {
        let (folder, store) = new_store();
        let link = folder.path().join("link");
        symlink(store.root(), &link).unwrap();
        LocalStore::open(&link).unwrap().put(&name("a"), b"x").unwrap();
        assert_eq!(store.get_all(&name("a")).unwrap(), b"x");
    }

    #[test]
    fn a_pipe_is_not_opened() {
        let (_folder, store) = new_store();
        let made = Command::new("mkfifo").arg(store.root().join("pipe")).status();
        if !made.is_ok_and(|status| status.success()) {
            eprintln!("skipped: there is no mkfifo here");
            return;
        }
        assert!(matches!(store.get_all(&name("pipe")), Err(StoreError::NotFound { .. })));
        assert_eq!(store.list("").unwrap(), []);
    }

    /// Permissions do not bind root, so root plays this as somebody else.
    #[test]
    fn a_folder_that_may_not_be_written_is_denied() {
        if let Some(folder) = std::env::var_os("ROLE") {
            return check_denial(Path::new(&folder));
        }
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let probe = folder.path().join("probe");
        fs::create_dir(&probe).unwrap();
        fs::set_permissions(&probe, fs::Permissions::from_mode(0o500)).unwrap();
        if fs::write(probe.join("file"), b"x").is_err() {
            return check_denial(folder.path());
        }
        let program = folder.path().join("program");
        fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let test = "unix::a_folder_that_may_not_be_written_is_denied";
        match again(&program, test, folder.path()).current_dir("/").uid(65534).gid(65534).output() {
            Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
            Err(error) => eprintln!("skipped: root cannot become somebody else here: {error}"),
        }
    }

    fn check_denial(folder: &Path) {
        let store = LocalStore::create(folder.join("store")).unwrap();
        store.put(&name("a/b"), b"x").unwrap();
        let folder = store.root().join("a");
        let lock = |mode| fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
        let denied = |outcome: Result<(), StoreError>| match outcome {
            Err(error @ StoreError::Denied { .. }) => assert!(!error.is_the_disks_fault()),
            other => panic!("{other:?}"),
        };

        lock(0o500);
        denied(store.put(&name("a/b"), b"y"));
        denied(store.put_new(&name("a/c"), b"y"));
        denied(store.put(&name("a/c/d"), b"y"));
        denied(store.remove(&name("a/b")));
        assert_eq!(store.get_all(&name("a/b")).unwrap(), b"x");
        LocalStore::open(store.root()).unwrap();
        lock(0o000);
        denied(store.get_all(&name("a/b")).map(drop));
        denied(store.list("").map(drop));
        LocalStore::open(store.root()).unwrap();
        lock(0o700);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_full_and_keeps_what_it_had() {
        struct Mounted<'a>(&'a Path);

        impl Drop for Mounted<'_> {
            fn drop(&mut self) {
                Command::new("umount").arg(self.0).status().ok();
            }
        }

        let folder = tempfile::tempdir().unwrap();
        let disk = folder.path().join("disk");
        fs::create_dir(&disk).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k", "none"]).arg(&disk).output();
        if !mounted.is_ok_and(|output| output.status.success()) {
            eprintln!("skipped: no small disk can be mounted here");
            return;
        }
        let _mounted = Mounted(&disk);

        let store = LocalStore::create(disk.join("store")).unwrap();
        store.put(&name("a/kept"), &[1; 100_000]).unwrap();
        assert!(matches!(store.put(&name("a/new"), &[2; 300_000]), Err(StoreError::Full { .. })));
        assert!(matches!(store.put_new(&name("a/new"), &[2; 300_000]), Err(StoreError::Full { .. })));
        assert!(matches!(store.put(&name("a/kept"), &[2; 200_000]), Err(StoreError::Full { .. })));
        assert_eq!(store.get_all(&name("a/kept")).unwrap(), [1; 100_000]);
        assert_eq!(entries(&store.root().join("a")), ["kept"], "a temporary file was left");
        store.put(&name("a/new"), &[2; 100_000]).unwrap();
    }
}
