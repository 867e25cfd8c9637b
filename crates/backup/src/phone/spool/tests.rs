//! A broken session's spool: gone on from where it is whole, and cleared where it is not.

use russet_device::BackupPath;

use super::*;

fn path(text: &str) -> BackupPath {
    BackupPath::parse(text).unwrap()
}

fn footing() -> Footing {
    Footing { udid: "u".into(), parent: vec![1; 32] }
}

fn open_with(folder: &Path, footing: &Footing, fresh: bool) -> (Spool, Vec<Op>) {
    let (spool, broken_off) = Spool::open(folder, Zeroizing::new([7; 32]), footing, fresh).unwrap();
    (spool, broken_off.map(|op| op.unwrap()).collect())
}

fn open(folder: &Path) -> (Spool, Vec<Op>) {
    open_with(folder, &footing(), false)
}

/// Takes a file in and notes it.
fn put(spool: &mut Spool, at: &str, bytes: &[u8]) -> (Op, Spooled) {
    let (number, spooled) = spool.take(&mut &bytes[..], &mut Vec::new()).unwrap();
    let op = Op::Put(path(at), number, spooled.len, 5);
    spool.note(&op).unwrap();
    (op, spooled)
}

/// As if the system had gone down since the journal was written.
fn reboot(folder: &Path) {
    let mut journal = fs::read(folder.join(JOURNAL)).unwrap();
    let boot = boot_id();
    let at = journal.windows(boot.len()).position(|w| w == boot.as_bytes()).unwrap();
    journal[at] = b'x';
    fs::write(folder.join(JOURNAL), journal).unwrap();
}

fn files(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder.join(FILES)).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

#[test]
fn a_broken_run_is_gone_on_from() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, old) = open(folder.path());
    assert_eq!(old, []);
    let (number, spooled) = spool.take(&mut &b"ciphertext"[..], &mut Vec::new()).unwrap();
    let ops = [
        Op::Folder(path("u/Snapshot")),
        Op::Put(path("u/Snapshot/a"), number, spooled.len, 5),
        Op::Small(path("u/Status.plist"), Arc::from(&b"secret words"[..]), 6),
        Op::Rename(path("u/Snapshot/a"), path("u/a")),
        Op::Remove(path("u/Snapshot")),
        Op::Again(path("u/Status.plist"), path("u/b")),
    ];
    for op in &ops {
        spool.note(op).unwrap();
    }
    spool.flush().unwrap();
    drop(spool);
    let journal = fs::read(folder.path().join(JOURNAL)).unwrap();
    assert!(!journal.windows(6).any(|w| w == b"secret"), "what came in clear lies there in clear");
    assert_eq!(open(folder.path()).1, ops);
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(folder.path()).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn another_footing_a_lost_file_or_a_torn_journal_is_not_gone_on_from() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(folder.path());
    let (number, spooled) = spool.take(&mut &b"ciphertext"[..], &mut Vec::new()).unwrap();
    spool.note(&Op::Put(path("u/a"), number, spooled.len, 5)).unwrap();
    spool.note(&Op::Folder(path("u/b"))).unwrap();
    spool.flush().unwrap();
    drop(spool);
    let journal = fs::read(folder.path().join(JOURNAL)).unwrap();
    fs::write(folder.path().join(JOURNAL), &journal[..journal.len() - 1]).unwrap();
    assert_eq!(open(folder.path()).1.len(), 1);
    fs::write(&spooled.path, b"short").unwrap();
    assert_eq!(open(folder.path()).1, []);
    let (mut spool, _) = open(folder.path());
    spool.note(&Op::Folder(path("u/b"))).unwrap();
    spool.flush().unwrap();
    drop(spool);
    assert_eq!(open_with(folder.path(), &Footing { parent: Vec::new(), ..footing() }, false).1, []);
}

#[test]
fn only_one_session_holds_it_and_what_came_plain_lies_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(folder.path());
    let second = Spool::open(folder.path(), Zeroizing::new([7; 32]), &footing(), false);
    assert_eq!(second.unwrap_err().kind(), io::ErrorKind::WouldBlock);
    let plain = b"plain words of a manifest, all of them".repeat(1000);
    let spooled = spool.take_sealed(&mut &plain[..], &mut Vec::new()).unwrap();
    let on_disk = fs::read(&spooled.path).unwrap();
    assert!(!on_disk.windows(5).any(|w| w == b"words"));
    let mut back = Vec::new();
    spooled.open().unwrap().read_to_end(&mut back).unwrap();
    assert_eq!(back, plain);
}

#[test]
fn a_file_that_was_let_go_does_not_end_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(folder.path());
    let (first, old) = put(&mut spool, "u/a", b"old");
    let (second, _) = put(&mut spool, "u/a", b"newer");
    spool.let_go(&old).unwrap();
    spool.note(&Op::Folder(path("u/b"))).unwrap();
    spool.flush().unwrap();
    drop(spool);
    assert!(!old.path.exists());
    let (_, broken_off) = Spool::open(folder.path(), Zeroizing::new([7; 32]), &footing(), false).unwrap();
    assert!(broken_off.is_gone(0) && !broken_off.is_gone(1));
    let ops: Vec<Op> = broken_off.map(|op| op.unwrap()).collect();
    assert_eq!(ops, [first, second, Op::Gone(0), Op::Folder(path("u/b"))]);
}

#[test]
fn a_journal_is_cut_where_all_its_files_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(folder.path());
    let (zero, _) = put(&mut spool, "u/zero", b"0");
    let (_, first) = put(&mut spool, "u/first", b"1");
    let (_, second) = put(&mut spool, "u/second", b"2");
    spool.note(&Op::Remove(path("u/first"))).unwrap();
    spool.let_go(&first).unwrap();
    drop(spool);
    // Without the second there is no moment at which the first was said to have gone.
    fs::remove_file(&second.path).unwrap();
    assert_eq!(open(folder.path()).1, [zero]);
}

#[test]
fn what_was_durable_stays_so() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(folder.path());
    let (first, _) = put(&mut spool, "u/a", b"1");
    let (_, second) = put(&mut spool, "u/b", b"2");
    spool.rest().unwrap();
    spool.note(&Op::Folder(path("u/c"))).unwrap();
    spool.flush().unwrap();
    drop(spool);
    reboot(folder.path());
    assert_eq!(open(folder.path()).1.len(), 3, "two files and the rest");
    reboot(folder.path());
    assert_eq!(open(folder.path()).1.len(), 3);
    // The entry that says so goes with the end of the journal, and is written again.
    fs::remove_file(&second.path).unwrap();
    assert_eq!(open(folder.path()).1, std::slice::from_ref(&first));
    reboot(folder.path());
    assert_eq!(open(folder.path()).1, [first, Op::Rest]);
}

#[test]
fn an_unfinished_journal_does_not_harm_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(folder.path());
    let (first, _) = put(&mut spool, "u/a", b"1");
    spool.flush().unwrap();
    drop(spool);
    fs::write(folder.path().join(NEW_JOURNAL), MAGIC).unwrap();
    assert_eq!(open(folder.path()).1, [first]);
    assert!(!folder.path().join(NEW_JOURNAL).exists());
}

#[test]
fn files_that_no_entry_names_are_removed_and_no_file_is_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(folder.path());
    let (_, first) = put(&mut spool, "u/a", b"1");
    spool.link(&first).unwrap();
    spool.flush().unwrap();
    drop(spool);
    fs::write(folder.path().join(FILES).join("00"), b"").unwrap();
    fs::create_dir(folder.path().join(FILES).join("7")).unwrap();
    let (mut spool, _) = open(folder.path());
    assert_eq!(files(folder.path()), ["0"]);
    fs::hard_link(&first.path, folder.path().join(FILES).join("1")).unwrap();
    assert!(matches!(spool.take(&mut &b"other"[..], &mut Vec::new()), Err(Broken::Disk(_))));
    assert_eq!(fs::read(&first.path).unwrap(), b"1");
}

#[test]
fn a_file_that_did_not_come_whole_is_not_kept() {
    struct Torn;
    impl Read for Torn {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(folder.path());
    assert!(matches!(spool.take(&mut b"half".chain(Torn), &mut Vec::new()), Err(Broken::Wire(_))));
    assert_eq!((files(folder.path()), spool.held), (Vec::new(), 0));
}

#[test]
fn a_fresh_start_clears_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(folder.path());
    put(&mut spool, "u/a", b"1");
    spool.rest().unwrap();
    drop(spool);
    assert_eq!(open_with(folder.path(), &footing(), true).1, []);
    assert_eq!(files(folder.path()), [] as [&str; 0]);
    assert_eq!(open(folder.path()).1, []);
}

#[test]
fn the_last_blocks_of_the_disk_are_left_to_others() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(folder.path());
    spool.spare = u64::MAX;
    assert!(matches!(spool.take(&mut &b"1"[..], &mut Vec::new()), Err(Broken::Full)));
    assert_eq!(files(folder.path()), [] as [&str; 0]);
}

#[test]
fn nothing_is_added_to_a_journal_that_could_not_be_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(folder.path());
    let (first, _) = put(&mut spool, "u/a", b"1");
    spool.flush().unwrap();
    spool.lose();
    assert!(spool.note(&Op::Folder(path("u/b"))).is_err() && spool.rest().is_err() && spool.close_journal().is_err());
    drop(spool);
    assert_eq!(open(folder.path()).1, [first]);
}
