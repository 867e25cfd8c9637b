//! A write-ahead log beside an SQLite file: what was committed to it and had not found its way into the file.
//!
//! SQLite in memory cannot read one, so the pages are laid over those of the file on the way in. A frame counts only if its salts and its
//! running checksum are right and a commit follows, which is SQLite's own rule.

use std::collections::HashMap;
use std::io::{self, Read};
use std::ops::Range;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// The last bit says which way round the words are that the checksum adds up.
const MAGIC: u32 = 0x377f_0682;

/// The pages that a log has for its file.
#[derive(Debug)]
pub(crate) struct Log<'a> {
    bytes: &'a [u8],
    pages: HashMap<u32, Range<usize>>,
    page_size: usize,
    /// How many pages the file has afterwards.
    count: u32,
}

impl<'a> Log<'a> {
    /// Reads a log. `None` if nothing in it was committed, or it is no log.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Log<'a>> {
        let header = bytes.get(..HEADER)?;
        let magic = word(header, 0);
        if magic & !1 != MAGIC {
            return None;
        }
        let read = if magic & 1 == 1 { u32::from_be_bytes } else { u32::from_le_bytes };
        let page_size = word(header, 8) as usize;
        if !(512..=65_536).contains(&page_size) || !page_size.is_power_of_two() {
            return None;
        }
        let salts = &header[16..24];
        let mut sum = Sum { halves: (0, 0), read };
        sum.add(&header[..24]);
        if !sum.is(&header[24..32]) {
            return None;
        }
        let mut log = Log { bytes, pages: HashMap::new(), page_size, count: 0 };
        let mut uncommitted = Vec::new();
        let mut at = HEADER;
        while let Some(frame) = bytes.get(at..at + FRAME_HEADER + page_size) {
            let (about, page) = frame.split_at(FRAME_HEADER);
            sum.add(&about[..8]);
            sum.add(page);
            if about[8..16] != *salts || !sum.is(&about[16..24]) {
                break;
            }
            uncommitted.push((word(about, 0), at + FRAME_HEADER..at + FRAME_HEADER + page_size));
            let count = word(about, 4);
            if count > 0 {
                log.count = count;
                log.pages.extend(uncommitted.drain(..));
            }
            at += FRAME_HEADER + page_size;
        }
        (log.count > 0).then_some(log)
    }

    /// The length of the file with the log in it.
    pub(crate) fn len(&self) -> u64 {
        u64::from(self.count) * self.page_size as u64
    }

    /// The file with the log in it.
    pub(crate) fn over<R: Read>(self, file: R) -> Overlaid<'a, R> {
        Overlaid { page: vec![0; self.page_size], at: self.page_size, number: 0, file, log: self }
    }
}

/// Running checksum over pairs of words.
struct Sum {
    halves: (u32, u32),
    read: fn([u8; 4]) -> u32,
}

impl Sum {
    fn add(&mut self, bytes: &[u8]) {
        for pair in bytes.as_chunks::<8>().0 {
            let [a, b, c, d, e, f, g, h] = *pair;
            self.halves.0 = self.halves.0.wrapping_add((self.read)([a, b, c, d])).wrapping_add(self.halves.1);
            self.halves.1 = self.halves.1.wrapping_add((self.read)([e, f, g, h])).wrapping_add(self.halves.0);
        }
    }

    fn is(&self, field: &[u8]) -> bool {
        (word(field, 0), word(field, 4)) == self.halves
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes were taken"))
}

/// A file, page by page, with those of the log in their places.
pub(crate) struct Overlaid<'a, R> {
    log: Log<'a>,
    file: R,
    page: Vec<u8>,
    /// How much of the page has been given.
    at: usize,
    /// The number of the page; the first is 1.
    number: u32,
}

impl<R: Read> Read for Overlaid<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at == self.page.len() {
            if self.number == self.log.count {
                return Ok(0);
            }
            self.number += 1;
            // Pages beyond the end of the file come from the log alone.
            self.page.fill(0);
            let mut filled = 0;
            while filled < self.page.len() {
                match self.file.read(&mut self.page[filled..]) {
                    Ok(0) => break,
                    Ok(n) => filled += n,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            if let Some(place) = self.log.pages.get(&self.number) {
                self.page.copy_from_slice(&self.log.bytes[place.clone()]);
            }
            self.at = 0;
        }
        let n = out.len().min(self.page.len() - self.at);
        out[..n].copy_from_slice(&self.page[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 512;

    /// A log of frames: page number, pages after a commit or 0, and what the page is filled with.
    fn log(big_endian: bool, frames: &[(u32, u32, u8)]) -> Vec<u8> {
        let read = if big_endian { u32::from_be_bytes } else { u32::from_le_bytes };
        let mut sum = Sum { halves: (0, 0), read };
        let mut bytes: Vec<u8> =
            [MAGIC | u32::from(big_endian), 3_007_000, PAGE as u32, 0, 7, 9].iter().flat_map(|word| word.to_be_bytes()).collect();
        let close = |bytes: &mut Vec<u8>, sum: &Sum| {
            bytes.extend(sum.halves.0.to_be_bytes());
            bytes.extend(sum.halves.1.to_be_bytes());
        };
        sum.add(&bytes);
        close(&mut bytes, &sum);
        for &(number, count, fill) in frames {
            let start = bytes.len();
            [number, count, 7, 9].iter().for_each(|word| bytes.extend(word.to_be_bytes()));
            sum.add(&bytes[start..start + 8]);
            sum.add(&[fill; PAGE]);
            close(&mut bytes, &sum);
            bytes.extend([fill; PAGE]);
        }
        bytes
    }

    fn pages(log: &[u8], file: &[u8]) -> Option<Vec<u8>> {
        let log = Log::parse(log)?;
        let (len, mut all) = (log.len(), Vec::new());
        log.over(file).read_to_end(&mut all).unwrap();
        assert_eq!(all.len() as u64, len);
        Some(all.chunks(PAGE).map(|page| page[PAGE - 1]).collect())
    }

    #[test]
    fn committed_pages_are_laid_over_the_file_and_others_are_not() {
        let file = [[1; PAGE], [2; PAGE], [3; PAGE]].concat();
        for big_endian in [false, true] {
            let check = |frames: &[(u32, u32, u8)], expected| assert_eq!(pages(&log(big_endian, frames), &file), expected);
            check(&[], None);
            check(&[(2, 0, 9)], None);
            check(&[(2, 3, 9)], Some(vec![1, 9, 3]));
            check(&[(2, 0, 9), (2, 3, 8), (1, 0, 7)], Some(vec![1, 8, 3]));
            check(&[(4, 4, 6)], Some(vec![1, 2, 3, 6]));
            check(&[(1, 1, 5)], Some(vec![5]));
        }
    }

    #[test]
    fn what_was_changed_or_cut_ends_the_log() {
        let file = [[1; PAGE], [2; PAGE]].concat();
        let whole = log(false, &[(1, 2, 5), (2, 2, 6)]);
        assert_eq!(pages(&whole, &file), Some(vec![5, 6]));
        assert_eq!(pages(&whole[..whole.len() - 1], &file), Some(vec![5, 2]));
        let mut changed = whole.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert_eq!(pages(&changed, &file), Some(vec![5, 2]));
        changed[40] ^= 1;
        assert_eq!(pages(&changed, &file), None);
        assert_eq!(pages(b"no log", &file), None);
    }
}
