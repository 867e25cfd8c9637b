//! What a phone keeps in a folder, so that it goes on where it was: whom it trusts, its backup password, and the day.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use plist::Value;

use crate::Phone;
use crate::pairing::Host;
use crate::property_list::{Form, decode, dictionary, encode};

const FILE: &str = "phone.plist";

/// Takes up what lies in the folder.
pub(crate) fn recall(phone: &Phone, folder: &Path) -> io::Result<()> {
    let path = folder.join(FILE);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let bad = || io::Error::new(io::ErrorKind::InvalidData, format!("{} does not hold what a phone keeps", path.display()));
    let Value::Dictionary(kept) = decode(&bytes)? else { return Err(bad()) };
    let day = kept.get("Day").and_then(Value::as_unsigned_integer).and_then(|day| u32::try_from(day).ok()).ok_or_else(bad)?;
    let key = &phone.key()?.public;
    {
        let mut state = phone.state();
        state.backup_password = kept.get("BackupPassword").and_then(Value::as_string).map(str::to_owned);
        for record in kept.get("Hosts").and_then(Value::as_array).into_iter().flatten() {
            let record = record.as_dictionary().ok_or_else(bad)?;
            let host = Host::from_record(record, key, phone.0.config.seed).map_err(|_| bad())?;
            state.pairing.take(host).map_err(|_| bad())?;
        }
    }
    while phone.day() < day {
        phone.a_day_passes()?;
    }
    Ok(())
}

/// Writes it down.
pub(crate) fn keep(phone: &Phone, folder: &Path) -> io::Result<()> {
    let day = phone.day();
    let state = phone.state();
    let hosts = state.pairing.hosts().map(|host| Value::Dictionary(host.record())).collect();
    let mut kept = dictionary([("Day", u64::from(day).into()), ("Hosts", Value::Array(hosts))]);
    if let Some(password) = &state.backup_password {
        kept.insert("BackupPassword".into(), password.clone().into());
    }
    drop(state);
    write(&folder.join(FILE), &encode(&kept.into(), Form::Xml)?)
}

/// Writes a file that only its owner can read, whole or not at all.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = path.with_extension("new");
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&draft, path)
}
