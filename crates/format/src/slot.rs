//! Key slots: a password turned into a key that seals the repository's secrets (FORMAT.md, chapter 4).
//!
//! The parameters of the key derivation come from the store, so they are bounded before any work is done for them.

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::id::RepositoryId;
use crate::key::{Key, Secrets, random};
use crate::read::Reader;
use crate::write::Writer;
use crate::{FormatError, Kind, Result};

/// How many slots a reader tries at most.
pub const MOST_TRIED: usize = 16;
const LONGEST_LABEL: usize = 64;

/// How a password becomes a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kdf {
    /// Argon2id, version 0x13 (RFC 9106).
    Argon2id {
        /// Memory in KiB.
        memory_kib: u32,
        /// Passes over the memory.
        passes: u32,
        /// Lanes.
        lanes: u32,
    },
    /// PBKDF2-HMAC-SHA256 (RFC 8018).
    Pbkdf2 {
        /// Rounds.
        rounds: u32,
    },
}

impl Default for Kdf {
    fn default() -> Kdf {
        Kdf::Argon2id { memory_kib: 256 * 1024, passes: 3, lanes: 4 }
    }
}

impl Kdf {
    /// The default of those who must have PBKDF2.
    pub const PBKDF2: Kdf = Kdf::Pbkdf2 { rounds: 2_000_000 };

    fn check(self) -> Result<Kdf> {
        let sound = match self {
            Kdf::Argon2id { memory_kib, passes, lanes } => {
                (19 * 1024..=2 * 1024 * 1024).contains(&memory_kib)
                    && (1..=64).contains(&passes)
                    && (1..=16).contains(&lanes)
                    && u64::from(memory_kib) * u64::from(passes) <= 16 * 1024 * 1024
            }
            Kdf::Pbkdf2 { rounds } => (600_000..=50_000_000).contains(&rounds),
        };
        match sound {
            true => Ok(self),
            false => Err(FormatError::invalid("key derivation of a key slot", format!("{self:?} is outside the bounds"))),
        }
    }

    fn run(self, password: &[u8], salt: &[u8; 32]) -> Result<Key> {
        let mut out = Zeroizing::new([0; 32]);
        match self.check()? {
            Kdf::Argon2id { memory_kib, passes, lanes } => {
                let params = argon2::Params::new(memory_kib, passes, lanes, Some(32))
                    .map_err(|e| FormatError::invalid("key derivation of a key slot", e.to_string()))?;
                argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
                    .hash_password_into(password, salt, &mut out[..])
                    .map_err(|_| FormatError::KdfMemory { mib: memory_kib / 1024 })?;
            }
            Kdf::Pbkdf2 { rounds } => pbkdf2::pbkdf2_hmac::<sha2::Sha256>(password, salt, rounds, &mut out[..]),
        }
        Ok(Key::new(*out))
    }

    fn encode(self, w: &mut Writer) {
        match self {
            Kdf::Argon2id { memory_kib, passes, lanes } => w.u8(1).u32(memory_kib).u32(passes).u32(lanes),
            Kdf::Pbkdf2 { rounds } => w.u8(2).u32(rounds).u32(0).u32(0),
        };
    }

    fn decode(r: &mut Reader<'_>) -> Result<Kdf> {
        match (r.u8()?, r.u32()?, r.u32()?, r.u32()?) {
            (1, memory_kib, passes, lanes) => Kdf::Argon2id { memory_kib, passes, lanes }.check(),
            (2, rounds, 0, 0) => Kdf::Pbkdf2 { rounds }.check(),
            (other, ..) => Err(FormatError::invalid("key derivation of a key slot", format!("number {other}"))),
        }
    }
}

/// What opens a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotKind {
    /// Something a person remembers.
    Password,
    /// Something a person printed.
    Recovery,
}

/// What whoever opens a slot may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// Everything.
    Full,
    /// Add snapshots, and read none.
    BackupOnly,
}

/// A key slot, still closed. What it shows is public.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Whose it is.
    pub repository: RepositoryId,
    /// What opens it.
    pub kind: SlotKind,
    /// What it allows.
    pub rights: Rights,
    /// When it was made, Unix seconds.
    pub created: u64,
    /// What the person called it.
    pub label: String,
    /// How the password becomes a key.
    pub kdf: Kdf,
    salt: [u8; 32],
    commitment: [u8; 32],
    nonce: [u8; 24],
    sealed: Vec<u8>,
}

impl Slot {
    /// Seals the secrets under a password. Slow on purpose.
    pub fn create(
        secrets: &Secrets,
        password: &[u8],
        repository: RepositoryId,
        kind: SlotKind,
        label: &str,
        kdf: Kdf,
        created: u64,
    ) -> Result<Slot> {
        if label.len() > LONGEST_LABEL {
            return Err(FormatError::invalid("label of a key slot", "longer than 64 bytes"));
        }
        let rights = match secrets {
            Secrets::Full { .. } => Rights::Full,
            Secrets::BackupOnly { .. } => Rights::BackupOnly,
        };
        let mut slot = Slot {
            repository,
            kind,
            rights,
            created,
            label: label.to_owned(),
            kdf: kdf.check()?,
            salt: random()?,
            commitment: [0; 32],
            nonce: random()?,
            sealed: secrets.encode().to_vec(),
        };
        let derived = kdf.run(password, &slot.salt)?;
        slot.commitment = slot.commit(&derived);
        let tag = slot_cipher(&derived)
            .encrypt_inout_detached(&XNonce::from(slot.nonce), &slot.public_part(), slot.sealed.as_mut_slice().into())
            .map_err(|_| FormatError::Sealed { what: "key slot" })?;
        slot.sealed.extend_from_slice(&tag);
        Ok(slot)
    }

    /// Opens the slot. Slow on purpose.
    pub fn open(&self, password: &[u8]) -> Result<Secrets> {
        let derived = self.kdf.run(password, &self.salt)?;
        if !bool::from(self.commit(&derived).ct_eq(&self.commitment)) {
            return Err(FormatError::WrongPassword);
        }
        let (sealed, tag) = self.sealed.split_last_chunk::<16>().ok_or(FormatError::Sealed { what: "key slot" })?;
        let mut plain = Zeroizing::new(sealed.to_vec());
        slot_cipher(&derived)
            .decrypt_inout_detached(&XNonce::from(self.nonce), &self.public_part(), plain.as_mut_slice().into(), &(*tag).into())
            .map_err(|_| FormatError::Sealed { what: "key slot" })?;
        let secrets = Secrets::decode(&plain)?;
        match (&secrets, self.rights) {
            (Secrets::Full { .. }, Rights::Full) | (Secrets::BackupOnly { .. }, Rights::BackupOnly) => Ok(secrets),
            _ => Err(FormatError::invalid("rights of a key slot", "they differ inside and outside")),
        }
    }

    /// The bytes of the file.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.public_part();
        bytes.extend_from_slice(&self.nonce);
        bytes.extend_from_slice(Writer::new().blob(&self.sealed).finish().as_slice());
        bytes
    }

    /// Reads the file. Parameters outside the bounds are refused here.
    pub fn decode(bytes: &[u8]) -> Result<Slot> {
        let mut r = Reader::new("key slot", bytes);
        Kind::Slot.expect(&mut r)?;
        let slot = Slot {
            repository: RepositoryId(r.array()?),
            kind: match r.u8()? {
                1 => SlotKind::Password,
                2 => SlotKind::Recovery,
                other => return Err(FormatError::invalid("kind of a key slot", other.to_string())),
            },
            rights: match r.u8()? {
                1 => Rights::Full,
                2 => Rights::BackupOnly,
                other => return Err(FormatError::invalid("rights of a key slot", other.to_string())),
            },
            created: r.u64()?,
            label: match r.text()? {
                label if label.len() <= LONGEST_LABEL => label.to_owned(),
                _ => return Err(FormatError::invalid("label of a key slot", "longer than 64 bytes")),
            },
            kdf: Kdf::decode(&mut r)?,
            salt: r.array()?,
            commitment: r.array()?,
            nonce: r.array()?,
            sealed: r.blob()?.to_vec(),
        };
        r.finish()?;
        Ok(slot)
    }

    /// Everything before the commitment.
    fn head(&self) -> Writer {
        let mut w = Writer::new();
        w.bytes(&Kind::Slot.magic()).bytes(&self.repository.0);
        w.u8(if self.kind == SlotKind::Password { 1 } else { 2 });
        w.u8(if self.rights == Rights::Full { 1 } else { 2 });
        w.u64(self.created).text(&self.label);
        self.kdf.encode(&mut w);
        w.bytes(&self.salt);
        w
    }

    fn commit(&self, derived: &Key) -> [u8; 32] {
        *Key::derived("russet v1 slot commitment", derived.expose(), &[&self.head().finish()]).expose()
    }

    fn public_part(&self) -> Vec<u8> {
        self.head().bytes(&self.commitment).finish()
    }
}

fn slot_cipher(derived: &Key) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(Key::derived("russet v1 slot", derived.expose(), &[]).expose().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Kdf = Kdf::Argon2id { memory_kib: 19 * 1024, passes: 1, lanes: 1 };

    fn slot() -> Slot {
        let secrets = Secrets::Full { writing: Key::new([1; 32]), reading: Key::new([2; 32]) };
        Slot::create(&secrets, b"pw", RepositoryId([3; 16]), SlotKind::Password, "desk", QUICK, 5).unwrap()
    }

    #[test]
    fn a_slot_opens_with_its_password_and_with_no_other() {
        let slot = Slot::decode(&slot().encode()).unwrap();
        let Secrets::Full { writing, reading } = slot.open(b"pw").unwrap() else { panic!("rights were lost") };
        assert_eq!((writing.expose(), reading.expose()), (&[1; 32], &[2; 32]));
        assert_eq!(slot.open(b"PW").unwrap_err(), FormatError::WrongPassword);
    }

    #[test]
    fn a_backup_only_slot_holds_no_reading_root() {
        let repository = RepositoryId([3; 16]);
        let full = Secrets::Full { writing: Key::new([1; 32]), reading: Key::new([0x5a; 32]) };
        let less = full.backup_only(repository);
        let slot = Slot::create(&less, b"pw", repository, SlotKind::Password, "", QUICK, 5).unwrap();
        let opened = slot.open(b"pw").unwrap();
        assert!(matches!(opened, Secrets::BackupOnly { .. }));
        assert!(opened.keys(repository).reading.is_none());
        assert!(!less.encode().windows(32).any(|w| w == [0x5a; 32]));
    }

    #[test]
    fn a_slot_made_with_pbkdf2_opens() {
        let secrets = Secrets::Full { writing: Key::new([1; 32]), reading: Key::new([2; 32]) };
        let kdf = Kdf::Pbkdf2 { rounds: 600_000 };
        let slot = Slot::create(&secrets, b"pw", RepositoryId([3; 16]), SlotKind::Recovery, "", kdf, 5).unwrap();
        slot.open(b"pw").unwrap();
    }

    #[test]
    fn hostile_kdf_parameters_are_refused_before_they_cost_anything() {
        let bytes = slot().encode();
        let at = bytes.windows(5).position(|w| w == [1, 0, 0x4c, 0, 0]).unwrap();
        for (offset, value) in [(1, u32::MAX), (1, 1), (5, 65), (5, u32::MAX), (9, 0), (9, 17)] {
            let mut bad = bytes.clone();
            bad[at + offset..at + offset + 4].copy_from_slice(&value.to_le_bytes());
            assert!(matches!(Slot::decode(&bad), Err(FormatError::Invalid { .. })), "{offset} {value}");
        }
    }

    #[test]
    fn every_flipped_byte_of_a_slot_is_noticed() {
        let slot = slot();
        let bytes = slot.encode();
        // Each flip costs a key derivation, so every third byte is tried.
        for at in (0..bytes.len()).step_by(3) {
            let mut bad = bytes.clone();
            bad[at] ^= 0x10;
            assert!(Slot::decode(&bad).and_then(|s| s.open(b"pw")).is_err(), "byte {at}");
        }
        for end in 0..bytes.len() {
            assert!(Slot::decode(&bytes[..end]).is_err(), "cut at {end}");
        }
    }
}
