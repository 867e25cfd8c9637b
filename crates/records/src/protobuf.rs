//! Protocol buffers, read where they lie: the fields of a message, one after the other.
//!
//! Nothing is allocated and nothing is followed until it is asked for, so no length, count or depth in a hostile message can cost more than
//! the reading of its bytes. What a field means is for the caller to know.

/// A message that is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message in it is damaged")]
pub(crate) struct Damaged;

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value<'a> {
    /// A number of any width. A negative one is its two's complement.
    Number(u64),
    /// Text, bytes, or another message.
    Bytes(&'a [u8]),
}

/// A message: its fields may come in any order, and any of them more than once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a>(&'a [u8]);

impl<'a> Message<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Message<'a> {
        Message(bytes)
    }

    /// All fields with their numbers. After the first damage there is nothing more.
    pub(crate) fn fields(self) -> Fields<'a> {
        Fields(self.0)
    }

    /// The values of one field, in order.
    fn all(self, number: u64) -> impl Iterator<Item = Result<Value<'a>, Damaged>> {
        self.fields().filter_map(move |field| match field {
            Ok((found, value)) => (found == number).then_some(Ok(value)),
            Err(damaged) => Some(Err(damaged)),
        })
    }

    /// The messages in a repeated field.
    pub(crate) fn messages(self, number: u64) -> impl Iterator<Item = Result<Message<'a>, Damaged>> {
        self.all(number).map(|value| match value? {
            Value::Bytes(bytes) => Ok(Message(bytes)),
            Value::Number(_) => Err(Damaged),
        })
    }

    /// The message in a field, if it is there. Of several the last one counts, as the format wants it.
    pub(crate) fn message(self, number: u64) -> Result<Option<Message<'a>>, Damaged> {
        self.messages(number).last().transpose()
    }

    /// The bytes in a repeated field.
    pub(crate) fn bytes(self, number: u64) -> impl Iterator<Item = Result<&'a [u8], Damaged>> {
        self.messages(number).map(|message| message.map(|message| message.0))
    }

    /// The text in a field, if it is there.
    pub(crate) fn text(self, number: u64) -> Result<Option<&'a str>, Damaged> {
        let bytes = self.bytes(number).last().transpose()?;
        bytes.map(|bytes| std::str::from_utf8(bytes).map_err(|_| Damaged)).transpose()
    }

    /// The number in a field, if it is there.
    pub(crate) fn number(self, number: u64) -> Result<Option<i64>, Damaged> {
        match self.all(number).last().transpose()? {
            None => Ok(None),
            Some(Value::Number(number)) => Ok(Some(number.cast_signed())),
            Some(Value::Bytes(_)) => Err(Damaged),
        }
    }
}

/// The fields of a message that are still to be read.
#[derive(Debug, Clone)]
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn next_field(&mut self) -> Option<(u64, Value<'a>)> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Number(self.varint()?),
            1 => Value::Number(u64::from_le_bytes(self.take(8)?.try_into().ok()?)),
            2 => {
                let len = usize::try_from(self.varint()?).ok()?;
                Value::Bytes(self.take(len)?)
            }
            5 => Value::Number(u32::from_le_bytes(self.take(4)?.try_into().ok()?).into()),
            // Groups went out of use before Apple came to use the format.
            _ => return None,
        };
        Some((tag >> 3, value))
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for at in 0..10 {
            let byte = self.take(1)?[0];
            number |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), Damaged>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.next_field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or(Damaged))
    }
}

/// For tests: messages, written.
#[cfg(test)]
pub(crate) mod write {
    pub(crate) fn varint(mut number: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while number >= 0x80 {
            bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
        bytes
    }

    pub(crate) fn number(field: u64, number: u64) -> Vec<u8> {
        [varint(field << 3), varint(number)].concat()
    }

    pub(crate) fn bytes(field: u64, bytes: impl AsRef<[u8]>) -> Vec<u8> {
        let bytes = bytes.as_ref();
        [&varint(field << 3 | 2)[..], &varint(bytes.len() as u64), bytes].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_out_as_they_went_in() {
        let inner = [write::number(1, 300), write::bytes(2, "héllo")].concat();
        let bytes =
            [write::number(3, u64::MAX), write::bytes(4, &inner), write::bytes(4, "x"), vec![5 << 3 | 5, 1, 0, 0, 0]].concat();
        let message = Message::new(&bytes);
        assert_eq!(message.number(3), Ok(Some(-1)));
        assert_eq!(message.number(5), Ok(Some(1)));
        assert_eq!(message.number(9), Ok(None));
        assert_eq!(message.messages(4).count(), 2);
        assert_eq!(message.text(4), Ok(Some("x")), "the last one counts");
        let first = message.messages(4).next().unwrap().unwrap();
        assert_eq!((first.number(1), first.text(2)), (Ok(Some(300)), Ok(Some("héllo"))));
        assert_eq!(message.number(4), Err(Damaged));
    }

    #[test]
    fn what_is_cut_endless_or_of_no_kind_is_damaged_and_ends() {
        let cases: [&[u8]; 7] = [
            &[0x80],
            &[0xff; 12],
            &[1 << 3 | 2, 5, 1, 2],
            &[1 << 3 | 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
            &[1 << 3 | 3],
            &[1 << 3 | 1, 0],
            &[1 << 3],
        ];
        for bytes in cases {
            let mut fields = Message::new(bytes).fields();
            assert_eq!(fields.next(), Some(Err(Damaged)), "{bytes:?}");
            assert_eq!(fields.next(), None);
        }
        assert_eq!(Message::new(&write::bytes(1, [0xff, 0xfe])).text(1), Err(Damaged));
    }
}
