//! The vault: secrets of phones (FORMAT.md, chapter 10).

use zeroize::Zeroizing;

use crate::key::Keys;
use crate::read::Reader;
use crate::write::Writer;
use crate::{Kind, Result, seal};

/// One secret.
pub struct Entry {
    /// Whose: a device's udid.
    pub scope: String,
    /// What: `password`, `kek/…`.
    pub name: String,
    /// The secret.
    pub value: Zeroizing<Vec<u8>>,
    /// When it was written, Unix seconds.
    pub written: i64,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Entry({} {} ..)", self.scope, self.name)
    }
}

/// Seals some secrets as a file.
pub fn seal(keys: &Keys, entries: &[Entry]) -> Result<Vec<u8>> {
    let mut w = Writer::new();
    w.count(entries.len());
    for entry in entries {
        w.text(&entry.scope).text(&entry.name).blob(&entry.value).i64(entry.written);
    }
    seal::seal_file(Kind::Vault, keys, &Zeroizing::new(w.finish()))
}

/// Opens a file of secrets.
pub fn open(keys: &Keys, file: &[u8]) -> Result<Vec<Entry>> {
    decode(&seal::open_file(Kind::Vault, keys, file)?)
}

/// Reads an opened payload.
pub fn decode(payload: &[u8]) -> Result<Vec<Entry>> {
    let mut r = Reader::new("vault file", payload);
    let entries = (0..r.count(16)?)
        .map(|_| {
            let (scope, name) = (r.text()?.to_owned(), r.text()?.to_owned());
            Ok(Entry { scope, name, value: Zeroizing::new(r.blob()?.to_vec()), written: r.i64()? })
        })
        .collect::<Result<_>>()?;
    r.finish()?;
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::RepositoryId;
    use crate::key::{Key, Secrets};

    #[test]
    fn a_secret_comes_back_and_never_shows_itself() {
        let keys = Secrets::full(Key::new([1; 32]), Key::new([2; 32])).keys(RepositoryId([0; 16]));
        let value = Zeroizing::new(b"hunter2".to_vec());
        let file = seal(&keys, &[Entry { scope: "udid".into(), name: "password".into(), value, written: 4 }]).unwrap();
        let entries = open(&keys, &file).unwrap();
        assert_eq!((&entries[0].value[..], entries[0].written), (&b"hunter2"[..], 4));
        assert!(!format!("{entries:?}").contains("hunter2"));
        assert!(!file.windows(7).any(|w| w == b"hunter2"));
    }
}
