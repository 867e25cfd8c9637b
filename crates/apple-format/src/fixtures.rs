//! For tests: hex literals, and real data that is not part of the project and may be absent.

use std::fs;
use std::path::PathBuf;

/// Decodes a hex literal; blanks and bars in it are decoration.
pub(crate) fn hex<const N: usize>(text: &str) -> [u8; N] {
    hex_vec(text).try_into().unwrap()
}

pub(crate) fn hex_vec(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|digit| u8::try_from(digit).unwrap()).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// A file of the shared folder of real backups, or `None` with a word about it.
#[allow(clippy::print_stderr)]
pub(crate) fn real(path: &str) -> Option<Vec<u8>> {
    let full = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures").join(path);
    match fs::read(&full) {
        Ok(bytes) => Some(bytes),
        Err(_) => {
            eprintln!("skipped: {} is not on this machine", full.display());
            None
        }
    }
}

/// A small generator of repeatable noise (splitmix64).
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A copy of `bytes` with one to four bytes changed.
    pub(crate) fn flipped(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..=self.next() % 4 {
            let at = (self.next() % bytes.len() as u64) as usize;
            bytes[at] = match self.next() % 3 {
                0 => self.next() as u8,
                1 => bytes[at] ^ (1 << (self.next() % 8)),
                _ => [0, 0x0f, 0x7f, 0x80, 0xff][(self.next() % 5) as usize],
            };
        }
        bytes
    }
}
