//! The phone's backup password: asked for once, checked against the keybag, kept sealed in the repository.

use russet_apple_format::{ClassKeys, Kek, Keybag};
use russet_repository::Repository;
use russet_repository::format::id::hex;
use zeroize::Zeroizing;

use crate::{BackupError, Result};

/// What whoever knows the password is told.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// What the person called the device.
    pub device_name: &'a str,
    /// Its id.
    pub udid: &'a str,
    /// The last answer was wrong.
    pub wrong_before: bool,
}

/// How an encrypted backup is dealt with.
pub enum Unlock<'a> {
    /// Ask for the password, unless the repository knows it. An answer of nothing ends the asking.
    Ask(&'a mut dyn FnMut(&Ask<'_>) -> Option<Zeroizing<String>>),
    /// Keep it as it is: it neither compresses nor deduplicates well, and nobody can look inside.
    Without,
}

impl std::fmt::Debug for Unlock<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Unlock::Ask(_) => "Ask(..)",
            Unlock::Without => "Without",
        })
    }
}

const PASSWORD: &str = "password";
/// Passwords that phones were told to take and may have taken: each under a name of its own, so that none is ever written over.
const UNHEARD: &str = "password/next/";

/// The name under which the password of one keybag is kept.
fn password_of(keybag: &Keybag) -> String {
    format!("password/{}", hex(&keybag.kdf_fingerprint()))
}

/// Whether the repository knows a backup password that this device may have.
pub fn knows_password(repository: &Repository, udid: &str) -> Result<bool> {
    Ok(newest_password(repository, udid)?.is_some() || !unheard_passwords(repository, udid)?.is_empty())
}

/// The newest password that this device is known to have had.
pub fn newest_password(repository: &Repository, udid: &str) -> Result<Option<Zeroizing<String>>> {
    Ok(text(repository.secret(udid, PASSWORD)?))
}

/// Keeps a password before a phone is told to use it, so that no pulled cable and no power cut can lose it.
pub(crate) fn keep_unheard_password(repository: &Repository, udid: &str, password: &str, now: i64) -> Result<()> {
    let name = format!("{UNHEARD}{}", &blake3::hash(password.as_bytes()).to_hex()[..16]);
    Ok(repository.keep_secrets(udid, &[(&name, password.as_bytes())], now)?)
}

/// The passwords that the phone may have taken although nobody heard its answer, the last one first.
pub(crate) fn unheard_passwords(repository: &Repository, udid: &str) -> Result<Vec<Zeroizing<String>>> {
    let kept = repository.secrets(udid, UNHEARD)?;
    Ok(kept.into_iter().filter_map(|secret| text(Some(secret))).filter(|password| !password.is_empty()).collect())
}

/// The phone is known to use this password now.
pub(crate) fn keep_password(repository: &Repository, udid: &str, password: &str, now: i64) -> Result<()> {
    if newest_password(repository, udid)?.is_none_or(|known| *known != password) {
        repository.keep_secrets(udid, &[(PASSWORD, password.as_bytes())], now)?;
    }
    Ok(())
}

/// The phone itself made this keybag just now, so the password that opened it is the one it has.
pub(crate) fn keep_password_of(repository: &Repository, udid: &str, keybag: &Keybag, now: i64) -> Result<()> {
    match text(repository.secret(udid, &password_of(keybag))?) {
        Some(password) => keep_password(repository, udid, &password, now),
        None => Ok(()),
    }
}

fn text(secret: Option<Zeroizing<Vec<u8>>>) -> Option<Zeroizing<String>> {
    secret.and_then(|bytes| std::str::from_utf8(&bytes).ok().map(|text| Zeroizing::new(text.to_owned())))
}

/// The password that opens a keybag, as it must be told to a phone: one that is kept, else an answer.
pub(crate) fn password_for(
    repository: &Repository,
    udid: &str,
    device_name: &str,
    keybag: &Keybag,
    unlock: &mut Unlock<'_>,
    now: i64,
) -> Result<Option<Zeroizing<String>>> {
    if class_keys(repository, udid, device_name, keybag, unlock, now)?.is_none() {
        return Ok(None);
    }
    if let Some(known) = text(repository.secret(udid, &password_of(keybag))?) {
        return Ok(Some(known));
    }
    // Dates that were brought in before passwords were kept by keybag have the newest one only.
    let opens = |password: &str| keybag.derive(password).is_ok_and(|kek| keybag.unlock(&kek).is_ok());
    let newest = newest_password(repository, udid)?;
    match newest.filter(|known| opens(known)) {
        Some(known) => Ok(Some(known)),
        None => Err(BackupError::NoPhonePassword { device: device_name.to_owned() }),
    }
}

/// Opens a keybag: with the key kept from last time, else with the password kept, else by asking.
/// Apple's millions of rounds are run once per password; the result is kept sealed.
pub(crate) fn class_keys(
    repository: &Repository,
    udid: &str,
    device_name: &str,
    keybag: &Keybag,
    unlock: &mut Unlock<'_>,
    now: i64,
) -> Result<Option<ClassKeys>> {
    let Unlock::Ask(ask) = unlock else { return Ok(None) };
    let kek_name = format!("kek/{}", hex(&keybag.kdf_fingerprint()));
    let kept = repository.secret(udid, &kek_name)?.and_then(|kek| <[u8; 32]>::try_from(&kek[..]).ok());
    if let Some(keys) = kept.and_then(|kek| keybag.unlock(&Kek::from_bytes(kek)).ok()) {
        return Ok(Some(keys));
    }
    let device = || device_name.to_owned();
    let try_password = |password: &str| -> Result<Option<ClassKeys>> {
        // A bag that cannot be derived from is damaged, which is another sentence than a wrong password.
        let kek = keybag.derive(password).map_err(|source| BackupError::Apple { path: "Manifest.plist".into(), source })?;
        let Ok(keys) = keybag.unlock(&kek) else { return Ok(None) };
        let secrets = [(password_of(keybag), password.as_bytes()), (kek_name.clone(), &kek.expose()[..])];
        repository.keep_secrets(udid, &secrets.each_ref().map(|(name, value)| (name.as_str(), *value)), now)?;
        // An old folder may have an older password than the phone has now.
        if newest_password(repository, udid)?.is_none() {
            keep_password(repository, udid, password, now)?;
        }
        Ok(Some(keys))
    };
    for known in newest_password(repository, udid)?.into_iter().chain(unheard_passwords(repository, udid)?) {
        if let Some(keys) = try_password(&known)? {
            return Ok(Some(keys));
        }
    }
    let mut wrong_before = false;
    while let Some(password) = ask(&Ask { device_name, udid, wrong_before }) {
        if let Some(keys) = try_password(&password)? {
            return Ok(Some(keys));
        }
        wrong_before = true;
    }
    Err(match wrong_before {
        true => BackupError::WrongPhonePassword { device: device() },
        false => BackupError::NoPhonePassword { device: device() },
    })
}
