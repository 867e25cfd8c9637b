//! Bits turn in memory between naming a chunk and putting its pack: none of them reaches the store.

use std::cell::Cell;

use russet_format::id::RepositoryId;
use russet_format::key::{Key, Secrets};
use russet_store::MemoryStore;

use super::*;

thread_local! {
    static TURNS: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Turns a bit of what was just compressed, if a test of this thread wants that.
pub(super) fn turn_a_bit(bytes: &mut [u8]) {
    if let Some(at) = TURNS.take() {
        let at = at % bytes.len();
        bytes[at] ^= 1;
    }
}

fn keys() -> Keys {
    Secrets::full(Key::new([1; 32]), Key::new([2; 32])).keys(RepositoryId([3; 16]))
}

/// A segment of a few chunks that compress, or do not.
fn gathered(dense: bool) -> OpenSegment {
    let mut open = OpenSegment::default();
    for n in 0..20u8 {
        let mut plain = vec![n; 5_000];
        if dense {
            blake3::Hasher::new().update(&[n]).finalize_xof().fill(&mut plain);
        }
        open.raw.extend_from_slice(&plain);
        open.sum.update(&plain);
        open.chunks.push((keys().writing.chunk_id(ChunkKind::Data, &plain), plain.len() as u32));
    }
    open
}

fn is_caught<T>(outcome: Result<T>) -> bool {
    matches!(outcome, Err(RepositoryError::Format(FormatError::CheckAfterEncode { .. })))
}

#[test]
fn a_bit_that_turns_while_chunks_gather_is_caught() {
    for dense in [false, true] {
        assert!(compress(gathered(dense), &Buffers::default()).is_ok());
        for at in (0..100_000).step_by(997) {
            let mut open = gathered(dense);
            open.raw[at] ^= 0x20;
            assert!(is_caught(compress(open, &Buffers::default())), "byte {at}, dense: {dense}");
        }
    }
    // Also if segments were put together meanwhile.
    let mut second = gathered(true);
    second.raw[5] ^= 1;
    let merged = merge(vec![gathered(false), second]);
    assert_eq!(merged.len(), 1);
    assert!(merged.into_iter().all(|open| is_caught(compress(open, &Buffers::default()))));
    assert!(merge(vec![gathered(false), gathered(true)]).into_iter().all(|open| compress(open, &Buffers::default()).is_ok()));
}

#[test]
fn a_bit_that_turns_between_compressing_and_comparing_is_caught() {
    for at in 0..200 {
        TURNS.set(Some(at));
        assert!(is_caught(compress(gathered(false), &Buffers::default())), "byte {at}");
        assert_eq!(TURNS.take(), None, "the bit was turned");
    }
}

#[test]
fn a_bit_that_turns_while_a_segment_waits_for_its_pack_is_caught() {
    for dense in [false, true] {
        let full = || {
            let mut builder = PackBuilder::new(ChunkKind::Data);
            assert!(builder.add(compress(gathered(dense), &Buffers::default()).unwrap()).is_none());
            builder.finish().pop().unwrap()
        };
        let buffers = Buffers::default();
        assert!(full().seal(&keys(), Share::DEFAULT, &buffers).is_ok());
        for at in [0, 1, 100, 5_000, 50_000] {
            let mut turned = full();
            turned.turn_a_bit(at);
            assert!(is_caught(turned.seal(&keys(), Share::DEFAULT, &buffers).map(drop)), "byte {at}, dense: {dense}");
        }
    }
}

#[test]
fn a_run_in_which_a_bit_turns_puts_no_pack_that_has_it_and_fails() {
    let store = MemoryStore::default();
    let index = Arc::new(Index::build(std::iter::empty(), &Default::default()));
    let pipeline = Pipeline::start(Arc::new(store.clone()), Arc::new(keys()), Share::DEFAULT, index);
    let mut segment = None;
    pipeline.keep(Class::Mixed, &[7; 60_000], &mut segment).unwrap();
    let mut segment = segment.unwrap();
    segment.raw[33] ^= 4;
    pipeline.put_back(Class::Mixed, segment);
    let error = pipeline.finish().unwrap_err();
    assert!(error.to_string().contains("compressing a segment"), "{error}");
    assert!(store.names().is_empty());
}
