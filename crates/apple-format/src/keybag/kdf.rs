//! From the password to the key-encryption key.
//!
//! Apple asks for ten million rounds of PBKDF2-HMAC-SHA256, so their inner loop stands here: both
//! HMAC pads are compressed once, and a round is two compressions of one prepared block each.

#[cfg(target_arch = "x86_64")]
mod sha_ni;

use pbkdf2::pbkdf2_hmac;
use sha1::Sha1;
use sha2::block_api::compress256;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use super::DoubleProtection;
use crate::Kek;

pub(super) fn derive(password: &[u8], salt: &[u8], iterations: u32, double: Option<&DoubleProtection>) -> Kek {
    let mut kek = Zeroizing::new([0; 32]);
    match double {
        Some(double) => {
            let first = pbkdf2_sha256(password, &double.salt, double.iterations);
            pbkdf2_hmac::<Sha1>(first.as_slice(), salt, iterations, kek.as_mut_slice());
        }
        None => pbkdf2_hmac::<Sha1>(password, salt, iterations, kek.as_mut_slice()),
    }
    Kek::from_bytes(*kek)
}

/// Eight words: the state of SHA-256, or what a hash comes to.
type State = [u32; 8];

/// The second half of every block that is hashed: the message is 32 bytes after a pad of 64.
const END: State = [0x8000_0000, 0, 0, 0, 0, 0, 0, 8 * (64 + 32)];

/// PBKDF2-HMAC-SHA256 with 32 bytes of output, the same as `pbkdf2::pbkdf2_hmac` and faster.
fn pbkdf2_sha256(password: &[u8], salt: &[u8], rounds: u32) -> Zeroizing<[u8; 32]> {
    let mut sum = Zeroizing::new([0; 32]);
    pbkdf2_hmac::<Sha256>(password, salt, 1, sum.as_mut_slice());
    let first = Zeroizing::new(words(&sum));
    let (inner, outer) = pads(password);
    let further = rounds.saturating_sub(1);
    #[cfg(target_arch = "x86_64")]
    let total = sha_ni::rounds(&inner, &outer, &first, further);
    #[cfg(not(target_arch = "x86_64"))]
    let total = None;
    put(sum.as_chunks_mut().0, &total.unwrap_or_else(|| portable(&inner, &outer, &first, further)));
    sum
}

/// The first sum, with the sums of so many further rounds XORed to it.
fn portable(inner: &State, outer: &State, first: &State, rounds: u32) -> Zeroizing<State> {
    let mut block = Zeroizing::new([[0; 64]]);
    let (message, end) = block[0].as_chunks_mut().0.split_at_mut(8);
    put(message, first);
    put(end, &END);
    let mut total = Zeroizing::new(*first);
    let mut state = Zeroizing::new([0; 8]);
    for _ in 0..rounds {
        for pad in [inner, outer] {
            *state = *pad;
            compress256(&mut state, block.as_slice());
            put(block[0].as_chunks_mut().0, &state);
        }
        for (total, word) in total.iter_mut().zip(state.iter()) {
            *total ^= word;
        }
    }
    total
}

/// The states of SHA-256 after the inner and the outer pad of HMAC.
fn pads(password: &[u8]) -> (Zeroizing<State>, Zeroizing<State>) {
    /// Where SHA-256 starts (FIPS 180-4, 5.3.3).
    const START: State = [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];
    let mut key = Zeroizing::new([0; 64]);
    if password.len() <= key.len() {
        key[..password.len()].copy_from_slice(password);
    } else {
        let mut hash: [u8; 32] = Sha256::digest(password).into();
        key[..32].copy_from_slice(&hash);
        hash.zeroize();
    }
    let pad = |mask: u8| {
        let block = Zeroizing::new([key.map(|byte| byte ^ mask)]);
        let mut state = Zeroizing::new(START);
        compress256(&mut state, block.as_slice());
        state
    };
    (pad(0x36), pad(0x5c))
}

fn words(bytes: &[u8; 32]) -> State {
    let (words, _) = bytes.as_chunks();
    std::array::from_fn(|i| u32::from_be_bytes(words[i]))
}

#[inline(always)]
fn put(fields: &mut [[u8; 4]], words: &State) {
    for (field, word) in fields.iter_mut().zip(words) {
        *field = word.to_be_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::hex;

    #[test]
    fn the_fast_loop_agrees_with_the_pbkdf2_crate() {
        for password in ["", "0000", "pässword 🔑", &"x".repeat(64), &"y".repeat(65), &"z".repeat(300)] {
            for (salt, rounds) in [(&b""[..], 1), (b"salt", 2), (&[7; 20], 3), (&[9; 64], 1_000)] {
                let mut expected = [0; 32];
                pbkdf2_hmac::<Sha256>(password.as_bytes(), salt, rounds, &mut expected);
                assert_eq!(*pbkdf2_sha256(password.as_bytes(), salt, rounds), expected, "{password} {rounds}");
            }
        }
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_loop_in_registers_agrees_with_the_portable_one() {
        let mut state: [State; 3] =
            std::array::from_fn(|n| std::array::from_fn(|i| 0x9e37_79b9_u32.wrapping_mul((8 * n + i + 1) as u32)));
        for rounds in [0, 1, 2, 3, 100, 1_001] {
            let [inner, outer, first] = &mut state;
            let expected = portable(inner, outer, first, rounds);
            if let Some(total) = sha_ni::rounds(inner, outer, first, rounds) {
                assert_eq!(total, expected, "{rounds}");
            }
            *first = *expected;
        }
    }

    /// What Appendix B.7 of the protocol notes computes for `test-password`.
    fn own_vector(rounds: Option<u32>, kek: &str) {
        let salt: [u8; 20] = std::array::from_fn(|i| 0x40 + i as u8);
        let double = rounds.map(|iterations| DoubleProtection { salt: (0x20..0x34).collect(), iterations });
        let derived = derive(b"test-password", &salt, 10_000, double.as_ref());
        assert_eq!(derived.expose(), &hex::<32>(kek));
    }

    #[test]
    fn a_thousand_rounds_give_the_published_key() {
        let salt: Vec<u8> = (0x20..0x34).collect();
        let r1 = hex("fabcc69be5143f81793a60481eef48b19fcfe213e258e792df5a6026300c1b02");
        assert_eq!(*pbkdf2_sha256(b"test-password", &salt, 1_000), r1);
        own_vector(Some(1_000), "8a34f78deb5bd9e290618cb14684cc465d694249cef1d03aaf4b5938b8814c13");
    }

    #[test]
    fn ten_million_rounds_give_the_published_key() {
        own_vector(Some(10_000_000), "20f3cfe705be82b929bfcaa850f9be5e1790235bf78241c1499b7e8bae73b0ff");
    }

    #[test]
    fn no_double_protection_gives_the_published_key() {
        own_vector(None, "c4e2d0f1f77e125f7a5f89eacdb6ca45574b325cc910293a592d9766d54cf229");
    }
}
