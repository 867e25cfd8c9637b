//! What every fuzz target does with its bytes.
//!
//! Each function takes anything and must come back. What it can decode it encodes again, and what comes
//! out must be the same: to the byte where the form is strict, and as a value where it is not.

pub mod apple;
pub mod device;
pub mod mount;
pub mod repository;

/// The functions by the name of their target.
pub const TARGETS: &[(&str, fn(&[u8]))] = &[
    ("config", repository::config),
    ("key_slot", repository::key_slot),
    ("sealed_file", repository::sealed_file),
    ("pack_directory", repository::pack_directory),
    ("parity", repository::parity),
    ("index_file", repository::index_file),
    ("tree_nodes", repository::tree_nodes),
    ("snapshot", repository::snapshot),
    ("vault_and_condemned", repository::vault_and_condemned),
    ("recovery_key", repository::recovery_key),
    ("key_file", repository::key_file),
    ("keybag", apple::keybag),
    ("plists", apple::plists),
    ("record", apple::record),
    ("mbdb", apple::mbdb),
    ("manifest_db", apple::manifest_db),
    ("sqlite_check", apple::sqlite_check),
    ("device_link", device::device_link),
    ("lockdown", device::lockdown),
    ("usbmuxd", device::usbmuxd),
    ("usb_packets", device::usb_packets),
    ("pairing_record", device::pairing_record),
    ("backup_path", device::backup_path),
    ("mount_requests", mount::mount_requests),
];
