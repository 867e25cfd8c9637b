//! Entrances of the cable: whatever a phone, or whoever says that it is one, and usbmuxd may say.

use std::io;
use std::path::{Component, Path};

use russet_device::{BackupPath, DeviceError};

/// Messages of DeviceLink, as the backup service speaks it, each with its length before it, and the files between them.
pub fn device_link(data: &[u8]) {
    let messages = russet_device::read_message(data).unwrap();
    // None is shorter than its length and an empty list.
    assert!(messages <= data.len() / 4);
}

/// A message of lockdown or a small service. What is none is the phone's fault.
pub fn lockdown(data: &[u8]) {
    match russet_device::parse_message(data) {
        Ok(_) | Err(DeviceError::Lied { .. }) => {}
        Err(error) => panic!("{error:?}"),
    }
}

/// What a phone says over raw USB: packets of the multiplexer, in both of its versions.
pub fn usb_packets(data: &[u8]) {
    for old in [false, true] {
        // None is shorter than its header.
        assert!(russet_device::read_packets(data, old) <= data.len() / 8);
    }
}

/// A reply of usbmuxd.
pub fn usbmuxd(data: &[u8]) {
    if let Err(error) = russet_device::parse_reply(data) {
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}

/// A pairing record, as any program may have left it.
pub fn pairing_record(data: &[u8]) {
    match russet_device::check_record(data) {
        Ok(()) | Err(DeviceError::Record { .. }) => {}
        Err(error) => panic!("{error:?}"),
    }
}

/// A path that a phone names. One that is accepted never leads out of the folder that it is in.
pub fn backup_path(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(path) = BackupPath::parse(text) else { return };
    assert_eq!(BackupPath::parse(path.as_str()).unwrap(), path);
    assert!(text == path.as_str() || text.strip_suffix('/') == Some(path.as_str()));
    let names: Vec<&str> = path.parts().collect();
    let components: Vec<Component<'_>> = Path::new(path.as_str()).components().collect();
    let normal: Vec<Component<'_>> = names.iter().map(|name| Component::Normal(name.as_ref())).collect();
    assert_eq!(components, normal);
    assert!(names.iter().all(|name| !name.contains(['/', '\\', '\0'])));
    let root = Path::new("/backups");
    let place = root.join(path.as_str());
    assert!(place.strip_prefix(root).is_ok_and(|rest| rest == Path::new(path.as_str())));
    // What is joined to it stays in it.
    let (folder, name) = (BackupPath::parse("phone").unwrap(), path.as_str());
    if let Ok(joined) = folder.join(name) {
        assert_eq!(joined.in_backup_of("phone"), Some(name));
    }
}
