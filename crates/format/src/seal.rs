//! Sealed files: the container of packs, index files, snapshots, vault files and condemned lists (FORMAT.md, chapter 5).
//!
//! A sealed file is a stream of equal frames. Where things begin and end inside the stream cannot be seen from outside.

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use x_wing::kem::Decapsulate;
use zeroize::Zeroizing;

use crate::frame::FrameCipher;
use crate::id::RepositoryId;
use crate::key::{Generation, Key, Keys, random};
use crate::padme::padme;
use crate::parity::{Shape, Share};
use crate::read::Reader;
use crate::write::Writer;
use crate::{FormatError, Kind, Result};

/// Bytes before the envelope.
pub const HEADER: usize = 40;
/// Bytes that authenticate a frame.
pub const TAG: usize = 16;
const WRAPPED: usize = 24 + 32 + TAG;
const HYBRID: usize = x_wing::CIPHERTEXT_SIZE + WRAPPED;
/// No header is longer.
pub const LONGEST_HEADER: usize = HEADER + HYBRID;
const LONGEST_TAIL: usize = 1 << 30;

/// The public beginning of a sealed file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    fixed: [u8; HEADER],
    envelope: Vec<u8>,
    frame_log2: u8,
    generation: u16,
    frames: u32,
    parity: u64,
}

impl Header {
    /// Reads the header from the first bytes of a file of this kind; more bytes may follow.
    pub fn decode(kind: Kind, repository: RepositoryId, bytes: &[u8]) -> Result<Header> {
        let what = kind.word();
        let mut r = Reader::new(what, bytes);
        kind.expect(&mut r)?;
        if r.array()? != repository.0 {
            return Err(FormatError::Foreign { what });
        }
        let envelope_len = match r.u8()? {
            1 | 3 => WRAPPED,
            2 => HYBRID,
            other => return Err(FormatError::invalid("envelope", format!("number {other}"))),
        };
        let frame_log2 = r.u8()?;
        let generation = r.u16()?;
        let frames = r.u32()?;
        let parity = r.u64()?;
        if !(12..=20).contains(&frame_log2) || frames == 0 {
            return Err(FormatError::invalid("header of a sealed file", "frame size or frame count"));
        }
        let envelope = r.bytes(envelope_len)?.to_vec();
        let fixed = bytes[..HEADER].try_into().expect("the reader took at least HEADER bytes");
        Ok(Header { fixed, envelope, frame_log2, generation, frames, parity })
    }

    /// How long the whole stored file must be.
    pub fn stored_len(&self) -> u64 {
        self.frames_end().saturating_add(self.parity)
    }

    /// Where the frames end, which is where the parity begins.
    pub fn frames_end(&self) -> u64 {
        self.len() as u64 + u64::from(self.frames) * (self.frame_len() + TAG) as u64
    }

    /// The parity after the frames; none if there is none, or if it has a length that no parity has.
    pub fn parity(&self) -> Option<Shape> {
        Shape::of_len(self.frames_end(), self.parity).ok()
    }

    /// Bytes before the first frame.
    pub fn len(&self) -> usize {
        HEADER + self.envelope.len()
    }

    /// Never: a header has at least its fixed part.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Bytes of stream per frame.
    pub fn frame_len(&self) -> usize {
        1 << self.frame_log2
    }

    /// Number of frames.
    pub fn frames(&self) -> u32 {
        self.frames
    }

    /// The generation of the keys that it is sealed under.
    pub fn generation(&self) -> u16 {
        self.generation
    }

    /// Length of the stream inside.
    pub fn stream_len(&self) -> u64 {
        u64::from(self.frames) << self.frame_log2
    }

    /// Opens the envelope.
    pub fn open(&self, keys: &Keys) -> Result<Opener> {
        let what = "envelope";
        let generation = keys.of_generation(self.generation)?;
        let (wrapping, sealed) = match self.fixed[24] {
            2 => {
                let (ciphertext, sealed) = self.envelope.split_at(x_wing::CIPHERTEXT_SIZE);
                let reading = generation.reading.as_ref().ok_or(FormatError::WriteOnly { what: "sealed file" })?;
                let shared =
                    reading.decapsulation_key().decapsulate_slice(ciphertext).map_err(|_| FormatError::Sealed { what })?;
                (hybrid_key(generation, shared.as_slice(), ciphertext), sealed)
            }
            3 => (Key::new(*generation.index.expose()), &self.envelope[..]),
            _ => {
                let reading = generation.reading.as_ref().ok_or(FormatError::WriteOnly { what: "sealed file" })?;
                (Key::new(*reading.wrap.expose()), &self.envelope[..])
            }
        };
        let (nonce, sealed) = sealed.split_first_chunk::<24>().ok_or(FormatError::Sealed { what })?;
        let (sealed, tag) = sealed.split_last_chunk::<TAG>().ok_or(FormatError::Sealed { what })?;
        let mut data_key = Zeroizing::new([0; 32]);
        data_key.copy_from_slice(sealed);
        XChaCha20Poly1305::new(wrapping.expose().into())
            .decrypt_inout_detached(&XNonce::from(*nonce), &self.fixed, data_key.as_mut_slice().into(), &(*tag).into())
            .map_err(|_| FormatError::Sealed { what })?;
        Ok(Opener { cipher: self.frame_cipher(&data_key), frames: self.frames, frame_len: self.frame_len() })
    }

    fn frame_cipher(&self, data_key: &[u8; 32]) -> FrameCipher {
        let mut hasher = blake3::Hasher::new_keyed(data_key);
        hasher.update(&self.fixed).update(&self.envelope);
        FrameCipher::new(&Key::new(*hasher.finalize().as_bytes()))
    }
}

/// Opens frames of one file.
pub struct Opener {
    cipher: FrameCipher,
    frames: u32,
    frame_len: usize,
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Opener({} frames)", self.frames)
    }
}

impl Opener {
    /// Opens consecutive frames, the first of which is number `first`, and gives their part of the stream.
    pub fn open(&self, first: u32, stored: &[u8]) -> Result<Vec<u8>> {
        let mut stream = Vec::new();
        self.open_onto(first, stored, &mut stream)?;
        Ok(stream)
    }

    /// As [`Opener::open`], but their part of the stream is added to `stream`. What is added before an error means nothing.
    pub fn open_onto(&self, first: u32, stored: &[u8], stream: &mut Vec<u8>) -> Result<()> {
        let step = self.frame_len + TAG;
        if stored.is_empty() || !stored.len().is_multiple_of(step) {
            return Err(FormatError::invalid("frames", "not a whole number of them"));
        }
        if u64::from(first) + (stored.len() / step) as u64 > u64::from(self.frames) {
            return Err(FormatError::invalid("frames", "there are not so many"));
        }
        stream.reserve(stored.len() / step * self.frame_len);
        for (number, frame) in (first..=u32::MAX).zip(stored.chunks_exact(step)) {
            let at = stream.len();
            stream.extend_from_slice(&frame[..self.frame_len]);
            let tag: [u8; TAG] = frame[self.frame_len..].try_into().expect("a step is a frame and a tag");
            self.cipher
                .open(nonce(number, self.frames), &mut stream[at..], tag)
                .map_err(|_| FormatError::Sealed { what: "frame" })?;
        }
        Ok(())
    }
}

fn nonce(number: u32, frames: u32) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[..4].copy_from_slice(&number.to_le_bytes());
    nonce[11] = u8::from(number.checked_add(1) == Some(frames));
    nonce
}

fn hybrid_key(generation: &Generation, shared: &[u8], ciphertext: &[u8]) -> Key {
    Key::derived("russet v1 hybrid", generation.author.expose(), &[shared, ciphertext])
}

/// Seals a stream frame by frame, on as many cores as the caller likes.
pub struct Sealer {
    header: Header,
    cipher: FrameCipher,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealer({} frames)", self.header.frames)
    }
}

impl Sealer {
    /// Draws a data key for a stream of so many frames and seals it to whoever may read files of this kind. `digest` is a hash that no other
    /// stream has: [`digest`]. What comes after the frames is the parity of everything before, as the header says.
    pub fn new(kind: Kind, keys: &Keys, frame_log2: u8, frames: u32, digest: &blake3::Hash, share: Share) -> Result<Sealer> {
        let (number, generation) = keys.newest();
        let envelope = match (kind, &generation.reading) {
            (Kind::Index | Kind::Condemned, _) => 3,
            (_, Some(_)) => 1,
            (_, None) => 2,
        };
        let mut w = Writer::new();
        w.bytes(&kind.magic()).bytes(&keys.repository.0);
        let envelope_len = if envelope == 2 { HYBRID } else { WRAPPED };
        let covered = HEADER + envelope_len + frames as usize * ((1 << frame_log2) + TAG);
        let parity = Shape::of_share(covered, share).map_or(0, |shape| shape.parity_len() as u64);
        w.u8(envelope).u8(frame_log2).u16(number).u32(frames).u64(parity);
        let fixed: [u8; HEADER] = w.finish().try_into().expect("the fields add up to HEADER bytes");

        let seed = Key::random()?;
        let data_key = Key::derived("russet v1 data key", seed.expose(), &[digest.as_bytes()]);
        let (wrapping, mut sealed) = match (envelope, &generation.reading) {
            (3, _) => (Key::new(*generation.index.expose()), Vec::new()),
            (1, Some(reading)) => (Key::new(*reading.wrap.expose()), Vec::new()),
            _ => {
                let randomness = Zeroizing::new(random::<{ x_wing::ENCAPSULATION_RANDOMNESS_SIZE }>()?);
                let (ciphertext, shared) = generation.public_key()?.encapsulate_deterministic(&(*randomness).into());
                (hybrid_key(generation, shared.as_slice(), ciphertext.as_slice()), ciphertext.to_vec())
            }
        };
        let mut hasher = blake3::Hasher::new_keyed(wrapping.expose());
        hasher.update(b"nonce").update(&fixed).update(data_key.expose());
        let nonce: [u8; 24] = hasher.finalize().as_bytes()[..24].try_into().expect("a hash has 32 bytes");
        let mut wrapped = *data_key.expose();
        let tag = XChaCha20Poly1305::new(wrapping.expose().into())
            .encrypt_inout_detached(&XNonce::from(nonce), &fixed, wrapped.as_mut_slice().into())
            .map_err(|_| FormatError::Sealed { what: "envelope" })?;
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&wrapped);
        sealed.extend_from_slice(&tag);

        let header = Header { fixed, envelope: sealed, frame_log2, generation: number, frames, parity };
        let cipher = header.frame_cipher(data_key.expose());
        Ok(Sealer { header, cipher })
    }

    /// The header that goes before the frames.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The bytes of the header.
    pub fn header_bytes(&self) -> Vec<u8> {
        [&self.header.fixed[..], &self.header.envelope].concat()
    }

    /// Seals frame `number` from the pieces of its part of the stream into `stored` (a frame and a tag long), opens it again and compares.
    pub fn seal(&self, number: u32, plain: &[&[u8]], stored: &mut [u8], scratch: &mut Vec<u8>) -> Result<()> {
        let nonce = nonce(number, self.header.frames);
        let failed = || FormatError::CheckAfterEncode { what: "sealing" };
        let frame_len = self.header.frame_len();
        let (body, tag_place) = stored.split_at_mut(frame_len);
        let mut at = 0;
        for piece in plain {
            body[at..at + piece.len()].copy_from_slice(piece);
            at += piece.len();
        }
        let tag = self.cipher.seal(nonce, body).map_err(|_| failed())?;
        tag_place.copy_from_slice(&tag);
        #[cfg(test)]
        tests::turn_a_bit(stored);
        scratch.clear();
        scratch.extend_from_slice(&stored[..frame_len]);
        let written: [u8; TAG] = stored[frame_len..].try_into().map_err(|_| failed())?;
        self.cipher.open(nonce, scratch, written).map_err(|_| failed())?;
        let mut rest = &scratch[..];
        let same = plain.iter().all(|piece| match rest.split_at_checked(piece.len()) {
            Some((opened, after)) => {
                rest = after;
                opened == *piece
            }
            None => false,
        });
        if same && rest.is_empty() { Ok(()) } else { Err(failed()) }
    }
}

/// A hash that no other stream has: of its tail, and before it of those parts of its body that the tail does not determine.
pub fn digest<'a>(undetermined: impl Iterator<Item = &'a [u8]>, tail: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for part in undetermined {
        hasher.update(part);
    }
    hasher.update(tail).finalize()
}

/// How many frames a body and a tail of these lengths fill.
pub fn frames_for(body: usize, tail: usize, frame_log2: u8) -> usize {
    (padme((body + tail + 4) as u64) as usize).div_ceil(1 << frame_log2)
}

/// What comes after a body of this length in a stream: zeros, the tail, and its length.
pub fn end_of_stream(body: usize, tail: &[u8], frame_log2: u8) -> Vec<u8> {
    let len = frames_for(body, tail.len(), frame_log2) << frame_log2;
    let mut end = vec![0; len - body - tail.len() - 4];
    end.extend_from_slice(tail);
    end.extend_from_slice(&u32::try_from(tail.len()).expect("tails stay below 1 GiB").to_le_bytes());
    end
}

/// Makes a tail: raw length and zstd.
pub fn encode_tail(raw: &[u8]) -> Result<Vec<u8>> {
    let failed = |_| FormatError::CheckAfterEncode { what: "compressing a tail" };
    if raw.len() > LONGEST_TAIL {
        return Err(FormatError::invalid("tail of a sealed file", "longer than 1 GiB"));
    }
    let packed = zstd::bulk::compress(raw, 3).map_err(failed)?;
    let tail = Writer::new().u32(raw.len() as u32).bytes(&packed).finish();
    if decode_tail(&tail)? != raw {
        return Err(FormatError::CheckAfterEncode { what: "compressing a tail" });
    }
    Ok(tail)
}

/// Reads a tail.
pub fn decode_tail(tail: &[u8]) -> Result<Vec<u8>> {
    let mut r = Reader::new("tail of a sealed file", tail);
    let raw_len = r.u32()? as usize;
    let packed = r.bytes(r.left())?;
    // zstd cannot make more than about 2^17 bytes out of 5, so a small file cannot ask for a large buffer.
    if raw_len > LONGEST_TAIL || raw_len / (1 << 17) > packed.len() {
        return Err(FormatError::invalid("tail of a sealed file", "it claims to be larger than it can be"));
    }
    let raw = zstd::bulk::decompress(packed, raw_len)
        .map_err(|e| FormatError::invalid("tail of a sealed file", format!("zstd: {e}")))?;
    match raw.len() == raw_len {
        true => Ok(raw),
        false => Err(FormatError::invalid("tail of a sealed file", "its length is not the one it claims")),
    }
}

/// Where the tail lies in a stream that ends with `end` (at least 4 bytes) and is `stream_len` long.
pub fn tail_range(end: &[u8], stream_len: u64) -> Result<std::ops::Range<u64>> {
    let len = end.last_chunk::<4>().map(|l| u64::from(u32::from_le_bytes(*l)));
    match len.and_then(|len| (stream_len - 4).checked_sub(len)) {
        Some(start) => Ok(start..stream_len - 4),
        None => Err(FormatError::invalid("tail of a sealed file", "it would begin before the file")),
    }
}

/// Frame size of everything but packs.
pub const SMALL_FRAMES: u8 = 12;

/// Seals a payload as a whole file (not for packs).
pub fn seal_file(kind: Kind, keys: &Keys, payload: &[u8]) -> Result<Vec<u8>> {
    let tail = Zeroizing::new(encode_tail(payload)?);
    let stream = Zeroizing::new(end_of_stream(0, &tail, SMALL_FRAMES));
    let frames = (stream.len() >> SMALL_FRAMES) as u32;
    let sealer = Sealer::new(kind, keys, SMALL_FRAMES, frames, &digest(std::iter::empty(), &tail), Share::NONE)?;
    let mut file = sealer.header_bytes();
    let mut scratch = Vec::new();
    for (number, plain) in (0..).zip(stream.chunks_exact(1 << SMALL_FRAMES)) {
        let at = file.len();
        file.resize(at + plain.len() + TAG, 0);
        sealer.seal(number, &[plain], &mut file[at..], &mut scratch)?;
    }
    Ok(file)
}

/// Opens a whole file and gives its payload (not for packs).
pub fn open_file(kind: Kind, keys: &Keys, file: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    let what = kind.word();
    let header = Header::decode(kind, keys.repository, file)?;
    if header.stored_len() != file.len() as u64 {
        return Err(FormatError::invalid("length of a sealed file", format!("the {what} is not as long as its header says")));
    }
    let frames = &file[header.len()..file.len() - header.parity as usize];
    let stream = Zeroizing::new(header.open(keys)?.open(0, frames)?);
    let tail = tail_range(&stream, stream.len() as u64)?;
    if stream[..tail.start as usize].iter().any(|&b| b != 0) {
        return Err(FormatError::invalid("padding of a sealed file", "it is not zeros"));
    }
    decode_tail(&stream[tail.start as usize..tail.end as usize]).map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Secrets;

    fn keys(secrets: &Secrets) -> Keys {
        secrets.keys(RepositoryId([9; 16]))
    }

    fn full() -> Secrets {
        Secrets::full(Key::new([1; 32]), Key::new([2; 32]))
    }

    thread_local! {
        static TURNS: std::cell::Cell<Option<usize>> = const { std::cell::Cell::new(None) };
    }

    /// Turns a bit of what was just sealed, if a test of this thread wants that.
    pub(super) fn turn_a_bit(stored: &mut [u8]) {
        if let Some(at) = TURNS.take() {
            stored[at] ^= 1;
        }
    }

    #[test]
    fn a_bit_that_turns_between_sealing_and_comparing_is_caught() {
        for at in (0..(1 << SMALL_FRAMES) + TAG).step_by(13) {
            TURNS.set(Some(at));
            let outcome = seal_file(Kind::Vault, &keys(&full()), b"a password");
            assert_eq!(outcome.unwrap_err(), FormatError::CheckAfterEncode { what: "sealing" }, "byte {at}");
        }
        seal_file(Kind::Vault, &keys(&full()), b"a password").unwrap();
    }

    #[test]
    fn what_is_sealed_opens_as_the_same_kind_in_the_same_repository_and_nowhere_else() {
        let keys_a = keys(&full());
        let file = seal_file(Kind::Snapshot, &keys_a, b"a date").unwrap();
        assert_eq!(open_file(Kind::Snapshot, &keys_a, &file).unwrap()[..], *b"a date");
        assert!(open_file(Kind::Vault, &keys_a, &file).is_err());
        let mut as_vault = file.clone();
        as_vault[..8].copy_from_slice(&Kind::Vault.magic());
        assert!(open_file(Kind::Vault, &keys_a, &as_vault).is_err());
        let other = full().keys(RepositoryId([8; 16]));
        assert_eq!(open_file(Kind::Snapshot, &other, &file).unwrap_err(), FormatError::Foreign { what: "snapshot" });
    }

    #[test]
    fn every_flipped_byte_and_every_cut_is_noticed() {
        let keys = keys(&full());
        let file = seal_file(Kind::Index, &keys, b"some packs").unwrap();
        for at in 0..file.len() {
            let mut bad = file.clone();
            bad[at] ^= 4;
            assert!(open_file(Kind::Index, &keys, &bad).is_err(), "byte {at}");
            assert!(open_file(Kind::Index, &keys, &file[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_backup_only_key_seals_what_it_cannot_open_and_the_full_key_can() {
        let repository = RepositoryId([9; 16]);
        let less = keys(&full().backup_only(repository));
        let file = seal_file(Kind::Snapshot, &less, b"from the always-on box").unwrap();
        assert!(matches!(open_file(Kind::Snapshot, &less, &file), Err(FormatError::WriteOnly { .. })));
        assert_eq!(open_file(Kind::Snapshot, &keys(&full()), &file).unwrap()[..], *b"from the always-on box");
        // Who knows the public key but not the author subkey cannot forge.
        let stranger = Secrets::full(Key::new([7; 32]), Key::new([2; 32]));
        let forged = seal_file(Kind::Snapshot, &keys(&stranger.backup_only(repository)), b"forged").unwrap();
        assert!(open_file(Kind::Snapshot, &keys(&full()), &forged).is_err());
    }

    #[test]
    fn a_backup_only_key_reads_the_index() {
        let file = seal_file(Kind::Index, &keys(&full()), b"packs").unwrap();
        assert_eq!(open_file(Kind::Index, &keys(&full().backup_only(RepositoryId([9; 16]))), &file).unwrap()[..], *b"packs");
    }

    #[test]
    fn after_a_rotation_old_files_open_and_new_ones_do_not_open_with_the_old_keys() {
        let repository = RepositoryId([9; 16]);
        let (old, new) = (full(), full().rotated().unwrap());
        let (old, less, new) = (keys(&old), keys(&old.backup_only(repository)), keys(&new));
        for kind in [Kind::Snapshot, Kind::Index] {
            let (before, after) = (seal_file(kind, &old, b"a date").unwrap(), seal_file(kind, &new, b"a date").unwrap());
            assert_eq!(open_file(kind, &new, &before).unwrap()[..], *b"a date");
            assert_eq!(open_file(kind, &old, &after).unwrap_err(), FormatError::Generation { found: 1, held: 0 });
            // Whoever says that a file is of older keys than it is opens it no better.
            let mut relabelled = after.clone();
            relabelled[26] = 0;
            assert_eq!(open_file(kind, &old, &relabelled).unwrap_err(), FormatError::Sealed { what: "envelope" });
            assert_eq!(open_file(kind, &new, &relabelled).unwrap_err(), FormatError::Sealed { what: "envelope" });
        }
        let sealed = seal_file(Kind::Snapshot, &less, b"added").unwrap();
        assert_eq!(open_file(Kind::Snapshot, &new, &sealed).unwrap()[..], *b"added");
        let less = keys(&full().rotated().unwrap().backup_only(repository));
        let sealed = seal_file(Kind::Snapshot, &less, b"added").unwrap();
        assert!(open_file(Kind::Snapshot, &new, &sealed).is_err(), "two rotations have nothing in common");
    }

    #[test]
    fn a_tail_that_claims_a_gigabyte_is_refused() {
        let mut tail = encode_tail(b"short").unwrap();
        tail[..4].copy_from_slice(&(1u32 << 30).to_le_bytes());
        assert!(decode_tail(&tail).is_err());
    }

    #[test]
    fn frames_cannot_change_places() {
        let keys = keys(&full());
        let noise: Vec<u8> = (0..9000u32).flat_map(|i| blake3::hash(&i.to_le_bytes()).as_bytes()[..2].to_vec()).collect();
        let file = seal_file(Kind::Vault, &keys, &noise).unwrap();
        let (start, step) = (HEADER + WRAPPED, 4096 + TAG);
        let mut swapped = file.clone();
        swapped[start..start + step].copy_from_slice(&file[start + step..start + 2 * step]);
        swapped[start + step..start + 2 * step].copy_from_slice(&file[start..start + step]);
        assert!(open_file(Kind::Vault, &keys, &swapped).is_err());
    }
}
