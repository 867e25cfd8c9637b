//! The names of files in a store: a few plain words with slashes between them.
//!
//! They are narrow enough to mean the same on every disk and server, and can never lead out of the store.

use std::fmt;

const MAX_PARTS: usize = 4;
const MAX_PART_BYTES: usize = 96;

/// The name of a file in a store, such as `packs/3f/3f9a77`.
///
/// It has one to four parts with `/` between them. Each is 1 to 96 bytes of `a`–`z`, `0`–`9`, `.`, `_` and `-`, and
/// none starts with a dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// Checks a name.
    pub fn new(name: impl Into<String>) -> Result<Self, BadName> {
        let name = name.into();
        match fault(&name) {
            None => Ok(Self(name)),
            Some(why) => Err(BadName { name, why }),
        }
    }

    /// The name as text, with `/` between its parts.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The folders that this name lies in, outermost first: `a` and `a/b` for `a/b/c`.
    pub(crate) fn folders(&self) -> impl Iterator<Item = &str> {
        self.0.match_indices('/').map(|(at, _)| &self.0[..at])
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name that no store would take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} cannot name a file in a store: {why}")]
pub struct BadName {
    /// The name as it was given.
    pub name: String,
    /// Which rule it breaks.
    pub why: &'static str,
}

/// Whether `part` can stand between two slashes of a name.
pub(crate) fn is_part(part: &str) -> bool {
    part_fault(part).is_none()
}

/// Whether `prefix` can be the folder of a listing.
pub(crate) fn check_prefix(prefix: &str) -> Result<(), BadName> {
    match fault(prefix) {
        Some(why) if !prefix.is_empty() => Err(BadName { name: prefix.to_owned(), why }),
        _ => Ok(()),
    }
}

fn fault(name: &str) -> Option<&'static str> {
    if name.split('/').count() > MAX_PARTS {
        return Some("it has more than four parts");
    }
    name.split('/').find_map(part_fault)
}

fn part_fault(part: &str) -> Option<&'static str> {
    let is_allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
    if part.is_empty() {
        Some("a part of it is empty")
    } else if part.len() > MAX_PART_BYTES {
        Some("a part of it is longer than 96 bytes")
    } else if part.starts_with('.') {
        Some("a part of it starts with a dot")
    } else if !part.bytes().all(is_allowed) {
        Some("it has a character other than a-z, 0-9, '.', '_' and '-'")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_keeps_the_rules_is_taken_as_it_is() {
        let longest = ["x".repeat(96), "y".repeat(96), "z".repeat(96), "0".repeat(96)].join("/");
        for good in ["a", "config", "packs/3f/3f9a", "a/b/c/d", "a.b_c-d", "-", "0..", &longest] {
            assert_eq!(Name::new(good).map(|n| n.to_string()), Ok(good.to_owned()));
        }
    }

    #[test]
    fn a_name_that_breaks_a_rule_is_refused() {
        let too_long = "x".repeat(97);
        for bad in [
            "",
            "/",
            "/a",
            "a/",
            "a//b",
            ".",
            "..",
            "../a",
            "a/../b",
            ".a",
            "a/.b",
            "a/b/c/d/e",
            "A",
            "a b",
            "a\\b",
            "é",
            "a\0",
            "a\n",
            "c:",
            &too_long,
        ] {
            assert!(Name::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_folders_of_a_name_come_outermost_first() {
        let check = |name: &str, expected: &[&str]| {
            let name = Name::new(name).expect("a good name");
            assert_eq!(name.folders().collect::<Vec<_>>(), expected);
        };
        check("a", &[]);
        check("a/b/c", &["a", "a/b"]);
    }
}
