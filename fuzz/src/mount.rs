//! The entrance of a mount: whatever the kernel, or whoever speaks for it, may ask.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use russet_backup::source::{Found, inspect};
use russet_backup::{Request, Unlock, apple, folder};
use russet_mount::{Kind, Surroundings, Tree};
use russet_repository::{KdfChoice, Repository, Silent};
use russet_specimen::Specimen;
use russet_store::MemoryStore;
use zeroize::Zeroizing;

const ROOT: u64 = 1;
/// No request asks for more at a time.
const MOST_READ: usize = 128 << 10;

/// A phone of two days, and a folder, mounted.
static TREE: LazyLock<Tree> = LazyLock::new(|| {
    let quick = KdfChoice::Argon2id { memory_kib: 19 * 1024, passes: 1, lanes: 1 };
    let repository = Repository::create(Arc::new(MemoryStore::default()), b"pw", quick, 1, None).unwrap();
    let request = |day: i64| Request {
        started: (1_700_000_000 + day * 86_400, 0),
        clock: &|| 0,
        host: "desk".into(),
        facts: Default::default(),
        exclude: Vec::new(),
    };
    for day in 1..3 {
        let scratch = tempfile::tempdir().unwrap();
        let written = Specimen::default().write(scratch.path(), day as u32).unwrap();
        let Found::Apple(found) = inspect(&written.folder).unwrap() else { panic!("no Apple backup") };
        let mut ask = |_: &russet_backup::Ask<'_>| Some(Zeroizing::new("specimen".to_owned()));
        apple::import(&repository, &found, Unlock::Ask(&mut ask), &request(day), &Silent).unwrap();
        folder::import(&repository, &written.folder, &request(day + 9), &Silent).unwrap();
    }
    let surroundings =
        Surroundings { local_time: Box::new(|unix| format!("T{unix}")), elapsed: Box::new(|| Duration::from_secs(9)) };
    Tree::new(repository, surroundings).unwrap()
});

/// Requests, one after the other: what to do, with which inode (one that was seen, or any number), at which offset, and a name.
pub fn mount_requests(data: &[u8]) {
    let tree = &*TREE;
    let mut seen = vec![ROOT];
    let mut rest = data;
    while let Some((&[what, pick, long, len], after)) = rest.split_first_chunk::<4>() {
        let (number, after) = after.split_at(after.len().min(8));
        let raw = number.iter().fold(0u64, |number, &byte| number << 8 | u64::from(byte));
        let ino = if long & 1 == 0 { seen[usize::from(pick) % seen.len()] } else { raw };
        let (name, after) = after.split_at(after.len().min(usize::from(len)));
        rest = after;
        match what % 6 {
            0 => {
                if let Ok(found) = tree.lookup(ino, name) {
                    assert_eq!(tree.attributes(found.ino).unwrap(), found);
                    seen.push(found.ino);
                }
            }
            1 => {
                if let Ok(known) = tree.attributes(ino) {
                    assert_eq!((known.ino, known.permissions & 0o222 & if known.kind == Kind::Symlink { 0 } else { 0o777 }), (ino, 0));
                }
            }
            2 => drop(tree.link(ino)),
            3 => {
                // Of a number that nobody was given the answer means nothing.
                if let (Ok(_), Ok(parent)) = (tree.attributes(ino), tree.parent(ino)) {
                    assert_eq!(tree.attributes(parent).unwrap().kind, Kind::Directory);
                }
            }
            4 => {
                let mut names = BTreeSet::new();
                let from = raw as usize;
                let listed = tree.list(ino, from, &mut |name, attributes| {
                    assert!(!name.is_empty() && !name.contains(&b'/') && !name.contains(&0) && name != b"." && name != b"..");
                    assert!(names.insert(name.to_vec()), "a name is there twice");
                    seen.push(attributes.ino);
                    names.len() < 100
                });
                drop(listed);
            }
            _ => {
                let Ok(open) = tree.open(ino) else { continue };
                let size = tree.attributes(ino).unwrap().size;
                let mut out = vec![0; usize::from(pick) * 512 % MOST_READ];
                let read = tree.read(&open, raw, &mut out).unwrap();
                let wanted = size.saturating_sub(raw).min(out.len() as u64);
                assert_eq!(read as u64, wanted, "{raw} of {size}");
            }
        }
    }
}
