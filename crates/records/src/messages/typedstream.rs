//! The text in an archived NSAttributedString: a typedstream, the archive format of before property lists.
//!
//! Of the whole stream only the string is read. It follows the names of the classes, after the type code `+`, and begins with its length in
//! bytes.

/// What every stream begins with, after its version and the length of this.
const SIGNATURE: &[u8] = b"streamtyped";
/// The class of the string, or of one that can be changed.
const CLASS: &[u8] = b"String";
/// What stands before the string: "one value follows", and its type.
const STRING: [u8; 2] = [0x01, b'+'];
/// Marks before a length of two and of four bytes.
const TWO_BYTES: u8 = 0x81;
const FOUR_BYTES: u8 = 0x82;

/// The text of an archive; what is no UTF-8 in it is replaced. `None` if it is not such an archive, or cut short.
pub(super) fn text(stream: &[u8]) -> Option<String> {
    let start = find(stream.get(..64.min(stream.len()))?, SIGNATURE)? + SIGNATURE.len();
    let rest = &stream[start..];
    let rest = &rest[find(rest, CLASS)? + CLASS.len()..];
    let rest = &rest[find(rest, &STRING)? + STRING.len()..];
    let (&first, rest) = rest.split_first()?;
    let (len, rest) = match first {
        TWO_BYTES => {
            let (len, rest) = rest.split_first_chunk()?;
            (usize::from(u16::from_le_bytes(*len)), rest)
        }
        FOUR_BYTES => {
            let (len, rest) = rest.split_first_chunk()?;
            (usize::try_from(u32::from_le_bytes(*len)).ok()?, rest)
        }
        len if len < 0x80 => (usize::from(len), rest),
        _ => return None,
    };
    Some(String::from_utf8_lossy(rest.get(..len)?).into_owned())
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// For tests: an archive as a phone makes it.
#[cfg(test)]
pub(super) fn archive(text: &str) -> Vec<u8> {
    let mut stream =
        b"\x04\x0bstreamtyped\x81\xe8\x03\x84\x01@\x84\x84\x84\x12NSAttributedString\x00\x84\x84\x08NSObject\x00\x85".to_vec();
    stream.extend(b"\x92\x84\x84\x84\x08NSString\x01\x94\x84\x01+");
    match text.len() {
        len @ ..0x80 => stream.push(len as u8),
        len @ ..0x1_0000 => stream.extend([&[TWO_BYTES][..], &(len as u16).to_le_bytes()].concat()),
        len => stream.extend([&[FOUR_BYTES][..], &(len as u32).to_le_bytes()].concat()),
    }
    stream.extend(text.as_bytes());
    stream.extend(b"\x86\x84\x02iI\x01\x05\x92\x84\x84\x84\x0cNSDictionary\x00\x94\x84\x01i\x01\x92\x84\x96\x96\x1d__kIMMessagePartAttributeName\x86\x86\x86");
    stream
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_of_a_length_is_read() {
        for len in [0, 1, 10, 127, 128, 255, 256, 65_535, 65_536, 1_000_000] {
            let wanted = "+".repeat(len);
            assert_eq!(text(&archive(&wanted)).as_deref(), Some(&*wanted), "{len}");
        }
        assert_eq!(text(&archive("naïve 👋\n\u{fffc}")).as_deref(), Some("naïve 👋\n\u{fffc}"));
    }

    #[test]
    fn what_is_cut_short_or_another_thing_has_no_text() {
        let whole = archive(&"x".repeat(300));
        let end = whole.len() - 120;
        for cut in [0, 1, 15, 60, end / 2] {
            assert_eq!(text(&whole[..cut]), None, "{cut}");
        }
        assert_eq!(text(b"bplist00 String \x01+\x01x"), None);
        let mut long = archive("hello");
        let at = find(&long, &STRING).unwrap() + 2;
        long[at] = 0x7f;
        let before = text(&long);
        assert!(before.is_none_or(|text| text.starts_with("hello")));
        long[at] = 0x84;
        assert_eq!(text(&long), None);
    }
}
