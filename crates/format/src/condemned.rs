//! Condemned lists: packs that are to go after a time of grace (FORMAT.md, chapter 11).

use crate::id::FileName;
use crate::key::Keys;
use crate::read::Reader;
use crate::write::Writer;
use crate::{Kind, Result, seal};

/// Packs on their way out. No writer may count their chunks as known; readers may still read them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condemned {
    /// When, Unix seconds.
    pub time: i64,
    /// Which packs.
    pub packs: Vec<FileName>,
}

impl Condemned {
    /// Seals the list.
    pub fn seal(&self, keys: &Keys) -> Result<Vec<u8>> {
        let mut w = Writer::new();
        w.i64(self.time).count(self.packs.len());
        for pack in &self.packs {
            w.bytes(&pack.0);
        }
        seal::seal_file(Kind::Condemned, keys, &w.finish())
    }

    /// Opens a list.
    pub fn open(keys: &Keys, file: &[u8]) -> Result<Condemned> {
        Condemned::decode(&seal::open_file(Kind::Condemned, keys, file)?)
    }

    /// Reads an opened payload.
    pub fn decode(payload: &[u8]) -> Result<Condemned> {
        let mut r = Reader::new("condemned list", payload);
        let time = r.i64()?;
        let packs = (0..r.count(32)?).map(|_| Ok(FileName(r.array()?))).collect::<Result<_>>()?;
        r.finish()?;
        Ok(Condemned { time, packs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::RepositoryId;
    use crate::key::{Key, Secrets};

    #[test]
    fn a_condemned_list_round_trips() {
        let keys = Secrets::full(Key::new([1; 32]), Key::new([2; 32])).keys(RepositoryId([0; 16]));
        let list = Condemned { time: 7, packs: vec![FileName([1; 32]), FileName([2; 32])] };
        assert_eq!(Condemned::open(&keys, &list.seal(&keys).unwrap()), Ok(list));
    }
}
