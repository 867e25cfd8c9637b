//! From segments to sealed packs and back: compress and check, seal and check, parity, open, unpack, heal.
#![allow(clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use russet_benches::{database, noise, text};
use russet_format::Kind;
use russet_format::id::RepositoryId;
use russet_format::key::{Key, Keys, Secrets};
use russet_format::pack::{Codec, PACK_FRAMES, PACK_TARGET, SEGMENT_TARGET, unpack_segment};
use russet_format::parity::{Shape, Share, heal};
use russet_format::seal::{Header, Sealer, digest, end_of_stream};

fn keys() -> Keys {
    Secrets::full(Key::new([1; 32]), Key::new([2; 32])).keys(RepositoryId([3; 16]))
}

/// A segment as it is compressed: zstd at the level of a backup, then unpacked again and compared.
fn compress(c: &mut Criterion) {
    let mut group = c.benchmark_group("compress and check");
    group.throughput(Throughput::Bytes(SEGMENT_TARGET as u64)).sample_size(20);
    let contents =
        [("database", database(1, SEGMENT_TARGET)), ("text", text(2, SEGMENT_TARGET)), ("noise", noise(3, SEGMENT_TARGET))];
    for (name, raw) in &contents {
        group.bench_with_input(BenchmarkId::from_parameter(name), raw, |b, raw| {
            b.iter(|| {
                let stored = zstd::bulk::compress(raw, 3).unwrap();
                assert!(unpack_segment(Codec::Zstd, &stored, raw.len() as u32).unwrap() == *raw);
                stored
            });
        });
    }
    group.finish();
    let mut group = c.benchmark_group("unpack");
    group.throughput(Throughput::Bytes(SEGMENT_TARGET as u64)).sample_size(20);
    for (name, raw) in &contents[..2] {
        let stored = zstd::bulk::compress(raw, 3).unwrap();
        group.bench_with_input(BenchmarkId::from_parameter(name), &stored, |b, stored| {
            b.iter(|| unpack_segment(Codec::Zstd, black_box(stored), SEGMENT_TARGET as u32).unwrap());
        });
    }
    group.finish();
}

/// A whole pack on one core, and its frames opened again as a reader does.
fn seal(c: &mut Criterion) {
    let keys = keys();
    let (frame, tag) = (1 << PACK_FRAMES, 16);
    let body = noise(4, PACK_TARGET - 4096);
    let stream = [&body[..], &end_of_stream(body.len(), &[0; 64], PACK_FRAMES)].concat();
    let frames = stream.len() / frame;
    let mut stored = vec![0; frames * (frame + tag)];
    let mut scratch = Vec::new();
    let mut pack = |stored: &mut Vec<u8>| {
        let sealer =
            Sealer::new(Kind::Pack, &keys, PACK_FRAMES, frames as u32, &digest(std::iter::empty(), &[0; 64]), Share::NONE)
                .unwrap();
        for (number, (plain, place)) in stream.chunks(frame).zip(stored.chunks_mut(frame + tag)).enumerate() {
            sealer.seal(number as u32, &[plain], place, &mut scratch).unwrap();
        }
        sealer.header_bytes()
    };
    let mut group = c.benchmark_group("pack");
    group.throughput(Throughput::Bytes(stream.len() as u64)).sample_size(20);
    group.bench_function("seal and check", |b| b.iter(|| pack(&mut stored)));
    let file = [pack(&mut stored), stored].concat();
    let header = Header::decode(Kind::Pack, keys.repository, &file).unwrap();
    let opener = header.open(&keys).unwrap();
    group.bench_function("open", |b| b.iter(|| opener.open(0, black_box(&file[header.len()..])).unwrap()));
    group.finish();
}

/// What parity costs a backup, and what damage costs whoever reads.
fn parity(c: &mut Criterion) {
    let covered = noise(5, PACK_TARGET);
    let mut group = c.benchmark_group("parity");
    group.throughput(Throughput::Bytes(covered.len() as u64)).sample_size(20);
    for percent in [3, 20] {
        let shape = Shape::of_share(covered.len(), Share::new(percent).unwrap()).unwrap();
        group
            .bench_with_input(BenchmarkId::new("make", percent), &shape, |b, shape| b.iter(|| shape.encode(black_box(&covered))));
    }
    let shape = Shape::of_share(covered.len(), Share::DEFAULT).unwrap();
    let file = [&covered[..], &shape.encode(&covered)].concat();
    let mut damaged = file.clone();
    damaged[1 << 20..(1 << 20) + 100 * 4096].fill(0);
    group.bench_function("heal 100 sectors", |b| b.iter(|| heal(black_box(&damaged), &|bytes| bytes == file).unwrap()));
    group.finish();
}

criterion_group!(benches, compress, seal, parity);
criterion_main!(benches);
