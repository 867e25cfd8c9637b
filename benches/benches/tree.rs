//! Directories: nodes to bytes and back.
#![allow(clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use russet_format::id::ChunkId;
use russet_format::tree::{Content, Entry, Layer, Node, NodeKind, decode_nodes};
use russet_format::write::Writer;

const NODES: usize = 1_000;

/// Files as an encrypted phone's are kept: one chunk each, a key, the hash of the ciphertext.
fn nodes() -> Vec<Node> {
    let node = |at: usize| {
        let content = Content { depth: 0, entries: vec![Entry::whole(ChunkId([at as u8; 32]), 20_000 + at as u64)] };
        let mut node = Node::new(format!("IMG_{at:05}.HEIC"), NodeKind::File(content));
        node.mode = 0o100_644;
        node.mtime = (1_760_000_000 + at as i64, 0);
        node.layer = Some(Layer::Peeled { key: [1; 32], ciphertext: [2; 32] });
        node
    };
    (0..NODES).map(node).collect()
}

fn encode(nodes: &[Node]) -> Vec<u8> {
    let mut w = Writer::new();
    for node in nodes {
        node.encode(&mut w);
    }
    w.finish()
}

fn tree(c: &mut Criterion) {
    let nodes = nodes();
    let chunk = encode(&nodes);
    let mut group = c.benchmark_group("tree");
    group.throughput(Throughput::Elements(NODES as u64));
    group.bench_function("encode", |b| b.iter(|| encode(black_box(&nodes))));
    group.bench_function("decode", |b| b.iter(|| decode_nodes(black_box(&chunk), None).unwrap()));
    group.finish();
}

criterion_group!(benches, tree);
criterion_main!(benches);
