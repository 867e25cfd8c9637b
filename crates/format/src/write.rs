//! Writing bytes: the mirror of [`crate::read`].

/// Puts values one after the other.
#[derive(Debug, Default, Clone)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Starts with nothing.
    pub fn new() -> Writer {
        Writer::default()
    }

    /// Starts with room for so many bytes.
    pub fn with_capacity(bytes: usize) -> Writer {
        Writer { bytes: Vec::with_capacity(bytes) }
    }

    /// Puts bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Writer {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Puts a byte.
    pub fn u8(&mut self, value: u8) -> &mut Writer {
        self.bytes(&[value])
    }

    /// Puts a `u16`.
    pub fn u16(&mut self, value: u16) -> &mut Writer {
        self.bytes(&value.to_le_bytes())
    }

    /// Puts a `u32`.
    pub fn u32(&mut self, value: u32) -> &mut Writer {
        self.bytes(&value.to_le_bytes())
    }

    /// Puts a `u64`.
    pub fn u64(&mut self, value: u64) -> &mut Writer {
        self.bytes(&value.to_le_bytes())
    }

    /// Puts an `i64`.
    pub fn i64(&mut self, value: i64) -> &mut Writer {
        self.bytes(&value.to_le_bytes())
    }

    /// Puts how many things follow.
    pub fn count(&mut self, count: usize) -> &mut Writer {
        self.u32(u32::try_from(count).expect("lists are cut long before four thousand million entries"))
    }

    /// Puts a text, cut at 65,535 bytes on a character's border.
    pub fn text(&mut self, text: &str) -> &mut Writer {
        let mut end = text.len().min(u16::MAX.into());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        self.u16(end as u16);
        self.bytes(&text.as_bytes()[..end])
    }

    /// Puts a `u32` length and the bytes.
    pub fn blob(&mut self, bytes: &[u8]) -> &mut Writer {
        self.count(bytes.len());
        self.bytes(bytes)
    }

    /// How many bytes there are so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing was put yet.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Gives the bytes.
    pub fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }
}
