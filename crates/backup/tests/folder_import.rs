//! A folder comes out as it went in, a second run reads only what is new, and whatever happens meanwhile is noticed.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, FileTimes};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use russet_backup::{BackupError, Phase, Progress, Request, Saved, Silent, folder};
use russet_repository::format::snapshot::{ProblemKind, Severity};
use russet_repository::format::tree::{Node, NodeKind};
use russet_repository::{KdfChoice, Repository, find, walk};
use russet_store::{LocalStore, MemoryStore, Store};
use russet_vfs::target::{Attributes, Options, Placed, Target};
use tempfile::TempDir;

const QUICK: KdfChoice = KdfChoice::Argon2id { memory_kib: 19 * 1024, passes: 1, lanes: 1 };

fn repository() -> Repository {
    Repository::create(Arc::new(MemoryStore::default()), b"pw", QUICK, 1, None).unwrap()
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

fn request() -> Request<'static> {
    Request { started: (now(), 0), clock: &now, host: "host".into(), facts: BTreeMap::new(), exclude: Vec::new() }
}

fn import(repository: &Repository, folder: &Path) -> Saved {
    folder::import(repository, folder, &request(), &Silent).unwrap()
}

/// Long ago, so that it is certain what was changed since.
fn age(path: &Path) {
    let time = UNIX_EPOCH + Duration::new(1_500_000_000, 123_456_789);
    File::open(path).unwrap().set_times(FileTimes::new().set_modified(time)).unwrap();
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    age(path);
}

fn node(repository: &Repository, saved: &Saved, path: &str) -> Option<Node> {
    find(&repository.reader().unwrap(), &saved.snapshot.root, path.as_bytes()).unwrap()
}

fn text(repository: &Repository, saved: &Saved, path: &str) -> String {
    let NodeKind::File(content) = node(repository, saved, path).unwrap().kind else { panic!("{path} is no file") };
    let mut text = String::new();
    repository.reader().unwrap().open(&content).read_to_string(&mut text).unwrap();
    text
}

/// Writes a snapshot out, as a program with a mind of its own might.
fn export(repository: &Repository, saved: &Saved, to: &Path) {
    let reader = repository.reader().unwrap();
    let target = Target::open(to, Options { owners: true, ..Options::default() }).unwrap();
    let mut groups: BTreeMap<u64, Placed> = BTreeMap::new();
    walk(&reader, &saved.snapshot.root, &mut |found| {
        let parts: Vec<&[u8]> = found.path.split(|&b| b == b'/').collect();
        let attributes = Attributes::from(found.node);
        match &found.node.kind {
            NodeKind::Directory(_) => target.directory(&parts, &attributes).unwrap(),
            NodeKind::Symlink(to) => target.symlink(&parts, &attributes, to).unwrap(),
            NodeKind::Other => target.skip(&String::from_utf8_lossy(found.path), "kept by name only"),
            NodeKind::File(content) => match found.node.hard_link.and_then(|group| groups.get(&group)) {
                Some(first) => target.hard_link(&parts, first).unwrap(),
                None => {
                    let placed = target.file(&parts, &attributes, &mut reader.open(content)).unwrap();
                    found.node.hard_link.map(|group| groups.insert(group, placed));
                }
            },
        }
        Ok(true)
    })
    .unwrap();
    let written = target.finish().unwrap();
    assert!(written.renamed.is_empty(), "{:?}", written.renamed);
}

/// What can be said of a file, for comparison.
fn described(path: &Path, inodes: &mut BTreeMap<u64, usize>) -> String {
    let found = fs::symlink_metadata(path).unwrap();
    let next = inodes.len();
    let linked = if found.is_dir() { 0 } else { *inodes.entry(found.ino()).or_insert(next) };
    let holes = found.blocks() * 512 < found.len() / 2;
    let content = match found.is_file() {
        true if holes => format!("{} bytes with holes", found.len()),
        true => format!("{:?}", fs::read(path).unwrap()),
        false => format!("{:?}", fs::read_link(path).ok()),
    };
    let mut xattrs: Vec<_> =
        xattr::list(path).into_iter().flatten().map(|name| (xattr::get(path, &name).unwrap(), name)).collect();
    xattrs.sort();
    format!(
        "{:o} {}:{} {}.{:09} {linked} {xattrs:?} {content}",
        found.mode(),
        found.uid(),
        found.gid(),
        found.mtime(),
        found.mtime_nsec()
    )
}

fn all(folder: &Path) -> BTreeMap<Vec<u8>, String> {
    let (mut found, mut inodes, mut left) = (BTreeMap::new(), BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(next) = left.pop() {
        let mut paths: Vec<_> = fs::read_dir(next).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        for path in paths {
            let name = path.strip_prefix(folder).unwrap().as_os_str().as_bytes().to_vec();
            found.insert(name, described(&path, &mut inodes));
            if fs::symlink_metadata(&path).unwrap().is_dir() {
                left.push(path);
            }
        }
    }
    found
}

#[test]
fn a_folder_comes_out_as_it_went_in() {
    let dir = TempDir::new().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    fs::create_dir_all(from.join("a/b/c")).unwrap();
    fs::create_dir(from.join("empty")).unwrap();
    write(&from.join("a/file"), b"hello");
    write(&from.join("a/b/nothing"), b"");
    write(&from.join("a/b/c/long"), &(0..3_000_000u32).flat_map(|n| n.to_le_bytes()).collect::<Vec<_>>());
    write(&from.join(OsStr::from_bytes(b"not \xff text")), b"bytes");
    fs::hard_link(from.join("a/file"), from.join("a/b/same file")).unwrap();
    symlink("../nowhere", from.join("a/link")).unwrap();
    symlink("/", from.join("up")).unwrap();
    fs::set_permissions(from.join("a/file"), fs::Permissions::from_mode(0o4711)).unwrap();
    fs::set_permissions(from.join("a/b"), fs::Permissions::from_mode(0o1750)).unwrap();
    if xattr::set(from.join("a/file"), "user.colour", b"russet\0").is_err() {
        eprintln!("half skipped: this disk has no extended attributes");
    }
    let sparse = File::create(from.join("sparse")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    sparse.write_all_at(b"inside", 30 << 20).unwrap();
    for aged in ["sparse", "a/b", "a"] {
        age(&from.join(aged));
    }

    let repository = repository();
    let saved = import(&repository, &from);
    assert!(saved.snapshot.whole && saved.snapshot.problems.is_empty(), "{:?}", saved.snapshot.problems);
    assert_eq!((saved.snapshot.files, saved.snapshot.bytes), (6, 5 + 5 + 5 + 12_000_000 + (64 << 20)));
    assert_eq!(node(&repository, &saved, "a").unwrap().totals, Some((4, 12_000_010)));
    export(&repository, &saved, &to);
    let (before, after) = (all(&from), all(&to));
    assert!(before.keys().eq(after.keys()));
    for (name, before) in before {
        assert!(before == after[&name], "{}: {before:.200} became {:.200}", String::from_utf8_lossy(&name), after[&name]);
    }
}

#[test]
fn a_gibibyte_of_holes_is_read_in_no_time_and_pipes_are_kept_by_name() {
    let dir = TempDir::new().unwrap();
    File::create(dir.path().join("sparse")).unwrap().set_len(1 << 30).unwrap();
    let pipe = std::process::Command::new("mkfifo").arg(dir.path().join("pipe")).status();
    let repository = repository();
    let before = Instant::now();
    let saved = import(&repository, dir.path());
    eprintln!("1 GiB of holes in {:?}", before.elapsed());
    let sparse = node(&repository, &saved, "sparse").unwrap();
    assert!(sparse.sparse && sparse.size() == 1 << 30);
    assert!(saved.snapshot.stored_bytes < 1 << 20);
    match pipe {
        Ok(status) if status.success() => assert_eq!(node(&repository, &saved, "pipe").unwrap().kind, NodeKind::Other),
        _ => eprintln!("half skipped: there is no mkfifo"),
    }
}

#[test]
fn a_second_run_reads_only_what_is_new() {
    let dir = TempDir::new().unwrap();
    for number in 0..300 {
        let folder = dir.path().join(format!("{}", number % 7));
        fs::create_dir_all(&folder).unwrap();
        write(&folder.join(format!("file{number}")), format!("text of file {number}").as_bytes());
    }
    let repository = repository();
    let first = import(&repository, dir.path());
    let second = import(&repository, dir.path());
    assert_eq!(second.snapshot.parent, Some(first.name));
    assert_eq!((second.snapshot.new_bytes, &second.snapshot.root), (0, &first.snapshot.root));

    fs::write(dir.path().join("0/file0"), b"new text").unwrap();
    write(&dir.path().join("1/file1"), b"other length");
    write(&dir.path().join("new"), b"new file");
    fs::remove_file(dir.path().join("2/file2")).unwrap();
    let third = import(&repository, dir.path());
    assert_eq!(text(&repository, &third, "0/file0"), "new text");
    assert_eq!(text(&repository, &third, "1/file1"), "other length");
    assert_eq!(text(&repository, &third, "new"), "new file");
    assert_eq!(node(&repository, &third, "2/file2"), None);
    assert_eq!(third.snapshot.files, 300);
}

#[test]
fn another_folder_or_another_host_has_no_parent_here() {
    let (dir, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let repository = repository();
    let first = import(&repository, dir.path());
    assert_eq!(import(&repository, other.path()).snapshot.parent, None);
    let elsewhere = Request { host: "elsewhere".into(), ..request() };
    assert_eq!(folder::import(&repository, dir.path(), &elsewhere, &Silent).unwrap().snapshot.parent, None);
    let again = import(&repository, &dir.path().join("."));
    assert_eq!(again.snapshot.parent, Some(first.name));
    assert_eq!(again.snapshot.facts["host.name"], "host");
}

#[test]
fn a_file_written_while_the_snapshot_before_was_made_is_read_again() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "one").unwrap();
    let modified = fs::metadata(&file).unwrap().modified().unwrap();
    let repository = repository();
    import(&repository, dir.path());
    fs::write(&file, "two").unwrap();
    File::open(&file).unwrap().set_times(FileTimes::new().set_modified(modified)).unwrap();
    let saved = import(&repository, dir.path());
    assert_eq!(text(&repository, &saved, "file"), "two");
}

/// Does something to a file after each piece of it that is read, a number of times.
struct Meddler<F> {
    left: AtomicU64,
    meddle: F,
}

impl<F: Fn() + Sync> Progress for Meddler<F> {
    fn phase(&self, phase: Phase, _: u64, _: u64) {
        if phase != Phase::Storing {
            self.left.fetch_add(0, Ordering::Relaxed);
        }
    }

    fn advance(&self, files: u64, bytes: u64) {
        let is_piece = files == 0 && (bytes > 0 || self.left.load(Ordering::Relaxed) > 0);
        let more = |left: u64| left.checked_sub(1);
        if is_piece && self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok() {
            (self.meddle)();
        }
    }
}

#[test]
fn a_file_that_changes_while_it_is_read_is_read_once_more() {
    let check = |times: u64, append: bool, expected: Option<Severity>| {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("file");
        write(&path, &vec![b'a'; 1000]);
        let meddle = || {
            let mut file = File::options().write(true).open(&path).unwrap();
            if append {
                file.seek(SeekFrom::End(0)).unwrap();
            }
            file.write_all(b"changed").unwrap();
        };
        let repository = repository();
        let meddler = Meddler { left: AtomicU64::new(times), meddle };
        let saved = folder::import(&repository, dir.path(), &request(), &meddler).unwrap();
        let found: Vec<_> = saved.snapshot.problems.iter().map(|p| (p.kind, p.severity)).collect();
        assert_eq!(found, expected.map(|severity| (ProblemKind::Changed, severity)).into_iter().collect::<Vec<_>>());
        assert_eq!(saved.snapshot.whole, expected != Some(Severity::Loss));
        let stored = text(&repository, &saved, "file");
        assert!(stored.contains("changed"), "the second reading is the one that is kept");
        // Whatever was stored, the next run finds out what has changed since.
        let next = import(&repository, dir.path());
        assert_eq!(text(&repository, &next, "file"), fs::read_to_string(&path).unwrap());
    };
    check(1, false, None);
    check(1, true, None);
    check(1000, false, Some(Severity::Note));
    check(1000, true, Some(Severity::Loss));
}

#[test]
fn a_file_that_vanishes_or_becomes_a_link_is_noticed_and_the_rest_goes_on() {
    struct AtStoring<F>(F);
    impl<F: Fn() + Sync> Progress for AtStoring<F> {
        fn phase(&self, phase: Phase, _: u64, _: u64) {
            if phase == Phase::Storing {
                (self.0)();
            }
        }
        fn advance(&self, _: u64, _: u64) {}
    }
    let dir = TempDir::new().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("folder")).unwrap();
    for name in ["gone", "stays", "swapped", "folder/inside"] {
        write(&at(name), b"secret");
    }
    let meddle = || {
        fs::remove_file(at("gone")).unwrap();
        fs::remove_file(at("swapped")).unwrap();
        symlink(at("stays"), at("swapped")).unwrap();
        fs::rename(at("folder"), at("moved")).unwrap();
        symlink("moved", at("folder")).unwrap();
    };
    let repository = repository();
    let saved = folder::import(&repository, dir.path(), &request(), &AtStoring(meddle)).unwrap();
    let found: Vec<_> = saved.snapshot.problems.iter().map(|p| (&*p.path, p.kind, p.severity)).collect();
    let expected = [
        ("folder/inside", ProblemKind::Unreadable, Severity::Loss),
        ("gone", ProblemKind::Missing, Severity::Note),
        ("swapped", ProblemKind::Changed, Severity::Loss),
    ];
    assert_eq!(found, expected);
    assert_eq!(text(&repository, &saved, "stays"), "secret");
    assert_eq!(node(&repository, &saved, "swapped"), None);
    assert_eq!(node(&repository, &saved, "folder/inside"), None);
}

#[test]
fn the_repository_and_what_is_excluded_are_left_out() {
    let dir = TempDir::new().unwrap();
    let at = |name: &str| dir.path().join(name);
    for folder in ["mine", "cache"] {
        fs::create_dir(at(folder)).unwrap();
        write(&at(folder).join("file"), b"x");
    }
    let store = LocalStore::create(at("repository")).unwrap();
    let repository = Repository::create(Arc::new(store) as Arc<dyn Store>, b"pw", QUICK, 1, None).unwrap();
    let request = Request { exclude: vec![at("cache"), at("not there")], ..request() };
    let saved = folder::import(&repository, dir.path(), &request, &Silent).unwrap();
    let names: Vec<_> = repository.reader().unwrap().nodes(&saved.snapshot.root).unwrap().into_iter().map(|n| n.name).collect();
    assert_eq!(names, [b"mine"]);
    let outcome = folder::import(&repository, &at("repository"), &request, &Silent);
    assert!(matches!(outcome, Err(BackupError::Excluded { .. })));
}

#[test]
fn what_is_no_folder_is_refused() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    write(&file, b"x");
    let repository = repository();
    assert!(matches!(folder::import(&repository, &file, &request(), &Silent), Err(BackupError::NotAFolder { .. })));
    assert!(matches!(folder::import(&repository, &dir.path().join("none"), &request(), &Silent), Err(BackupError::Io { .. })));
}

#[test]
fn folders_deeper_than_any_path_are_kept_up_to_five_hundred() {
    use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
    let dir = TempDir::new().unwrap();
    let name = "x".repeat(30);
    let mut fd = openat(CWD, dir.path(), OFlags::DIRECTORY, Mode::empty()).unwrap();
    for _ in 0..510 {
        mkdirat(&fd, &*name, Mode::RWXU).unwrap();
        fd = openat(&fd, &*name, OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    let repository = repository();
    let saved = import(&repository, dir.path());
    let found: Vec<_> = saved.snapshot.problems.iter().map(|p| (p.kind, p.severity)).collect();
    assert_eq!(found, [(ProblemKind::HostileName, Severity::Loss)]);
    let mut deepest = 0;
    walk(&repository.reader().unwrap(), &saved.snapshot.root, &mut |found| {
        deepest = deepest.max(1 + found.path.iter().filter(|&&b| b == b'/').count());
        Ok(true)
    })
    .unwrap();
    assert_eq!(deepest, 501);
}

/// `cargo test --release -- --ignored --nocapture speed`
#[test]
#[ignore = "a measurement"]
fn speed_of_many_small_files() {
    let dir = TempDir::new().unwrap();
    for number in 0..38_000u32 {
        let folder = dir.path().join(format!("{:02x}", number % 256));
        fs::create_dir_all(&folder).unwrap();
        write(&folder.join(format!("{number:040x}")), &number.to_le_bytes().repeat(500 + number as usize % 3000));
    }
    let repository = repository();
    for run in ["first", "second", "third"] {
        let before = Instant::now();
        let saved = import(&repository, dir.path());
        eprintln!("{run} run: {:?}, {} new bytes", before.elapsed(), saved.snapshot.new_bytes);
    }
    let (saved, out) = (import(&repository, dir.path()), TempDir::new().unwrap());
    let before = Instant::now();
    export(&repository, &saved, &out.path().join("out"));
    eprintln!("export on one thread: {:?}", before.elapsed());
}

#[test]
fn a_change_that_puts_its_old_time_back_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("container");
    std::fs::write(&file, "before").unwrap();
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
    let put_back = || std::fs::File::options().write(true).open(&file).unwrap().set_modified(old).unwrap();
    put_back();
    let repository = repository();
    import(&repository, folder.path());
    std::fs::write(&file, "after!").unwrap();
    put_back();
    let second = import(&repository, folder.path());
    assert!(second.snapshot.new_bytes > 0);
}

#[test]
fn other_bytes_under_the_same_length_and_time_are_told_with_the_files_name() {
    let (repository, dir) = (repository(), TempDir::new().unwrap());
    let mut database = b"SQLite format 3\0\x10\x00".to_vec();
    database.resize(300_000, 7);
    for (name, bytes) in
        [("notes.db", &database[..]), ("rotten", &b"as it was"[..]), ("touched", b"the same"), ("grown", b"short")]
    {
        write(&dir.path().join(name), bytes);
    }
    // Dates of one second would have no order.
    let import = |later: i64| {
        let request = Request { started: (now() + later, 0), ..request() };
        folder::import(&repository, dir.path(), &request, &Silent).unwrap()
    };
    let first = import(0);
    // Each looks as before, and the system says that something happened to it.
    database[150_000] ^= 1;
    for (name, bytes) in
        [("notes.db", &database[..]), ("rotten", &b"as it is!"[..]), ("touched", b"the same"), ("grown", b"longer")]
    {
        write(&dir.path().join(name), bytes);
    }
    let second = import(1);
    let told: Vec<(ProblemKind, Severity, &str)> =
        second.snapshot.problems.iter().map(|problem| (problem.kind, problem.severity, &*problem.path)).collect();
    let unannounced = |name| (ProblemKind::Unannounced, Severity::Note, name);
    assert_eq!(told, [unannounced("notes.db"), unannounced("rotten")]);
    assert!(second.snapshot.whole && second.snapshot.problems[1].detail.contains("the date before has what it was"));
    assert_eq!((&*text(&repository, &first, "rotten"), &*text(&repository, &second, "rotten")), ("as it was", "as it is!"));
    assert!(import(2).snapshot.problems.is_empty(), "it is said once");
}
