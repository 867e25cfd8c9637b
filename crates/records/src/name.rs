//! Names for files, made of titles and names that could be anything.
//!
//! [`russet_vfs::target::Target`] keeps every name inside its folder; what is made here is one that a person likes to see and that is the same
//! on every disk, so that links to it can be written before it is.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// The longest name, in characters, and in bytes.
const LONGEST: usize = 60;
const MOST_BYTES: usize = 150;
/// Files that a browser runs when it is led to one.
const ACTIVE: &[&str] = &["html", "htm", "xhtml", "xht", "shtml", "svg", "svgz", "xml", "xsl", "mht", "mhtml"];

/// A name without what some disk cannot hold; `otherwise` if nothing is left.
pub fn safe(wanted: &str, otherwise: &str) -> String {
    let mut name = String::new();
    let mut length = 0;
    for c in wanted.chars() {
        let c = if is_kept(c) { c } else { ' ' };
        // Blanks in a row are one, and a name begins with none, nor with a dot, which would hide it.
        if c == ' ' && (name.is_empty() || name.ends_with(' ')) || c == '.' && name.is_empty() {
            continue;
        }
        if length == LONGEST || name.len() + c.len_utf8() > MOST_BYTES {
            break;
        }
        name.push(c);
        length += 1;
    }
    name.truncate(name.trim_end_matches([' ', '.']).len());
    if name.is_empty() { otherwise.to_owned() } else { name }
}

/// The same for a file whose extension matters. One that a browser would run gets another after it.
pub fn safe_file(wanted: &str, otherwise: &str) -> String {
    let (stem, extension) = split(wanted);
    let stem = safe(stem, otherwise);
    let extension = extension.to_ascii_lowercase();
    match &*extension {
        "" => stem,
        active if ACTIVE.contains(&active) => format!("{stem}.{active}.txt"),
        _ => format!("{stem}.{extension}"),
    }
}

/// Stem and extension; what is long or strange is no extension.
fn split(name: &str) -> (&str, &str) {
    match name.rsplit_once('.') {
        Some((stem, extension)) if (1..=8).contains(&extension.len()) && extension.bytes().all(|b| b.is_ascii_alphanumeric()) => {
            (stem, extension)
        }
        _ => (name, ""),
    }
}

fn is_kept(c: char) -> bool {
    // What is invisible or turns text round tells nobody anything in a name.
    let unseen = matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    !c.is_control() && !c.is_whitespace() && !unseen && !"<>:\"/\\|?*%#~".contains(c)
}

/// Names that are taken in one folder.
#[derive(Debug, Default)]
pub struct Names {
    /// What is taken, and the number that its next namesake may get.
    taken: HashMap<String, u32>,
}

impl Names {
    /// The name, or the first with a number that is not taken. Names that only some disks tell apart count as one.
    pub fn unique(&mut self, name: &str) -> String {
        let (stem, extension) = split(name);
        let dot = if extension.is_empty() { "" } else { "." };
        let first = folded(name);
        let Some(&next) = self.taken.get(&first) else {
            self.taken.insert(first, 2);
            return name.to_owned();
        };
        let mut number = next;
        loop {
            let candidate = format!("{stem} {number}{dot}{extension}");
            number += 1;
            if let Entry::Vacant(free) = self.taken.entry(folded(&candidate)) {
                free.insert(2);
                self.taken.insert(first, number);
                return candidate;
            }
        }
    }
}

/// What is the same in two names that a disk may take for one: it may fold case, and compose or decompose accents.
fn folded(name: &str) -> String {
    let lower = name.to_lowercase();
    lower.chars().filter(|c| !matches!(c, '\u{300}'..='\u{36f}')).map(|c| if c.is_ascii() { c } else { plain(c) }).collect()
}

/// The letter under the accent, for the accents that names in Latin letters have.
fn plain(c: char) -> char {
    match c {
        'à'..='å' | 'ā' | 'ă' | 'ą' => 'a',
        'ç' | 'ć' | 'č' => 'c',
        'è'..='ë' | 'ē' | 'ę' | 'ě' => 'e',
        'ì'..='ï' | 'ī' => 'i',
        'ñ' | 'ń' | 'ň' => 'n',
        'ò'..='ö' | 'ō' | 'ő' => 'o',
        'ù'..='ü' | 'ū' | 'ů' | 'ű' => 'u',
        'ś' | 'š' | 'ş' => 's',
        'ý' | 'ÿ' => 'y',
        'ź' | 'ż' | 'ž' => 'z',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_as_far_as_every_disk_holds_them() {
        let check = |wanted: &str, expected: &str| assert_eq!(safe(wanted, "unnamed"), expected);
        check("Anna Berg", "Anna Berg");
        check("Zoë & Łukasz 🎉", "Zoë & Łukasz 🎉");
        check("../../etc/passwd", "etc passwd");
        check("  a\tb\n\u{202e}c\0 ", "a b c");
        check("...", "unnamed");
        check("", "unnamed");
        check("what? <who>: \"x\"", "what who x");
        assert_eq!(safe(&"é".repeat(500), "").chars().count(), LONGEST);
        assert!(safe(&"🎉".repeat(500), "").len() <= MOST_BYTES);
    }

    #[test]
    fn a_files_extension_stays_and_what_a_browser_would_run_does_not() {
        let check = |wanted: &str, expected: &str| assert_eq!(safe_file(wanted, "file"), expected);
        check("IMG_0001.HEIC", "IMG_0001.heic");
        check("archive.tar.gz", "archive.tar.gz");
        check("../x/evil.HTML", "x evil.html.txt");
        check(".jpeg", "file.jpeg");
        check("no extension. at all", "no extension. at all");
    }

    #[test]
    fn names_that_some_disk_takes_for_one_get_a_number() {
        let mut names = Names::default();
        let mut check = |wanted: &str, expected: &str| assert_eq!(names.unique(wanted), expected);
        check("a.jpeg", "a.jpeg");
        check("A.jpeg", "A 2.jpeg");
        check("a.jpeg", "a 3.jpeg");
        check("Zoë", "Zoë");
        check("Zoe\u{308}", "Zoe\u{308} 2");
        check("zoe", "zoe 3");
    }
}
