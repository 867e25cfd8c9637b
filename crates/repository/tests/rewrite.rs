//! A rewritten snapshot is the old one without what was left out, and a run that dies leaves the old, the new or both.
#![allow(clippy::unwrap_used)]

mod folders;

use std::collections::BTreeMap;

use folders::{files, load, open, problem, repository};
use russet_format::snapshot::Severity;
use russet_format::tree::{Node, NodeKind};
use russet_repository::rewrite::{Change, RESTORE_UNFIT, REWRITTEN_FROM, REWRITTEN_WHY, Rewriter, Verdict};
use russet_repository::{Draft, Hint, Repository, RepositoryError, Result, Saved, Silent, SnapshotEntry, check};
use russet_store::{FaultyStore, MemoryStore};

/// Leaves out what is listed, and looks into every directory.
fn without<'a>(dropped: &'a [&'a str]) -> impl FnMut(&Draft, &[u8], &Node) -> Result<Verdict> + 'a {
    |_, path, _| Ok(if dropped.iter().any(|d| d.as_bytes() == path) { Verdict::Drop } else { Verdict::Enter })
}

fn rewrite(repository: &Repository, old: &SnapshotEntry, dropped: &[&str]) -> Result<Option<Saved>> {
    let mut rewriter = Rewriter::start(repository)?;
    let Some(tree) = rewriter.tree(&old.snapshot.root, &mut without(dropped))? else { return Ok(None) };
    let change = Change { why: "without some".into(), unfit: Some("some are gone".into()), ..Change::default() };
    rewriter.replace(old, tree, change);
    Ok(rewriter.commit(2_000)?.pop().map(|replaced| replaced.new))
}

#[test]
fn keeping_everything_changes_nothing() {
    let (store, repository, old) = repository(&files());
    let before = store.names();
    assert!(rewrite(&repository, &old, &[]).unwrap().is_none());
    let keep = |_: &Draft, _: &[u8], node: &Node| Ok(Verdict::Replace(Box::new(node.clone())));
    assert!(Rewriter::start(&repository).unwrap().tree(&old.snapshot.root, &mut { keep }).unwrap().is_none());
    assert_eq!(store.names(), before);
}

#[test]
fn what_is_left_out_is_gone_and_everything_else_is_as_it_was() {
    let mut truth = files();
    let (store, repository, old) = repository(&truth);
    let dropped = ["mixed/3", "mixed/8", "top"];
    let new = rewrite(&repository, &old, &dropped).unwrap().unwrap();
    truth.retain(|path, _| !dropped.contains(&&path[..]));

    let again = open(store).unwrap();
    let entries = again.snapshots().unwrap().entries;
    assert_eq!(entries.iter().map(|e| e.name).collect::<Vec<_>>(), [new.name], "the old one is gone");
    let snapshot = &entries[0].snapshot;
    assert!(load(&again, &snapshot.root) == truth);
    assert_eq!((snapshot.files, snapshot.bytes), (truth.len() as u64, truth.values().map(|b| b.len() as u64).sum()));
    assert_eq!((snapshot.started, snapshot.finished), (old.snapshot.started, old.snapshot.finished));
    let fact = |name: &str| snapshot.facts.get(name).map(String::as_str);
    assert_eq!(fact(REWRITTEN_FROM), Some(&old.name.hex()[..]));
    assert_eq!((fact(REWRITTEN_WHY), fact(RESTORE_UNFIT)), (Some("without some"), Some("some are gone")));
    assert_eq!((fact("source.path"), &snapshot.problems), (Some("/home"), &old.snapshot.problems));
    assert_eq!(again.pins().unwrap(), BTreeMap::from([(new.name.hex(), "the first".to_owned())]));

    let nodes = again.reader().unwrap().nodes(&snapshot.root).unwrap();
    let before = again.reader().unwrap().nodes(&old.snapshot.root).unwrap();
    assert_eq!(nodes[0], before[0], "a directory without a change keeps its chunks");
    assert_eq!(nodes[1].totals, Some((7, 140_000)));
}

#[test]
fn contents_are_replaced_by_what_the_visitor_stored_and_losses_make_a_snapshot_partial() {
    let (_, repository, old) = repository(&files());
    let mut rewriter = Rewriter::start(&repository).unwrap();
    let mut visit = |draft: &Draft, path: &[u8], node: &Node| {
        if path != b"mixed/5" {
            return Ok(if b"mixed/5".starts_with(path) { Verdict::Enter } else { Verdict::Keep });
        }
        let content = draft.store(&mut &b"other"[..], Hint::Look, &mut Vec::new(), &mut |_| {})?;
        Ok(Verdict::Replace(Box::new(Node { kind: NodeKind::File(content), ..node.clone() })))
    };
    let tree = rewriter.tree(&old.snapshot.root, &mut visit).unwrap().unwrap();
    assert_eq!((tree.files, tree.bytes), (old.snapshot.files, old.snapshot.bytes - 20_000 + 5));
    let problems = vec![problem("mixed/5", Severity::Loss)];
    rewriter.replace(&old, tree, Change { why: "other".into(), problems, ..Change::default() });
    let new = rewriter.commit(2_000).unwrap().pop().unwrap().new;
    assert_eq!(load(&repository, &new.snapshot.root)["mixed/5"], b"other");
    assert!(!new.snapshot.whole && !new.snapshot.facts.contains_key(RESTORE_UNFIT));
    assert_eq!(new.snapshot.problems.len(), 2);
}

#[test]
fn killed_anywhere_it_leaves_the_old_the_new_or_both_and_the_next_run_finishes() {
    let truth = files();
    let (store, _, old) = repository(&truth);
    let base = store.snapshot();
    for writes in 0.. {
        let disk = MemoryStore::from(base.clone());
        let outcome = open(FaultyStore::dying_after(writes, disk.clone())).and_then(|r| rewrite(&r, &old, &["top"]));
        let after = open(disk.clone()).unwrap();
        let report = check::check(&after, &[], Some(100), &Silent).unwrap();
        assert!(!report.has_loss(), "after {writes} writes: {report:?}");
        let left = after.snapshots().unwrap().entries;
        assert!(matches!(left.len(), 1 | 2), "after {writes} writes");
        for entry in &left {
            let is_old = entry.name == old.name;
            assert_eq!(load(&after, &entry.snapshot.root).len(), truth.len() - usize::from(!is_old));
            assert!(left.len() == 2 || after.pins().unwrap().contains_key(&entry.name.hex()), "what is left is pinned");
        }
        if let Some(old) = left.iter().find(|entry| entry.name == old.name) {
            rewrite(&after, old, &["top"]).unwrap().unwrap();
            let finished = after.snapshots().unwrap().entries;
            assert_eq!(finished.len(), 1, "after {writes} writes, a second new one was made");
        }
        if outcome.is_ok() {
            assert!(writes > 5);
            return;
        }
    }
}

#[test]
fn a_directory_that_cannot_be_read_ends_the_rewriting_unless_the_visitor_goes_on() {
    struct Salvage(Vec<String>);
    impl russet_repository::rewrite::Visitor for Salvage {
        fn visit(&mut self, _: &Draft, _: &[u8], _: &Node) -> Result<Verdict> {
            Ok(Verdict::Enter)
        }
        fn unreadable(&mut self, path: &[u8], _: RepositoryError) -> Result<()> {
            self.0.push(String::from_utf8_lossy(path).into_owned());
            Ok(())
        }
    }
    let (_, repository, old) = repository(&files());
    // A directory of many chunks, one of which is in no pack.
    let draft = repository.draft().unwrap();
    let mut top = draft.reader().nodes(&old.snapshot.root).unwrap();
    let NodeKind::Directory(keep) = &mut top[0].kind else { panic!("not a directory") };
    assert!(keep.depth == 0 && keep.entries.len() > 2);
    keep.entries[1].id.0[0] ^= 1;
    let root = draft.directory(top).unwrap();
    draft.give_up().unwrap();

    let mut rewriter = Rewriter::start(&repository).unwrap();
    let strict = rewriter.tree(&root, &mut without(&[]));
    assert!(matches!(strict, Err(RepositoryError::MissingChunk { .. })), "{strict:?}");
    let mut salvage = Salvage(Vec::new());
    let tree = rewriter.tree(&root, &mut salvage).unwrap().unwrap();
    assert_eq!(salvage.0, ["keep"]);
    assert!(tree.files < old.snapshot.files && tree.files > old.snapshot.files / 2, "{} files", tree.files);
    rewriter.replace(&old, tree, Change::default());
    let saved = rewriter.commit(2_000).unwrap().pop().unwrap().new;
    let (left, truth) = (load(&repository, &saved.snapshot.root), files());
    assert_eq!(left.len() as u64, saved.snapshot.files);
    assert!(left.iter().all(|(path, bytes)| truth[path] == *bytes));
}
