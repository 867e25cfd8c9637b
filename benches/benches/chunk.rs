//! From bytes to names: where each kind of content is cut, what its chunks are called, and that they are known.
#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use russet_benches::{blob, database, noise, text};
use russet_format::id::RepositoryId;
use russet_format::key::{Key, Secrets};
use russet_format::pack::ChunkKind;
use russet_repository::{Hint, KdfChoice, Repository};
use russet_store::MemoryStore;

const LEN: usize = 16 << 20;

/// What was stored before is cut, named and found, and goes no further: all that a backup does with contents that did not change.
fn known(c: &mut Criterion) {
    let cheapest = KdfChoice::Argon2id { memory_kib: 19 * 1024, passes: 1, lanes: 1 };
    let repository = Repository::create(Arc::new(MemoryStore::default()), b"password", cheapest, 0, None).unwrap();
    let draft = repository.draft().unwrap();
    let mut group = c.benchmark_group("cut, name and find");
    group.throughput(Throughput::Bytes(LEN as u64)).sample_size(20);
    let contents = [
        ("database", database(1, LEN), Hint::Look),
        ("picture", blob(2, LEN), Hint::Look),
        ("ciphertext", noise(3, LEN), Hint::Ciphertext),
        ("text", text(4, LEN), Hint::Look),
        ("unknown noise", noise(5, LEN), Hint::Look),
    ];
    let mut buffer = Vec::new();
    for (name, bytes, hint) in &contents {
        draft.store(&mut &bytes[..], *hint, &mut buffer, &mut |_| {}).unwrap();
        group.bench_with_input(BenchmarkId::from_parameter(name), bytes, |b, bytes| {
            b.iter(|| draft.store(&mut &bytes[..], *hint, &mut buffer, &mut |_| {}).unwrap());
        });
    }
    group.finish();
    draft.give_up().unwrap();
}

fn name(c: &mut Criterion) {
    let keys = Secrets::full(Key::new([1; 32]), Key::new([2; 32])).keys(RepositoryId([3; 16]));
    let bytes = noise(6, 1 << 20);
    let mut group = c.benchmark_group("name");
    for len in [512, 16 << 10, 1 << 20] {
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_with_input(BenchmarkId::from_parameter(len), &bytes[..len], |b, chunk| {
            b.iter(|| keys.writing.chunk_id(ChunkKind::Data, black_box(chunk)));
        });
    }
    group.finish();
}

criterion_group!(benches, known, name);
criterion_main!(benches);
