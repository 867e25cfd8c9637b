//! Names that a disk can hold, made of bytes that could be anything.

/// How names are made.
#[derive(Debug, Clone, Copy)]
pub struct Names {
    /// Only names that every system can hold.
    pub portable: bool,
    /// The longest name of this disk, in bytes.
    pub longest: usize,
}

/// More clashes of one name than this are an error.
const MOST_CLASHES: u32 = 10_000;

impl Names {
    /// The names that a component may get, best first. Each is one name inside a folder, whatever the component is.
    pub fn candidates(&self, wanted: &[u8]) -> impl Iterator<Item = Vec<u8>> + use<> {
        let plain = if self.portable { portable(wanted) } else { contained(wanted) };
        let first = shortened(&plain, self.longest);
        // For a disk that refuses what others hold.
        let second = shortened(&portable(wanted), self.longest);
        let clashing = second.clone();
        let longest = self.longest;
        let others = (2..MOST_CLASHES).map(move |number| with_number(&clashing, number, longest));
        let second = (second != first).then_some(second);
        std::iter::once(first).chain(second).chain(others)
    }
}

fn escape(byte: u8) -> String {
    format!("%{byte:02X}")
}

/// Escapes what leads out of a folder and is no name.
fn contained(wanted: &[u8]) -> Vec<u8> {
    match wanted {
        b"" => b"%".to_vec(),
        b"." | b".." => escape(b'.').repeat(wanted.len()).into_bytes(),
        _ => escaped(wanted, |byte| byte == b'/' || byte == 0),
    }
}

fn escaped(bytes: &[u8], bad: impl Fn(u8) -> bool) -> Vec<u8> {
    let mut name = Vec::with_capacity(bytes.len());
    for &byte in bytes {
        match bad(byte) {
            true => name.extend_from_slice(escape(byte).as_bytes()),
            false => name.push(byte),
        }
    }
    name
}

/// Escapes what Windows, or a disk made for it, cannot hold.
fn portable(wanted: &[u8]) -> Vec<u8> {
    let mut name = Vec::new();
    for chunk in wanted.utf8_chunks() {
        name.extend(escaped(chunk.valid().as_bytes(), |byte| byte < 32 || b"<>:\"/\\|?*\x7f".contains(&byte)));
        chunk.invalid().iter().for_each(|&byte| name.extend_from_slice(escape(byte).as_bytes()));
    }
    if let Some(&last @ (b'.' | b' ')) = name.last() {
        name.pop();
        name.extend_from_slice(escape(last).as_bytes());
    }
    let stem = name.split(|&b| b == b'.').next().unwrap_or_default();
    if is_device(&String::from_utf8_lossy(stem)) {
        let at = stem.len();
        name.insert(at, b'_');
    }
    if name.is_empty() { b"%".to_vec() } else { name }
}

/// Names that mean a device on Windows, with any extension.
fn is_device(stem: &str) -> bool {
    let stem = stem.trim_end_matches(' ').to_ascii_uppercase();
    let numbered = ["COM", "LPT"].iter().find_map(|port| stem.strip_prefix(port));
    let numbered = numbered.is_some_and(|rest| {
        let mut rest = rest.chars();
        matches!((rest.next(), rest.next()), (Some('0'..='9' | '¹' | '²' | '³'), None))
    });
    numbered || matches!(&*stem, "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$")
}

/// A name that is too long keeps its beginning and its extension; a hash stands for the rest.
fn shortened(name: &[u8], longest: usize) -> Vec<u8> {
    if name.len() <= longest {
        return name.to_vec();
    }
    let hash = &blake3::hash(name).to_hex()[..8];
    let (_, extension) = split(name);
    let room = longest - 1 - hash.len() - extension.len();
    [cut(name, room), b"~", hash.as_bytes(), extension].concat()
}

fn with_number(name: &[u8], number: u32, longest: usize) -> Vec<u8> {
    let (stem, extension) = split(name);
    let number = format!("~{number}");
    let room = longest - number.len() - extension.len();
    [cut(stem, room), number.as_bytes(), extension].concat()
}

/// Stem and extension; what is long is no extension.
fn split(name: &[u8]) -> (&[u8], &[u8]) {
    match name.iter().rposition(|&b| b == b'.') {
        Some(dot) if dot > 0 && name.len() - dot <= 16 => name.split_at(dot),
        _ => (name, b""),
    }
}

/// The beginning of a name, not cut inside a character.
fn cut(name: &[u8], room: usize) -> &[u8] {
    let mut end = room.min(name.len());
    while end > 0 && end < name.len() && name[end] & 0xc0 == 0x80 && room - end < 3 {
        end -= 1;
    }
    &name[..end]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn whatever_a_component_is_its_names_stay_in_one_folder() {
        let long = [b"x".repeat(5000), b"/..".to_vec()].concat();
        let accents = "é".repeat(400);
        let cases: [&[u8]; 12] =
            [b"", b".", b"..", b"/", b"../..", b"/etc/passwd", b"a\0b", b"\0", b"...", b"\xff/\xfe", &long, accents.as_bytes()];
        for wanted in cases {
            for portable in [false, true] {
                for longest in [64, 255] {
                    for name in (Names { portable, longest }).candidates(wanted).take(4) {
                        let shown = String::from_utf8_lossy(&name);
                        assert!(!name.is_empty() && name.len() <= longest, "{shown}");
                        assert!(name != b"." && name != b".." && !name.contains(&b'/') && !name.contains(&0), "{shown}");
                    }
                }
            }
        }
    }

    #[test]
    fn names_are_changed_only_as_far_as_they_must_be() {
        let check = |portable, wanted: &str, expected: &str| {
            let name = Names { portable, longest: 255 }.candidates(wanted.as_bytes()).next().unwrap();
            assert_eq!(String::from_utf8(name).unwrap(), expected);
        };
        for usual in ["a", ".hidden", "a b.txt", "CON", "what?.", "tab\there", "naïve", "100%"] {
            check(false, usual, usual);
        }
        check(true, "naïve.txt", "naïve.txt");
        check(true, "CON", "CON_");
        check(true, "nul.tar.gz", "nul_.tar.gz");
        check(true, "com1", "com1_");
        check(true, "com10", "com10");
        check(true, "what?", "what%3F");
        check(true, "end.", "end%2E");
        check(true, "end ", "end%20");
        check(true, "..", ".%2E");
        check(false, "..", "%2E%2E");
    }

    #[test]
    fn long_names_that_differ_only_at_the_end_stay_apart_and_keep_their_extension() {
        let names = Names { portable: false, longest: 255 };
        let of = |last: &str| names.candidates(format!("{}{last}.jpeg", "ü".repeat(300)).as_bytes()).next().unwrap();
        assert_ne!(of("1"), of("2"));
        let name = String::from_utf8(of("1")).unwrap();
        assert!(name.ends_with(".jpeg") && name.len() > 240, "{name}");
    }
}
