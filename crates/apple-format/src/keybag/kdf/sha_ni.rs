//! The rounds of PBKDF2 on x86 processors that have instructions for SHA-256.
//!
//! Every hash in them is of one block, whose second half never changes, and what comes out of one is the first half of the next. So
//! nothing needs to leave the registers, where the instructions want the state as `abef` and `cdgh`.

use std::arch::is_x86_feature_detected;
use std::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_extract_epi32, _mm_set_epi32, _mm_sha256msg1_epu32, _mm_sha256msg2_epu32,
    _mm_sha256rnds2_epu32, _mm_shuffle_epi32, _mm_unpackhi_epi64, _mm_unpacklo_epi64, _mm_xor_si128,
};

use zeroize::Zeroizing;

use super::{END, State};

/// Does what [`super::portable`] does; nothing if this processor cannot.
#[allow(unsafe_code)]
pub(super) fn rounds(inner: &State, outer: &State, first: &State, rounds: u32) -> Option<Zeroizing<State>> {
    let is_able = is_x86_feature_detected!("sha") && is_x86_feature_detected!("sse4.1") && is_x86_feature_detected!("ssse3");
    // SAFETY: the processor has all instructions that the function is compiled for.
    is_able.then(|| unsafe { in_registers(inner, outer, first, rounds) })
}

#[target_feature(enable = "sha,sse4.1,ssse3")]
fn in_registers(inner: &State, outer: &State, first: &State, rounds: u32) -> Zeroizing<State> {
    let states = [inner, outer].map(|[a, b, c, d, e, f, g, h]| [vector([*f, *e, *b, *a]), vector([*h, *g, *d, *c])]);
    let pads = Zeroizing::new(states);
    let halves = |words: &State| {
        let [low, high] = [0, 4].map(|at| vector([words[at], words[at + 1], words[at + 2], words[at + 3]]));
        [low, high]
    };
    let end = halves(&END);
    let mut sum = halves(first);
    let mut total = sum;
    for _ in 0..rounds {
        for pad in *pads {
            sum = in_order(compress(pad, [sum[0], sum[1], end[0], end[1]]));
        }
        total = [_mm_xor_si128(total[0], sum[0]), _mm_xor_si128(total[1], sum[1])];
    }
    let mut words = Zeroizing::new([0; 8]);
    for (four, half) in words.as_chunks_mut::<4>().0.iter_mut().zip(total) {
        four[0] = _mm_extract_epi32::<0>(half) as u32;
        four[1] = _mm_extract_epi32::<1>(half) as u32;
        four[2] = _mm_extract_epi32::<2>(half) as u32;
        four[3] = _mm_extract_epi32::<3>(half) as u32;
    }
    words
}

/// Four words, the first of them lowest.
#[inline]
#[target_feature(enable = "sse4.1")]
fn vector([a, b, c, d]: [u32; 4]) -> __m128i {
    _mm_set_epi32(d as i32, c as i32, b as i32, a as i32)
}

/// From `abef` and `cdgh` to the words in their order.
#[inline]
#[target_feature(enable = "sse4.1")]
fn in_order([abef, cdgh]: [__m128i; 2]) -> [__m128i; 2] {
    let (abef, cdgh) = (_mm_shuffle_epi32::<0x1b>(abef), _mm_shuffle_epi32::<0x1b>(cdgh));
    [_mm_unpacklo_epi64(abef, cdgh), _mm_unpackhi_epi64(abef, cdgh)]
}

/// SHA-256's compression of one block (FIPS 180-4, 6.2.2), sixteen times four steps.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn compress(state: [__m128i; 2], mut block: [__m128i; 4]) -> [__m128i; 2] {
    let [mut abef, mut cdgh] = state;
    for constants in STEPS.as_chunks::<4>().0 {
        let [now, next, third, last] = block;
        let words = _mm_add_epi32(now, vector(*constants));
        cdgh = _mm_sha256rnds2_epu32(cdgh, abef, words);
        abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32::<0x0e>(words));
        // What sixteen steps later is wanted.
        let sum = _mm_add_epi32(_mm_sha256msg1_epu32(now, next), _mm_alignr_epi8::<4>(last, third));
        block = [next, third, last, _mm_sha256msg2_epu32(sum, last)];
    }
    [_mm_add_epi32(abef, state[0]), _mm_add_epi32(cdgh, state[1])]
}

/// The constants of the 64 steps (FIPS 180-4, 4.2.2).
const STEPS: [u32; 64] = [
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01,
    0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc,
    0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
    0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08,
    0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
    0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
];
