//! Reading bytes: forward only, every length checked before it is believed.

use crate::{FormatError, Result};

/// Takes values from the front of some bytes.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts to read `bytes`, which errors will call `what`.
    pub fn new(what: &'static str, bytes: &'a [u8]) -> Reader<'a> {
        Reader { what, rest: bytes }
    }

    /// How many bytes are left.
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    /// Takes the next `n` bytes.
    pub fn bytes(&mut self, n: usize) -> Result<&'a [u8]> {
        match self.rest.split_at_checked(n) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(FormatError::Truncated { what: self.what, missing: (n - self.rest.len()) as u64 }),
        }
    }

    /// Takes the next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let taken = self.bytes(N)?;
        Ok(taken.try_into().expect("bytes(N) gives N bytes"))
    }

    /// Takes a byte.
    pub fn u8(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    /// Takes a `u16`.
    pub fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// Takes a `u32`.
    pub fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Takes a `u64`.
    pub fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Takes an `i64`.
    pub fn i64(&mut self) -> Result<i64> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    /// Takes a `u32` that counts things of at least `least` bytes each, so that no count exceeds what is there.
    pub fn count(&mut self, least: usize) -> Result<usize> {
        let count = self.u32()? as usize;
        let needed = count as u64 * least as u64;
        if needed > self.rest.len() as u64 {
            return Err(FormatError::Truncated { what: self.what, missing: needed - self.rest.len() as u64 });
        }
        Ok(count)
    }

    /// Takes a `u16` length and that many bytes of UTF-8.
    pub fn text(&mut self) -> Result<&'a str> {
        let len = self.u16()?;
        std::str::from_utf8(self.bytes(len.into())?).map_err(|_| FormatError::invalid(self.what, "a text is not UTF-8"))
    }

    /// Takes a `u32` length and that many bytes.
    pub fn blob(&mut self) -> Result<&'a [u8]> {
        let len = self.count(1)?;
        self.bytes(len)
    }

    /// Ends the reading: whatever is left over is an error.
    pub fn finish(self) -> Result<()> {
        match self.rest.len() {
            0 => Ok(()),
            extra => Err(FormatError::TrailingBytes { what: self.what, extra: extra as u64 }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_larger_than_the_bytes_is_refused_before_anything_is_allocated() {
        let mut reader = Reader::new("list", &[255, 255, 255, 255, 1, 2]);
        assert_eq!(reader.count(32), Err(FormatError::Truncated { what: "list", missing: 0xffff_ffff * 32 - 2 }));
    }

    #[test]
    fn leftover_bytes_are_an_error() {
        let mut reader = Reader::new("pair", &[1, 2, 3]);
        reader.u16().unwrap();
        assert_eq!(reader.finish(), Err(FormatError::TrailingBytes { what: "pair", extra: 1 }));
    }
}
