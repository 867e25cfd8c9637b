//! Pictures: small baseline JPEGs that every viewer opens and no compressor makes smaller.
//!
//! Nothing is photographed and nothing transformed: the coefficients themselves are invented, a smooth gradient
//! with noise on it. Both Huffman tables give every symbol the same length, so that codes are plain numbers.

use crate::noise::Noise;

/// How many coefficients besides the first a block has.
const COEFFICIENTS: usize = 10;
const RUNS: usize = 4;
const SIZES: usize = 6;
const DC_BITS: u32 = 4;
const AC_BITS: u32 = 5;

/// A picture of so many blocks of 8 x 8 points; a block takes about 35 bytes.
pub(crate) fn picture(noise: &mut Noise, blocks_wide: u16, blocks_high: u16) -> Vec<u8> {
    let mut bytes = head(8 * blocks_wide, 8 * blocks_high);
    let mut bits = Bits { bytes: &mut bytes, pending: 0, count: 0 };
    let mut last = [0_i32; 3];
    let slope = [noise.between(-60, 60) as i32, noise.between(-60, 60) as i32];
    let colour = [0, noise.between(-120, 120) as i32, noise.between(-120, 120) as i32];
    for y in 0..i32::from(blocks_high) {
        for x in 0..i32::from(blocks_wide) {
            for (component, last) in last.iter_mut().enumerate() {
                let light = (x * slope[0] / i32::from(blocks_wide)) + (y * slope[1] / i32::from(blocks_high));
                let mean = if component == 0 { 3 * light } else { colour[component] + light } + noise.between(-6, 7) as i32;
                first(&mut bits, mean - *last);
                *last = mean;
                for _ in 0..COEFFICIENTS {
                    let (run, size) = (noise.below(RUNS), 1 + noise.below(3));
                    bits.put((1 + run * SIZES + size - 1) as u32, AC_BITS);
                    bits.put(noise.next() as u32 & ((1 << size) - 1), size as u32);
                }
                bits.put(0, AC_BITS);
            }
        }
    }
    bits.finish();
    bytes.extend([0xff, 0xd9]);
    bytes
}

/// Everything before the coefficients.
fn head(width: u16, height: u16) -> Vec<u8> {
    let mut bytes = vec![0xff, 0xd8];
    let mut segment = |marker: u8, body: &[u8]| {
        bytes.extend([0xff, marker]);
        bytes.extend((body.len() as u16 + 2).to_be_bytes());
        bytes.extend(body);
    };
    segment(0xe0, b"JFIF\0\x01\x02\0\0\x01\0\x01\0\0");
    let mut quantiser = [12; 65];
    quantiser[0] = 0;
    quantiser[1] = 8;
    segment(0xdb, &quantiser);
    let ([high, low], [left, right]) = (height.to_be_bytes(), width.to_be_bytes());
    segment(0xc0, &[8, high, low, left, right, 3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0]);
    segment(0xc4, &table(0x00, DC_BITS, (0..12).collect()));
    let sizes = |run: usize| (1..=SIZES).map(move |size| (run << 4 | size) as u8);
    segment(0xc4, &table(0x10, AC_BITS, std::iter::once(0).chain((0..RUNS).flat_map(sizes)).collect()));
    segment(0xda, &[3, 1, 0, 2, 0, 3, 0, 0, 63, 0]);
    bytes
}

/// A Huffman table whose codes all have the same length.
fn table(class: u8, bits: u32, symbols: Vec<u8>) -> Vec<u8> {
    let mut counts = [0; 16];
    counts[bits as usize - 1] = symbols.len() as u8;
    [&[class][..], &counts, &symbols].concat()
}

/// Writes the difference of a block's first coefficient from the last block's.
fn first(bits: &mut Bits<'_>, difference: i32) {
    let size = i32::BITS - difference.unsigned_abs().leading_zeros();
    bits.put(size, DC_BITS);
    let value = if difference < 0 { difference - 1 } else { difference };
    bits.put(value as u32 & ((1 << size) - 1), size);
}

struct Bits<'a> {
    bytes: &'a mut Vec<u8>,
    pending: u32,
    count: u32,
}

impl Bits<'_> {
    fn put(&mut self, value: u32, length: u32) {
        self.pending = self.pending << length | value;
        self.count += length;
        while self.count >= 8 {
            self.count -= 8;
            let byte = (self.pending >> self.count) as u8;
            self.bytes.push(byte);
            // A byte of ones would begin a marker.
            if byte == 0xff {
                self.bytes.push(0);
            }
        }
        self.pending &= (1 << self.count) - 1;
    }

    fn finish(mut self) {
        let missing = (8 - self.count) % 8;
        self.put((1 << missing) - 1, missing);
    }
}
