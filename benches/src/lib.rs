//! Contents to measure with, made out of a seed: each kind that is cut and compressed in a way of its own.

/// Numbers that look random and are always the same (splitmix64).
struct Noise(u64);

impl Noise {
    fn new(seed: u64) -> Noise {
        Noise(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// Bytes that nothing compresses, without a head that says what they are.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut noise = Noise::new(seed);
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend_from_slice(&noise.draw().to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// What a picture is to a backup: a known head, and then what nothing compresses.
pub fn blob(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = b"\xff\xd8\xff\xe1\x00\x10Exif\0\0".to_vec();
    bytes.extend(noise(seed, len - bytes.len()));
    bytes
}

/// Words of a small vocabulary, some often and most seldom: it compresses about to a third.
pub fn text(seed: u64, len: usize) -> Vec<u8> {
    let mut noise = Noise::new(seed);
    let mut bytes = Vec::with_capacity(len + 16);
    while bytes.len() < len {
        let number = noise.draw();
        let rank = (number % 64) * (number >> 8 & 63);
        let mut word = Noise::new(rank);
        let letters = word.draw();
        bytes.extend((0..2 + rank % 8).map(|at| b'a' + (letters >> (at * 5) & 31) as u8 % 26));
        bytes.push(b' ');
    }
    bytes.truncate(len);
    bytes
}

/// What an SQLite file is to a backup: its head, and pages of 4 KiB that hold words and ids and are not quite full.
pub fn database(seed: u64, len: usize) -> Vec<u8> {
    const PAGE: usize = 4096;
    let mut bytes = Vec::with_capacity(len + PAGE);
    for page in 0..len.div_ceil(PAGE) as u64 {
        let from = bytes.len();
        bytes.extend(text(seed ^ page << 8, 2400));
        bytes.extend(noise(seed ^ page << 8 ^ 1, 1200));
        bytes.resize(from + PAGE, 0);
    }
    bytes[..18].copy_from_slice(b"SQLite format 3\0\x10\x00");
    bytes
}
