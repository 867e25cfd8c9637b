//! All stages together, on every core and a repository in memory: contents stored, read back and checked, and chunks looked up.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use russet_benches::{blob, database, text};
use russet_format::id::ChunkId;
use russet_format::snapshot::Source;
use russet_format::tree::{Content, Node, NodeKind};
use russet_repository::{Draft, Hint, KdfChoice, Meta, Repository, Silent, check};
use russet_store::MemoryStore;

const LEN: usize = 32 << 20;

fn repository() -> Repository {
    let cheapest = KdfChoice::Argon2id { memory_kib: 19 * 1024, passes: 1, lanes: 1 };
    Repository::create(Arc::new(MemoryStore::default()), b"password", cheapest, 0, None).unwrap()
}

fn store(draft: &Draft, bytes: &[u8]) -> Content {
    draft.store(&mut &bytes[..], Hint::Look, &mut Vec::new(), &mut |_| {}).unwrap()
}

fn commit(draft: Draft, files: Vec<Node>) {
    let root = draft.directory(files).unwrap();
    let meta = Meta {
        started: (0, 0),
        finished: 0,
        source: Source::Folder,
        parent: None,
        files: 0,
        bytes: 0,
        facts: BTreeMap::new(),
        problems: Vec::new(),
    };
    draft.commit(root, meta).unwrap();
}

fn contents(c: &mut Criterion) {
    let contents = [("database", database(1, LEN)), ("pictures", blob(2, LEN)), ("text", text(3, LEN))];
    let mut group = c.benchmark_group("store");
    group.throughput(Throughput::Bytes(LEN as u64)).sample_size(10);
    for (name, bytes) in &contents {
        group.bench_with_input(BenchmarkId::from_parameter(name), bytes, |b, bytes| {
            b.iter_batched(
                repository,
                |repository| {
                    let draft = repository.draft().unwrap();
                    store(&draft, bytes);
                    draft.give_up().unwrap();
                    repository
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();

    let repository = repository();
    let draft = repository.draft().unwrap();
    let files = contents.iter().map(|(name, bytes)| Node::new(*name, NodeKind::File(store(&draft, bytes)))).collect::<Vec<_>>();
    commit(draft, files.clone());
    let mut group = c.benchmark_group("read back");
    group.throughput(Throughput::Bytes(LEN as u64)).sample_size(10);
    for node in &files {
        let NodeKind::File(content) = &node.kind else { unreachable!("they are files") };
        group.bench_with_input(BenchmarkId::from_parameter(String::from_utf8_lossy(&node.name)), content, |b, content| {
            // A reader of its own each time, which has nothing at hand.
            b.iter(|| {
                repository.forget_index();
                let mut seen = |piece: &[u8]| {
                    black_box(piece);
                    Ok(())
                };
                repository.reader().unwrap().open(content).for_each(&mut seen).unwrap();
            });
        });
    }
    group.finish();
    let mut group = c.benchmark_group("verify");
    group.throughput(Throughput::Bytes(3 * LEN as u64)).sample_size(10);
    group.bench_function("every byte", |b| {
        b.iter(|| assert!(check::check(&repository, &[], Some(100), &Silent).unwrap().is_sound()))
    });
    group.finish();
}

fn lookup(c: &mut Criterion) {
    let repository = repository();
    let draft = repository.draft().unwrap();
    let files: Vec<Node> =
        (0..100_000_u32).map(|at| Node::new(format!("{at:06}"), NodeKind::File(store(&draft, &at.to_le_bytes())))).collect();
    let known: Vec<ChunkId> = files
        .iter()
        .map(|node| match &node.kind {
            NodeKind::File(content) => content.entries[0].id,
            _ => unreachable!("they are files"),
        })
        .collect();
    commit(draft, files);
    repository.forget_index();
    let index = repository.index().unwrap();
    let mut group = c.benchmark_group("look up among 100,000");
    let mut at = 0;
    group.bench_function("known", |b| {
        b.iter(|| {
            at = (at + 7_919) % known.len();
            assert!(index.knows(&known[at]));
        })
    });
    group.bench_function("new", |b| {
        b.iter(|| {
            at += 1;
            let mut id = [0; 32];
            id[..8].copy_from_slice(&(at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
            assert!(!index.knows(&ChunkId(id)));
        })
    });
    group.finish();
}

criterion_group!(benches, contents, lookup);
criterion_main!(benches);
