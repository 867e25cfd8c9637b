//! Apple's layer: the rounds from a password to its key, and what is under it.
#![allow(clippy::unwrap_used)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use russet_apple_format::FileKey;
use russet_apple_format::cipher::{Decryptor, Encryptor};
use russet_apple_format::keybag::{Keybag, NewKeybag};
use russet_benches::noise;

const ROUNDS: u32 = 100_000;

fn password(c: &mut Criterion) {
    let bag = NewKeybag { uuid: [0; 16], salt: [1; 20], iterations: 1, double_protection: Some(([2; 20], ROUNDS)), classes: &[] };
    let bag = Keybag::create(&bag, "password").unwrap();
    let mut group = c.benchmark_group("password");
    group.throughput(Throughput::Elements(ROUNDS.into())).sample_size(10);
    group.bench_function("rounds of PBKDF2", |b| b.iter(|| bag.derive("password").unwrap()));
    group.finish();
}

fn cipher(c: &mut Criterion) {
    let key = FileKey::from_bytes([7; 32]);
    let mut bytes = noise(1, 1 << 20);
    let mut group = c.benchmark_group("AES-256-CBC");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("decrypt", |b| b.iter(|| Decryptor::new(&key).decrypt(&mut bytes).unwrap()));
    group.bench_function("encrypt", |b| b.iter(|| Encryptor::new(&key).encrypt(&mut bytes).unwrap()));
    group.finish();
}

criterion_group!(benches, password, cipher);
criterion_main!(benches);
