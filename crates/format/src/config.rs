//! `config`: what this folder is, and its id (FORMAT.md, chapter 3).

use crate::id::RepositoryId;
use crate::parity::Share;
use crate::read::Reader;
use crate::write::Writer;
use crate::{FormatError, Kind, Result};

/// The public facts of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Its random id.
    pub id: RepositoryId,
    /// When it was made, Unix seconds.
    pub created: u64,
    /// How much parity its packs get.
    pub parity: Share,
}

/// The length of one that says nothing of parity: those made before there was any.
const OLDER: usize = 64;

impl Config {
    /// The bytes of the file.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.bytes(&Kind::Config.magic()).bytes(&self.id.0).u64(self.created).u8(self.parity.percent());
        let mut bytes = w.finish();
        let hash = blake3::hash(&bytes);
        bytes.extend_from_slice(hash.as_bytes());
        bytes
    }

    /// Reads the file.
    pub fn decode(bytes: &[u8]) -> Result<Config> {
        let mut r = Reader::new("config", bytes);
        Kind::Config.expect(&mut r)?;
        let (id, created) = (RepositoryId(r.array()?), r.u64()?);
        let parity = if bytes.len() == OLDER { Share::DEFAULT } else { Share::new(r.u8()?)? };
        let hashed = bytes.len() - r.left();
        let hash: [u8; 32] = r.array()?;
        r.finish()?;
        if blake3::hash(&bytes[..hashed]) != hash {
            return Err(FormatError::invalid("config", "its checksum does not match"));
        }
        Ok(Config { id, created, parity })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_byte_is_noticed() {
        let config = Config { id: RepositoryId([7; 16]), created: 1_700_000_000, parity: Share::new(20).unwrap() };
        let bytes = config.encode();
        assert_eq!(Config::decode(&bytes), Ok(config));
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert!(Config::decode(&bad).is_err(), "byte {at}");
            assert!(Config::decode(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn one_that_says_nothing_of_parity_has_the_usual_share() {
        let config = Config { id: RepositoryId([7; 16]), created: 1_700_000_000, parity: Share::DEFAULT };
        let older = &config.encode()[..32];
        assert_eq!(Config::decode(&[older, blake3::hash(older).as_bytes()].concat()), Ok(config));
        let excessive = [older, &[21]].concat();
        assert!(Config::decode(&[&excessive, &blake3::hash(&excessive).as_bytes()[..]].concat()).is_err());
    }
}
