//! The cipher of frames: ChaCha20-Poly1305 (RFC 8439) as ring implements it, because all bytes of a repository go through it twice.
//!
//! The `chacha20poly1305` crate seals everything else, and is the reference that a test holds this one to: same bytes, half the time.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

use crate::key::Key;
use crate::seal::TAG;

/// Seals and opens the frames of one file. The key is of no use for another.
pub(crate) struct FrameCipher(LessSafeKey);

/// That a frame cannot be sealed, or is not what was sealed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused;

impl FrameCipher {
    pub(crate) fn new(key: &Key) -> FrameCipher {
        let key = UnboundKey::new(&CHACHA20_POLY1305, key.expose());
        FrameCipher(LessSafeKey::new(key.expect("a key has the 32 bytes that the cipher takes")))
    }

    /// Seals `text` where it lies.
    pub(crate) fn seal(&self, nonce: [u8; 12], text: &mut [u8]) -> Result<[u8; TAG], Refused> {
        let sealed = self.0.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), text);
        sealed.ok().and_then(|tag| tag.as_ref().try_into().ok()).ok_or(Refused)
    }

    /// Opens `text` where it lies. If it is refused, what is left there means nothing.
    pub(crate) fn open(&self, nonce: [u8; 12], text: &mut [u8], tag: [u8; TAG]) -> Result<(), Refused> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.0.open_in_place_separate_tag(nonce, Aad::empty(), tag.into(), text, 0..).map(drop).map_err(|_| Refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chacha20poly1305::aead::{AeadInOut, KeyInit};
    use chacha20poly1305::{ChaCha20Poly1305, Nonce as ReferenceNonce};

    #[test]
    fn frames_are_the_bytes_that_the_reference_makes_and_each_opens_the_others() {
        for len in [0, 1, 15, 16, 63, 64, 65, 255, 4096, 65_535, 65_536, 1 << 20] {
            let mut plain = vec![0; len];
            blake3::Hasher::new().update(&len.to_le_bytes()).finalize_xof().fill(&mut plain);
            let (key, nonce) = ([len as u8; 32], [len as u8 ^ 7; 12]);
            let (ours, reference) = (FrameCipher::new(&Key::new(key)), ChaCha20Poly1305::new(&key.into()));

            let (mut a, mut b) = (plain.clone(), plain.clone());
            let tag = ours.seal(nonce, &mut a).unwrap();
            let wanted = reference.encrypt_inout_detached(&ReferenceNonce::from(nonce), &[], b.as_mut_slice().into()).unwrap();
            assert!(a == b && tag == *wanted, "{len} bytes");

            let opened =
                reference.decrypt_inout_detached(&ReferenceNonce::from(nonce), &[], a.as_mut_slice().into(), &tag.into());
            assert!(opened.is_ok() && a == plain);
            assert!(ours.open(nonce, &mut b, tag).is_ok() && b == plain);
        }
    }

    #[test]
    fn a_flipped_bit_in_text_tag_or_nonce_is_refused() {
        let cipher = FrameCipher::new(&Key::new([1; 32]));
        let mut sealed = *b"some text of a frame";
        let tag = cipher.seal([2; 12], &mut sealed).unwrap();
        let open = |mut text: [u8; 20], tag, nonce| cipher.open(nonce, &mut text, tag);
        for at in 0..20 {
            let mut bad = sealed;
            bad[at] ^= 1;
            assert_eq!(open(bad, tag, [2; 12]), Err(Refused));
        }
        let mut other = tag;
        other[15] ^= 128;
        assert_eq!(open(sealed, other, [2; 12]), Err(Refused));
        assert_eq!(open(sealed, tag, [3; 12]), Err(Refused));
    }
}
