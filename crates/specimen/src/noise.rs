//! Repeatable noise: an endless stream of bytes for every seed and purpose, the same on every machine.

use blake3::OutputReader;

const BLOCK: usize = 1024;

/// A stream of bytes that looks random.
pub(crate) struct Noise {
    stream: OutputReader,
    block: [u8; BLOCK],
    at: usize,
}

impl Noise {
    /// The stream of one seed and purpose. Two purposes have nothing in common.
    pub(crate) fn new(seed: u64, purpose: &str) -> Noise {
        let mut hasher = blake3::Hasher::new_derive_key("russet specimen 2026 noise");
        hasher.update(&seed.to_le_bytes());
        hasher.update(purpose.as_bytes());
        Noise { stream: hasher.finalize_xof(), block: [0; BLOCK], at: BLOCK }
    }

    pub(crate) fn fill(&mut self, mut out: &mut [u8]) {
        while !out.is_empty() {
            if self.at == BLOCK {
                self.stream.fill(&mut self.block);
                self.at = 0;
            }
            let length = out.len().min(BLOCK - self.at);
            let (head, tail) = out.split_at_mut(length);
            head.copy_from_slice(&self.block[self.at..][..length]);
            self.at += length;
            out = tail;
        }
    }

    pub(crate) fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.fill(&mut bytes);
        bytes
    }

    pub(crate) fn next(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// A number below `end`, or 0 if there is none. The bias does not matter here.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// A number from `low` up to, but without, `high`.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        low + (self.next() % (high - low).max(1) as u64) as i64
    }

    /// Whether something happens that happens once in `times`.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// A UUID in capitals, as Apple spells them.
    pub(crate) fn uuid(&mut self) -> String {
        let mut bytes: [u8; 16] = self.array();
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        spell_uuid(&bytes)
    }
}

/// The usual spelling of a UUID, in capitals.
pub(crate) fn spell_uuid(bytes: &[u8; 16]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    format!("{}-{}-{}-{}-{}", &digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..])
}
