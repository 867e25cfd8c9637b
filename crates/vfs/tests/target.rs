//! Whatever a snapshot holds, it ends up inside the folder that the person named, or not at all.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use russet_vfs::target::{Attributes, Options, Target, TargetError};
use tempfile::TempDir;

fn attributes() -> Attributes {
    Attributes { mode: 0o100644, mtime: (1_600_000_000, 123_456_789), ..Attributes::default() }
}

fn parts(path: &str) -> Vec<&[u8]> {
    path.split('/').map(str::as_bytes).collect()
}

fn put(target: &Target, path: &str, text: &str) -> russet_vfs::target::Placed {
    target.file(&parts(path), &attributes(), &mut text.as_bytes()).unwrap()
}

fn overwriting() -> Options {
    Options { overwrite: true, ..Options::default() }
}

/// Every name below a folder.
fn names(dir: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut left = vec![dir.to_owned()];
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            found.insert(entry.path().strip_prefix(dir).unwrap().to_string_lossy().into_owned());
            if entry.file_type().unwrap().is_dir() {
                left.push(entry.path());
            }
        }
    }
    found
}

fn names_are(dir: &Path, expected: &[&str]) {
    assert_eq!(names(dir), expected.iter().map(|&name| name.to_owned()).collect());
}

#[test]
fn hostile_components_stay_inside_and_are_reported() {
    let outer = TempDir::new().unwrap();
    let dir = outer.path().join("in");
    let target = Target::open(&dir, Options::default()).unwrap();
    let hostile: [&[&[u8]]; 8] = [
        &[b"..", b"escaped"],
        &[b"..", b"..", b"..", b"etc", b"passwd"],
        &[b"", b"etc", b"shadow"],
        &[b"."],
        &[b"a", b"..", b"..", b"b"],
        &[b"../escaped"],
        &[b"nul\0byte"],
        &[],
    ];
    for components in hostile {
        target.file(components, &attributes(), &mut &b"x"[..]).unwrap();
        target.symlink(components, &attributes(), b"/etc").unwrap();
        target.directory(components, &attributes()).unwrap();
    }
    let written = target.finish().unwrap();
    assert_eq!(written.files, 8);
    assert!(written.renamed.len() >= 8, "{:?}", written.renamed);
    names_are(outer.path(), &names(outer.path()).iter().map(String::as_str).filter(|n| n.starts_with("in")).collect::<Vec<_>>());
}

#[test]
fn nothing_is_written_through_links_that_were_there_before() {
    let outer = TempDir::new().unwrap();
    let (dir, elsewhere) = (outer.path().join("in"), outer.path().join("elsewhere"));
    fs::create_dir_all(&dir).unwrap();
    fs::create_dir_all(elsewhere.join("deep")).unwrap();
    fs::write(elsewhere.join("file"), "untouched").unwrap();
    symlink(&elsewhere, dir.join("link")).unwrap();
    symlink(elsewhere.join("file"), dir.join("file")).unwrap();
    symlink(elsewhere.join("absent"), dir.join("dangling")).unwrap();
    for options in [Options::default(), overwriting()] {
        let before = names(&elsewhere);
        let target = Target::open(&dir, options).unwrap();
        put(&target, "link/new", "x");
        put(&target, "link/deep/new", "x");
        put(&target, "file", "x");
        put(&target, "dangling", "x");
        target.directory(&parts("link"), &attributes()).unwrap();
        target.finish().unwrap();
        assert_eq!(names(&elsewhere), before);
        assert_eq!(fs::read_to_string(elsewhere.join("file")).unwrap(), "untouched");
    }
    assert!(fs::symlink_metadata(dir.join("file")).unwrap().is_file(), "the link itself was replaced");
}

#[test]
fn nothing_is_written_through_links_of_the_snapshot_itself() {
    let outer = TempDir::new().unwrap();
    let (dir, elsewhere) = (outer.path().join("in"), outer.path().join("elsewhere"));
    fs::create_dir(&elsewhere).unwrap();
    let target = Target::open(&dir, Options::default()).unwrap();
    target.symlink(&parts("a"), &attributes(), elsewhere.as_os_str().as_bytes()).unwrap();
    put(&target, "a/file", "x");
    target.symlink(&parts("b"), &attributes(), b"a").unwrap();
    let written = target.finish().unwrap();
    assert!(names(&elsewhere).is_empty());
    assert_eq!(fs::read_to_string(dir.join("a/file")).unwrap(), "x");
    assert_eq!(written.renamed, [("a".to_owned(), "a~2".to_owned())]);
    assert_eq!(fs::read_link(dir.join("b")).unwrap(), Path::new("a"));
}

#[test]
fn attributes_are_set_and_lent_rights_are_not() {
    let dir = TempDir::new().unwrap();
    let target = Target::open(dir.path(), Options::default()).unwrap();
    let set = |mode, mtime| Attributes { mode, mtime, owner: (12, 34), ..Attributes::default() };
    target.directory(&parts("d/e"), &set(0o040555, (5, 6))).unwrap();
    target.file(&parts("d/e/f"), &set(0o106755, (-3, 999_999_999)), &mut &b"x"[..]).unwrap();
    target.directory(&parts("d"), &set(0o041777, (7, 8))).unwrap();
    target.symlink(&parts("d/l"), &set(0o120777, (9, 10)), b"nowhere").unwrap();
    let written = target.finish().unwrap();
    let check = |name: &str, mode: u32, mtime: (i64, i64)| {
        let found = fs::symlink_metadata(dir.path().join(name)).unwrap();
        assert_eq!((found.mode() & 0o7777, (found.mtime(), found.mtime_nsec())), (mode, mtime), "{name}");
        assert_ne!(found.uid(), 12);
    };
    check("d/e/f", 0o755, (-3, 999_999_999));
    check("d/e", 0o555, (5, 6));
    check("d", 0o777, (7, 8));
    check("d/l", 0o777, (9, 10));
    assert_eq!((written.files, written.bytes, written.directories, written.links), (1, 1, 2, 1));
}

#[test]
fn owners_are_restored_if_root_asks_for_it() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("skipped: only root can give files away");
    }
    let dir = TempDir::new().unwrap();
    let target = Target::open(dir.path(), Options { owners: true, ..Options::default() }).unwrap();
    let set = Attributes { owner: (12, 34), mode: 0o104755, ..attributes() };
    target.file(&parts("f"), &set, &mut io::empty()).unwrap();
    target.symlink(&parts("l"), &set, b"f").unwrap();
    target.finish().unwrap();
    for (name, mode) in [("f", 0o4755), ("l", 0o777)] {
        let found = fs::symlink_metadata(dir.path().join(name)).unwrap();
        assert_eq!((found.uid(), found.gid(), found.mode() & 0o7777), (12, 34, mode));
    }
}

#[test]
fn what_was_there_is_kept_unless_it_may_be_overwritten() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("f"), "old").unwrap();
    fs::write(dir.path().join("l"), "old").unwrap();
    let run = |options| {
        let target = Target::open(dir.path(), options).unwrap();
        let placed = put(&target, "f", "new");
        target.hard_link(&parts("h"), &placed).unwrap();
        target.symlink(&parts("l"), &attributes(), b"f").unwrap();
        (placed.is_written(), target.finish().unwrap())
    };
    let (is_written, written) = run(Options::default());
    assert!(!is_written);
    assert_eq!(written.skipped.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), ["f", "h", "l"]);
    assert_eq!(fs::read_to_string(dir.path().join("f")).unwrap(), "old");
    names_are(dir.path(), &["f", "l"]);

    let (is_written, written) = run(overwriting());
    assert!(is_written && written.skipped.is_empty());
    assert_eq!(fs::read_to_string(dir.path().join("f")).unwrap(), "new");
    assert_eq!(fs::read_link(dir.path().join("l")).unwrap(), Path::new("f"));
    names_are(dir.path(), &["f", "h", "l"]);
    let inode = |name: &str| fs::metadata(dir.path().join(name)).unwrap().ino();
    assert_eq!(inode("f"), inode("h"));
}

#[test]
fn a_file_and_a_folder_of_one_name_are_both_kept() {
    let dir = TempDir::new().unwrap();
    let target = Target::open(dir.path(), overwriting()).unwrap();
    put(&target, "x.txt", "file first");
    put(&target, "x.txt/child", "1");
    put(&target, "y/child", "2");
    put(&target, "y", "folder first");
    put(&target, "z", "one");
    put(&target, "z", "two");
    let written = target.finish().unwrap();
    names_are(dir.path(), &["x.txt", "x~2.txt", "x~2.txt/child", "y", "y/child", "y~2", "z", "z~2"]);
    assert_eq!(written.renamed.len(), 3);
}

#[test]
fn a_folder_that_was_there_is_entered_and_one_in_a_files_place_is_kept() {
    let dir = TempDir::new().unwrap();
    fs::create_dir_all(dir.path().join("d/f")).unwrap();
    fs::set_permissions(dir.path().join("d"), fs::Permissions::from_mode(0o750)).unwrap();
    let target = Target::open(dir.path(), overwriting()).unwrap();
    put(&target, "d/f", "x");
    target.finish().unwrap();
    names_are(dir.path(), &["d", "d/f", "d/f~2"]);
    assert_eq!(fs::metadata(dir.path().join("d")).unwrap().mode() & 0o777, 0o750);
}

#[test]
fn long_names_are_shortened_and_any_bytes_are_kept() {
    let dir = TempDir::new().unwrap();
    let target = Target::open(dir.path(), Options::default()).unwrap();
    let long = [vec![b'n'; 300], b".jpeg".to_vec()].concat();
    target.file(&[&long, &long], &attributes(), &mut &b"x"[..]).unwrap();
    target.file(&[b"not \xff text"], &attributes(), &mut &b"y"[..]).unwrap();
    let written = target.finish().unwrap();
    assert_eq!(written.renamed.len(), 2);
    assert_eq!(fs::read(dir.path().join(std::ffi::OsStr::from_bytes(b"not \xff text"))).unwrap(), b"y");
}

#[test]
fn paths_longer_than_the_system_takes_can_be_written() {
    let dir = TempDir::new().unwrap();
    let target = Target::open(dir.path(), Options::default()).unwrap();
    let deep: Vec<Vec<u8>> = (0..200).map(|n| format!("{n:03}{}", "x".repeat(40)).into_bytes()).collect();
    let components: Vec<&[u8]> = deep.iter().map(Vec::as_slice).collect();
    // Far more folders than are kept open, in an order that needs all of them again.
    for depth in (1..=200).chain((1..=200).rev()) {
        target.directory(&components[..depth], &attributes()).unwrap();
        let name = format!("file{depth}").into_bytes();
        let inside: Vec<&[u8]> = components[..depth].iter().copied().chain([&*name]).collect();
        target.file(&inside, &attributes(), &mut &b"x"[..]).unwrap();
    }
    let written = target.finish().unwrap();
    assert_eq!((written.directories, written.files), (200, 400));
    assert!(written.skipped.is_empty(), "{:?}", written.skipped);
}

#[test]
fn runs_of_zeros_become_holes_and_read_back_as_zeros() {
    let dir = TempDir::new().unwrap();
    let target = Target::open(dir.path(), Options::default()).unwrap();
    let len = 300 << 20;
    let mut content = b"start".chain(io::repeat(0).take(len - 8)).chain(&b"end"[..]);
    target.file(&parts("holes"), &Attributes { sparse: true, ..attributes() }, &mut content).unwrap();
    let zeros = Attributes { sparse: true, ..attributes() };
    target.file(&parts("zeros"), &zeros, &mut io::repeat(0).take(1 << 20)).unwrap();
    target.finish().unwrap();
    let found = fs::metadata(dir.path().join("holes")).unwrap();
    assert_eq!(found.len(), len);
    assert!(found.blocks() * 512 < 1 << 20, "{} blocks", found.blocks());
    let mut bytes = Vec::new();
    fs::File::open(dir.path().join("holes")).unwrap().read_to_end(&mut bytes).unwrap();
    assert!(bytes.starts_with(b"start\0") && bytes.ends_with(b"\0end"));
    assert_eq!(fs::read(dir.path().join("zeros")).unwrap(), vec![0; 1 << 20]);
}

#[test]
fn a_content_that_fails_leaves_no_file_and_says_so() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("damaged"))
        }
    }
    let dir = TempDir::new().unwrap();
    let target = Target::open(dir.path(), Options::default()).unwrap();
    let error = target.file(&parts("f"), &attributes(), &mut b"half".chain(Failing)).unwrap_err();
    assert!(error.is_content());
    assert_eq!(target.finish().unwrap().files, 0);
    names_are(dir.path(), &[]);
}

#[test]
fn what_is_no_folder_or_full_is_an_error_with_its_path() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("below")] {
        assert!(matches!(Target::open(&path, Options::default()), Err(TargetError::NotAFolder { path: named }) if named == path));
    }
    let target = Target::open(&dir.path().join("made/of/many"), Options::default()).unwrap();
    target.finish().unwrap();
    assert_eq!(fs::metadata(dir.path().join("made")).unwrap().mode() & 0o777, 0o700);

    if rustix::process::geteuid().is_root() {
        return eprintln!("half skipped: nothing is read-only to root");
    }
    fs::set_permissions(dir.path().join("made"), fs::Permissions::from_mode(0o500)).unwrap();
    let target = Target::open(&dir.path().join("made"), Options::default()).unwrap();
    let error = target.file(&parts("f"), &attributes(), &mut io::empty()).unwrap_err();
    assert!(matches!(error, TargetError::ReadOnly { .. }), "{error}");
}

#[test]
fn names_for_every_system_are_made_if_asked_for() {
    let dir = TempDir::new().unwrap();
    let target = Target::open(dir.path(), Options { portable: true, ..Options::default() }).unwrap();
    for name in ["CON", "what?", "end.", "plain", "tab\t"] {
        put(&target, name, "x");
    }
    assert_eq!(target.finish().unwrap().renamed.len(), 4);
    names_are(dir.path(), &["CON_", "end%2E", "plain", "tab%09", "what%3F"]);
}

#[test]
fn many_threads_write_many_files_and_each_clash_is_settled_once() {
    let dir = TempDir::new().unwrap();
    for options in [Options::default(), overwriting()] {
        let before = std::time::Instant::now();
        let target = Target::open(dir.path(), options).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4u32 {
                let target = &target;
                scope.spawn(move || {
                    for number in 0..2_500 {
                        put(target, &format!("{:02x}/{}/{thread}-{number}", number % 256, number % 3), "content");
                    }
                    for number in 0..20 {
                        put(target, &format!("same/{number}"), &format!("{thread}"));
                    }
                });
            }
        });
        let written = target.finish().unwrap();
        eprintln!("10,080 files in {:?}", before.elapsed());
        if options.overwrite {
            assert_eq!((written.files, written.renamed.len(), written.skipped.len()), (10_080, 60, 0));
        } else {
            assert_eq!((written.files, written.directories, written.renamed.len()), (10_080, 256 + 256 * 3 + 1, 60));
        }
        for number in 0..20 {
            let copies: BTreeSet<String> = ["", "~2", "~3", "~4"]
                .iter()
                .map(|clash| fs::read_to_string(dir.path().join(format!("same/{number}{clash}"))).unwrap())
                .collect();
            assert_eq!(copies.len(), 4, "{number}");
        }
    }
}

#[test]
fn names_that_clash_on_a_disk_that_is_blind_to_case_are_told_apart() {
    let Some(dir) = std::env::var_os("RUSSET_CASE_BLIND").map(std::path::PathBuf::from) else {
        return eprintln!("skipped: RUSSET_CASE_BLIND names no folder on such a disk");
    };
    fs::write(dir.join("A"), "").unwrap();
    assert!(dir.join("a").exists(), "this disk is not blind to case");
    fs::remove_file(dir.join("A")).unwrap();
    let target = Target::open(&dir, Options::default()).unwrap();
    let contents =
        [("note", "1"), ("NOTE", "2"), ("caf\u{e9}", "3"), ("cafe\u{301}", "4"), ("Folder/same", "5"), ("folder/same", "6")];
    for (path, content) in contents {
        put(&target, path, content);
    }
    assert_eq!(target.finish().unwrap().renamed.len(), 3);
    let files = names(&dir).into_iter().map(|name| dir.join(name)).filter(|path| path.is_file());
    let mut kept: Vec<String> = files.map(|path| fs::read_to_string(path).unwrap()).collect();
    kept.sort();
    assert_eq!(kept, ["1", "2", "3", "4", "5", "6"]);
}

#[test]
fn extended_attributes_are_kept_where_the_disk_has_them() {
    let dir = TempDir::new().unwrap();
    if xattr::set(dir.path(), "user.probe", b"1").is_err() {
        return eprintln!("skipped: this disk has no extended attributes");
    }
    let target = Target::open(dir.path(), Options::default()).unwrap();
    let xattrs = vec![("user.a".to_owned(), b"\0\xff".to_vec()), ("user.empty".to_owned(), Vec::new())];
    let with = Attributes { mode: 0o100400, xattrs, ..attributes() };
    target.file(&parts("f"), &with, &mut io::empty()).unwrap();
    target.directory(&parts("d"), &Attributes { mode: 0o040700, ..with.clone() }).unwrap();
    let bad =
        vec![("no namespace".to_owned(), Vec::new()), ("nul\0".to_owned(), Vec::new()), ("system.x".to_owned(), Vec::new())];
    target.file(&parts("bad"), &Attributes { xattrs: bad, ..attributes() }, &mut io::empty()).unwrap();
    let written = target.finish().unwrap();
    for name in ["f", "d"] {
        assert_eq!(xattr::get(dir.path().join(name), "user.a").unwrap().unwrap(), b"\0\xff");
        assert_eq!(xattr::get(dir.path().join(name), "user.empty").unwrap().unwrap(), b"");
    }
    assert_eq!(written.skipped.len(), 2, "{:?}", written.skipped);
}
