//! Key files: a random key for a machine that nobody sits at, as a text that says what it is (FORMAT.md, chapter 4).

use zeroize::Zeroizing;

use crate::id::{RepositoryId, hex, unhex};
use crate::key::Key;
use crate::{FormatError, Result};

/// A key file.
#[derive(Debug)]
pub struct KeyFile {
    /// Whose key slot it opens.
    pub repository: RepositoryId,
    key: Key,
}

const FIRST_LINE: &str = "russet key file 1";
/// No key file is longer.
pub const LONGEST: usize = 4096;

impl KeyFile {
    /// A new one.
    pub fn random(repository: RepositoryId) -> Result<KeyFile> {
        Ok(KeyFile { repository, key: Key::random()? })
    }

    /// What opens the slot.
    pub fn password(&self) -> &[u8; 32] {
        self.key.expose()
    }

    /// The root of what the machine keeps to itself between two backups.
    pub fn state(&self) -> Key {
        Key::derived("russet v1 key file state", self.key.expose(), &[&self.repository.0])
    }

    /// The text of the file.
    pub fn text(&self) -> Zeroizing<String> {
        let key = Zeroizing::new(hex(self.key.expose()));
        Zeroizing::new(format!(
            "{FIRST_LINE}\n\
             This key adds backups to one russet repository and reads none of it.\n\
             Keep it where only the program that makes the backups can read it.\n\n\
             repository {}\nkey {}\ncheck {}\n",
            self.repository,
            *key,
            self.check()
        ))
    }

    /// Reads the text of a file. Lines that it does not know are left alone.
    pub fn parse(text: &str) -> Result<KeyFile> {
        let bad = |why: &str| FormatError::invalid("key file", why);
        let mut lines = text.lines().map(str::trim_end);
        match lines.next() {
            Some(FIRST_LINE) => {}
            Some(line) if line.starts_with("russet key file ") => return Err(bad("a newer russet made it")),
            _ => return Err(bad("it does not begin with the words \u{201c}russet key file\u{201d}")),
        }
        let field = |name: &str| lines.clone().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let missing = |name: &'static str| bad(&format!("the line \u{201c}{name}\u{201d} is missing or damaged"));
        let repository = field("repository").and_then(unhex).ok_or_else(|| missing("repository"))?;
        let key = field("key").and_then(unhex).ok_or_else(|| missing("key"))?;
        let file = KeyFile { repository: RepositoryId(repository), key: Key::new(key) };
        match field("check").is_some_and(|check| check == file.check()) {
            true => Ok(file),
            false => Err(bad("its check does not fit: a letter was changed")),
        }
    }

    fn check(&self) -> String {
        let check = Key::derived("russet v1 key file check", self.key.expose(), &[&self.repository.0]);
        hex(&check.expose()[..8])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_comes_back_whole_or_not_at_all() {
        let file = KeyFile { repository: RepositoryId([0xab; 16]), key: Key::new([0x5a; 32]) };
        let text = file.text();
        let again = KeyFile::parse(&text.replace('\n', "\r\n")).unwrap();
        assert_eq!((again.repository, again.password()), (file.repository, file.password()));
        assert!(text.len() < LONGEST);
        assert_eq!(format!("{file:?}"), format!("KeyFile {{ repository: {:?}, key: Key(..) }}", file.repository));
        for at in text.find("\nrepository").unwrap()..text.trim_end().len() {
            let mut wrong = text.as_bytes().to_vec();
            wrong[at] = if wrong[at] == b'1' { b'2' } else { b'1' };
            assert!(KeyFile::parse(std::str::from_utf8(&wrong).unwrap()).is_err(), "byte {at}");
        }
        assert!(KeyFile::parse("").is_err() && KeyFile::parse(&text.replace("file 1", "file 2")).is_err());
    }

    #[test]
    fn what_a_machine_keeps_is_sealed_under_another_key_than_the_one_that_opens_the_slot() {
        let file = KeyFile { repository: RepositoryId([1; 16]), key: Key::new([2; 32]) };
        assert_ne!(file.state().expose(), file.password());
        let other = KeyFile { repository: RepositoryId([2; 16]), key: Key::new([2; 32]) };
        assert_ne!(file.state().expose(), other.state().expose());
    }
}
