//! A change of the backup password: on the phone, and in a backup that the host offers.

use plist::Dictionary;
use russet_apple_format::manifest::ManifestPlist;

use super::bag::Bag;
use super::device_link::DeviceLink;
use super::existing::MAX_PLIST;
use super::owner;
use super::trouble::{Outcome, code, refused, refused_at};

/// Sets, changes or removes the backup password.
pub(super) fn change(link: &mut DeviceLink<'_>, request: &Dictionary) -> Outcome<()> {
    owner::ask_for_passcode(link)?;
    let text = |key| request.get(key).and_then(|value| value.as_string()).filter(|text| !text.is_empty()).map(str::to_owned);
    let (old, new) = (text("OldPassword"), text("NewPassword"));
    let phone = link.phone;
    let current = phone.state().backup_password.clone();
    if old != current {
        return Err(refused(code::PASSWORD, "Invalid password"));
    }
    if old.is_none() && new.is_none() {
        return Ok(());
    }
    phone.state().backup_password = new.clone();
    phone.remember();
    if let (Some(old), Some(new)) = (&old, &new) {
        rewrap(link, old, new)?;
    }
    owner::relay(phone, "com.apple.mobile.backup.domain_changed");
    Ok(())
}

/// Lets a backup on the host follow the new password: its keybag is wrapped anew, its files stay as they are.
fn rewrap(link: &mut DeviceLink<'_>, old: &str, new: &str) -> Outcome<()> {
    let id = link.phone.udid().to_owned();
    for path in [format!("{id}/Snapshot/Manifest.plist"), format!("{id}/Manifest.plist")] {
        let Ok(bytes) = link.download_whole(&path, MAX_PLIST)? else { continue };
        let bad = |_| refused_at(code::CORRUPT, "Error deserializing properties", &path);
        let manifest = ManifestPlist::parse(&bytes).map_err(bad)?;
        let Some(bag) = manifest.keybag().filter(|_| manifest.is_encrypted()) else { return Ok(()) };
        let Some(bag) = Bag::rewrapped(bag, old, new, link.phone) else {
            return Err(refused(code::PASSWORD, "Invalid password"));
        };
        return link.upload_whole(&path, &with_keybag(&bytes, bag)?);
    }
    Ok(())
}

/// The same property list with another keybag.
fn with_keybag(bytes: &[u8], bag: Vec<u8>) -> Outcome<Vec<u8>> {
    let mut root = plist::Value::from_reader(std::io::Cursor::new(bytes)).map_err(std::io::Error::other)?;
    if let Some(root) = root.as_dictionary_mut() {
        root.insert("BackupKeyBag".to_owned(), plist::Value::Data(bag));
    }
    let mut out = Vec::new();
    root.to_writer_binary(&mut out).map_err(std::io::Error::other)?;
    Ok(out)
}
