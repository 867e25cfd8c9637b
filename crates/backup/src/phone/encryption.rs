//! The phone's own backup password: set, changed and removed.

use russet_device::{AnswerKind, Ask as PhoneAsk, Session};
use russet_repository::format::key::random;
use russet_repository::{Repository, RepositoryError};
use zeroize::Zeroizing;

use super::host::{ArchiveHost, Arrivals};
use super::{Watch, talk};
use crate::unlock::{keep_password, keep_unheard_password, newest_password, unheard_passwords};
use crate::{BackupError, Result};

/// What becomes of the phone's backup password.
pub enum Encryption {
    /// There was none, and now there is.
    On {
        /// The new one.
        password: Zeroizing<String>,
    },
    /// There is none any more: passwords, Health and more will be missing in backups.
    Off {
        /// The one that was.
        old: Zeroizing<String>,
    },
    /// Another one takes its place.
    Change {
        /// The one that was.
        old: Zeroizing<String>,
        /// The new one.
        new: Zeroizing<String>,
    },
}

impl std::fmt::Debug for Encryption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Encryption::On { .. } => "On(..)",
            Encryption::Off { .. } => "Off(..)",
            Encryption::Change { .. } => "Change(..)",
        })
    }
}

/// Switches the encryption of the phone's backups. A new password is in the repository before the phone is told of it.
pub fn set_encryption(
    repository: &Repository,
    session: &Session,
    wanted: &Encryption,
    now: i64,
    watch: &dyn Watch,
) -> Result<()> {
    let udid = session.facts().udid.clone();
    let (old, new) = match wanted {
        Encryption::On { password } => (None, Some(password)),
        Encryption::Off { old } => (Some(old), None),
        Encryption::Change { old, new } => (Some(old), Some(new)),
    };
    // The answer to the last change may have been lost on its way: then the phone has a password that was kept before it was told.
    let known = newest_password(repository, &udid)?;
    let others = match old.zip(known.as_ref()) {
        // Whoever names another password than the one that is kept means that one.
        Some((old, known)) if **old == **known => unheard_passwords(repository, &udid)?,
        _ => Vec::new(),
    };
    if let Some(new) = new {
        keep_unheard_password(repository, &udid, new, now)?;
    }
    let ask = |old: Option<&Zeroizing<String>>| {
        let draft = repository.draft()?;
        // The phone finds no backup here, so it leaves all of them alone: every date keeps the password that it was made with.
        let clock = || now;
        let mut host = ArchiveHost::new(&draft, &udid, Arrivals::Refuse, &clock);
        talk(session, &PhoneAsk::ChangePassword { old: old.cloned(), new: new.cloned() }, &mut host, watch)
    };
    let mut outcome = ask(old);
    for other in others.iter().filter(|other| old.is_some_and(|old| *old != **other)) {
        match &outcome {
            Err(BackupError::Device(error)) if error.answer() == Some(AnswerKind::Password) => outcome = ask(Some(other)),
            _ => break,
        }
    }
    outcome?;
    match new {
        Some(new) => keep_password(repository, &udid, new, now),
        None => Ok(()),
    }
}

/// A password that nobody guesses: five groups of four letters and digits, 100 bits, with none that look alike.
pub fn new_password() -> Result<Zeroizing<String>> {
    const LETTERS: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";
    let noise: Zeroizing<[u8; 20]> = Zeroizing::new(random().map_err(RepositoryError::from)?);
    let letters: Vec<char> = noise.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect();
    let groups: Vec<String> = letters.chunks(4).map(|group| group.iter().collect()).collect();
    Ok(Zeroizing::new(groups.join("-")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_password_is_long_and_never_the_same() {
        let one = new_password().unwrap();
        assert_eq!((one.len(), one.split('-').count()), (24, 5));
        assert_ne!(*one, *new_password().unwrap());
        assert_eq!(format!("{:?}", Encryption::On { password: one }), "On(..)");
    }
}
