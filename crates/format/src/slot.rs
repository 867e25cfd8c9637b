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
    /// None: what opens the slot is a random key out of a file, which nobody guesses.
    RandomKey,
}

impl Default for Kdf {
    fn default() -> Kdf {
        Kdf::Argon2id { memory_kib: 256 * 1024, passes: 3, lanes: 4 }
    }
}

impl Kdf {
    /// The default of those who must have PBKDF2.
    pub const PBKDF2: Kdf = Kdf::Pbkdf2 { rounds: 2_000_000 };

    /// Today's parameters, where these cost whoever guesses less.
    pub fn strengthened(self) -> Option<Kdf> {
        let cost = |kdf| match kdf {
            Kdf::Argon2id { memory_kib, passes, .. } => (memory_kib, u64::from(memory_kib) * u64::from(passes)),
            Kdf::Pbkdf2 { rounds } => (0, rounds.into()),
            Kdf::RandomKey => (0, 0),
        };
        let today = match self {
            Kdf::Argon2id { .. } => Kdf::default(),
            Kdf::Pbkdf2 { .. } => Kdf::PBKDF2,
            Kdf::RandomKey => return None,
        };
        let ((memory, work), (memory_today, work_today)) = (cost(self), cost(today));
        (memory < memory_today || work < work_today).then_some(today)
    }

    fn check(self) -> Result<Kdf> {
        let sound = match self {
            Kdf::Argon2id { memory_kib, passes, lanes } => {
                (19 * 1024..=2 * 1024 * 1024).contains(&memory_kib)
                    && (1..=64).contains(&passes)
                    && (1..=16).contains(&lanes)
                    && u64::from(memory_kib) * u64::from(passes) <= 16 * 1024 * 1024
            }
            Kdf::Pbkdf2 { rounds } => (600_000..=50_000_000).contains(&rounds),
            Kdf::RandomKey => true,
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
            Kdf::RandomKey => return Ok(Key::derived("russet v1 key file", password, &[salt])),
        }
        Ok(Key::new(*out))
    }

    fn encode(self, w: &mut Writer) {
        match self {
            Kdf::Argon2id { memory_kib, passes, lanes } => w.u8(1).u32(memory_kib).u32(passes).u32(lanes),
            Kdf::Pbkdf2 { rounds } => w.u8(2).u32(rounds).u32(0).u32(0),
            Kdf::RandomKey => w.u8(3).u32(0).u32(0).u32(0),
        };
    }

    fn decode(r: &mut Reader<'_>) -> Result<Kdf> {
        match (r.u8()?, r.u32()?, r.u32()?, r.u32()?) {
            (1, memory_kib, passes, lanes) => Kdf::Argon2id { memory_kib, passes, lanes }.check(),
            (2, rounds, 0, 0) => Kdf::Pbkdf2 { rounds }.check(),
            (3, 0, 0, 0) => Ok(Kdf::RandomKey),
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
    /// A random key in a file, for a machine that nobody sits at.
    KeyFile,
}

impl SlotKind {
    const NUMBERED: [(u8, SlotKind); 3] = [(1, SlotKind::Password), (2, SlotKind::Recovery), (3, SlotKind::KeyFile)];

    fn number(self) -> u8 {
        Self::NUMBERED.iter().find(|(_, kind)| *kind == self).expect("every kind is in the list").0
    }

    /// A password needs a derivation that costs, and a random key needs none; nothing passes for the other.
    fn check(self, kdf: Kdf) -> Result<Kdf> {
        match (self == SlotKind::KeyFile) == (kdf == Kdf::RandomKey) {
            true => kdf.check(),
            false => Err(FormatError::invalid("key derivation of a key slot", format!("{kdf:?} does not go with {self:?}"))),
        }
    }
}

/// Added to the rights where a generation after the first follows the label.
const ROTATED: u8 = 0x80;

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
    /// The newest generation of keys that it knows.
    pub generation: u16,
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
        let mut slot = Slot {
            repository,
            kind,
            rights: if secrets.is_full() { Rights::Full } else { Rights::BackupOnly },
            generation: secrets.generation(),
            created,
            label: label.to_owned(),
            kdf: kind.check(kdf)?,
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
        match (secrets.is_full(), secrets.generation()) == (self.rights == Rights::Full, self.generation) {
            true => Ok(secrets),
            false => Err(FormatError::invalid("rights of a key slot", "they differ inside and outside")),
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
        let repository = RepositoryId(r.array()?);
        let number = r.u8()?;
        let kind = SlotKind::NUMBERED.iter().find(|(known, _)| *known == number);
        let kind = kind.ok_or_else(|| FormatError::invalid("kind of a key slot", number.to_string()))?.1;
        let number = r.u8()?;
        let rights = match number & !ROTATED {
            1 => Rights::Full,
            2 => Rights::BackupOnly,
            other => return Err(FormatError::invalid("rights of a key slot", other.to_string())),
        };
        let created = r.u64()?;
        let label = match r.text()? {
            label if label.len() <= LONGEST_LABEL => label.to_owned(),
            _ => return Err(FormatError::invalid("label of a key slot", "longer than 64 bytes")),
        };
        let generation = match number & ROTATED {
            0 => 0,
            _ => match r.u16()? {
                0 => return Err(FormatError::invalid("generation of a key slot", "0 is not said")),
                generation => generation,
            },
        };
        let slot = Slot {
            repository,
            kind,
            rights,
            generation,
            created,
            label,
            kdf: kind.check(Kdf::decode(&mut r)?)?,
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
        let rights = if self.rights == Rights::Full { 1 } else { 2 };
        w.u8(self.kind.number()).u8(if self.generation > 0 { rights | ROTATED } else { rights });
        w.u64(self.created).text(&self.label);
        if self.generation > 0 {
            w.u16(self.generation);
        }
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
        Slot::create(&secrets(), b"pw", RepositoryId([3; 16]), SlotKind::Password, "desk", QUICK, 5).unwrap()
    }

    fn secrets() -> Secrets {
        Secrets::full(Key::new([1; 32]), Key::new([0x5a; 32]))
    }

    #[test]
    fn a_slot_opens_with_its_password_and_with_no_other() {
        let slot = Slot::decode(&slot().encode()).unwrap();
        assert_eq!(slot.open(b"pw").unwrap().encode(), secrets().encode());
        assert_eq!(slot.open(b"PW").unwrap_err(), FormatError::WrongPassword);
    }

    #[test]
    fn a_backup_only_slot_holds_no_reading_root() {
        let repository = RepositoryId([3; 16]);
        let less = secrets().backup_only(repository);
        let slot = Slot::create(&less, b"pw", repository, SlotKind::Password, "", QUICK, 5).unwrap();
        let opened = slot.open(b"pw").unwrap();
        assert!(!opened.is_full() && slot.rights == Rights::BackupOnly);
        assert!(!opened.keys(repository).can_read());
        assert!(!less.encode().windows(32).any(|w| w == [0x5a; 32]));
    }

    #[test]
    fn a_slot_made_with_pbkdf2_opens() {
        let kdf = Kdf::Pbkdf2 { rounds: 600_000 };
        let slot = Slot::create(&secrets(), b"pw", RepositoryId([3; 16]), SlotKind::Recovery, "", kdf, 5).unwrap();
        slot.open(b"pw").unwrap();
    }

    #[test]
    fn a_slot_of_a_key_file_costs_nothing_and_no_password_passes_for_one() {
        let id = RepositoryId([3; 16]);
        let slot = Slot::create(&secrets(), &[7; 32], id, SlotKind::KeyFile, "", Kdf::RandomKey, 5).unwrap();
        let slot = Slot::decode(&slot.encode()).unwrap();
        assert_eq!((slot.kind, slot.kdf), (SlotKind::KeyFile, Kdf::RandomKey));
        slot.open(&[7; 32]).unwrap();
        assert_eq!(slot.open(&[8; 32]).unwrap_err(), FormatError::WrongPassword);
        for (kind, kdf) in
            [(SlotKind::Password, Kdf::RandomKey), (SlotKind::Recovery, Kdf::RandomKey), (SlotKind::KeyFile, QUICK)]
        {
            assert!(Slot::create(&secrets(), b"pw", id, kind, "", kdf, 5).is_err(), "{kind:?} {kdf:?}");
        }
        let mut as_password = slot.encode();
        as_password[24] = 1;
        assert!(Slot::decode(&as_password).is_err());
    }

    #[test]
    fn a_slot_of_rotated_keys_says_which_generation_it_knows() {
        let rotated = secrets().rotated().unwrap();
        let slot = Slot::create(&rotated, &[7; 32], RepositoryId([3; 16]), SlotKind::KeyFile, "", Kdf::RandomKey, 5).unwrap();
        let bytes = slot.encode();
        let slot = Slot::decode(&bytes).unwrap();
        assert_eq!((slot.generation, slot.rights), (1, Rights::Full));
        assert_eq!(slot.open(&[7; 32]).unwrap().generation(), 1);
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert!(Slot::decode(&bad).and_then(|s| s.open(&[7; 32])).is_err(), "byte {at}");
        }
    }

    #[test]
    fn parameters_below_those_of_today_are_strengthened_and_others_stay() {
        let argon2id = |memory_kib, passes| Kdf::Argon2id { memory_kib, passes, lanes: 1 };
        assert_eq!(QUICK.strengthened(), Some(Kdf::default()));
        assert_eq!(argon2id(256 << 10, 2).strengthened(), Some(Kdf::default()));
        assert_eq!(argon2id(512 << 10, 3).strengthened(), None);
        assert_eq!(Kdf::Pbkdf2 { rounds: 600_000 }.strengthened(), Some(Kdf::PBKDF2));
        assert!([Kdf::default(), Kdf::PBKDF2, Kdf::RandomKey].iter().all(|kdf| kdf.strengthened().is_none()));
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
