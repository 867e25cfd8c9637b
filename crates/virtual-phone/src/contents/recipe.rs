//! Contents that are made whenever they are read: repeatable, fast, and of any length without taking memory.

use std::io::{self, Read};

use super::table::{self, PAGE, Table};

/// Bytes made at once.
const BLOCK: usize = PAGE;
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// How contents are made. Equal recipes make equal contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recipe {
    /// Noise that cannot be compressed, such as a picture is.
    Noise { seed: u64, size: u64 },
    /// An SQLite file with one table of invented text.
    Table(Table),
}

impl Recipe {
    /// The length of what it makes.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Recipe::Noise { size, .. } => *size,
            Recipe::Table(table) => table.size(),
        }
    }

    /// Makes it, from the start.
    pub(crate) fn read(&self) -> RecipeReader {
        RecipeReader { recipe: *self, at: 0, block: Box::new([0; BLOCK]), made: None }
    }

    fn fill(&self, number: u64, block: &mut [u8; BLOCK]) {
        match self {
            Recipe::Noise { seed, .. } => noise(seed ^ mix(number), block),
            Recipe::Table(table) => table::page(table, number, block),
        }
    }
}

/// Reads what a recipe makes.
#[derive(Debug)]
pub(crate) struct RecipeReader {
    recipe: Recipe,
    at: u64,
    block: Box<[u8; BLOCK]>,
    /// Which block was made last.
    made: Option<u64>,
}

impl Read for RecipeReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = self.recipe.size() - self.at;
        let wanted = out.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let mut done = 0;
        while done < wanted {
            let (number, offset) = (self.at / BLOCK as u64, (self.at % BLOCK as u64) as usize);
            let length = (wanted - done).min(BLOCK - offset);
            let target = &mut out[done..done + length];
            if let Ok(whole) = <&mut [u8; BLOCK]>::try_from(&mut *target) {
                self.recipe.fill(number, whole);
            } else {
                if self.made != Some(number) {
                    self.recipe.fill(number, &mut self.block);
                    self.made = Some(number);
                }
                target.copy_from_slice(&self.block[offset..offset + length]);
            }
            self.at += length as u64;
            done += length;
        }
        Ok(done)
    }
}

/// Scatters a number over 64 bits (splitmix64).
pub(super) fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_mul(GOLDEN).wrapping_add(GOLDEN);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Fills `out`, whose length is a multiple of eight, with noise.
fn noise(seed: u64, out: &mut [u8; BLOCK]) {
    for (number, word) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        *word = mix(seed.wrapping_add(number as u64)).to_le_bytes();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn pieces_of_any_length_make_the_same_whole() {
        for recipe in [Recipe::Noise { seed: 3, size: 50_001 }, Recipe::Table(Table { seed: 4, leaves: 300 })] {
            let mut whole = Vec::new();
            recipe.read().read_to_end(&mut whole).unwrap();
            assert_eq!(whole.len() as u64, recipe.size());
            for length in [1, 7, 4_096, 5_000] {
                let (mut reader, mut pieces) = (recipe.read(), Vec::new());
                let mut piece = vec![0; length];
                while let n @ 1.. = reader.read(&mut piece).unwrap() {
                    pieces.extend_from_slice(&piece[..n]);
                }
                assert!(pieces == whole, "{length}");
            }
        }
    }
}
