//! What the phone has to back up, and what of it each kind of backup leaves out.

use russet_apple_format::row::file_id;

use crate::Phone;
use crate::contents::{Item, Place};

/// The domains where the phone notes digests of what it stores.
const DIGESTED: &[&str] = &[
    "DatabaseDomain",
    "HealthDomain",
    "HomeDomain",
    "HomeKitDomain",
    "InstallDomain",
    "KeyboardDomain",
    "KeychainDomain",
    "ManagedPreferencesDomain",
    "RootDomain",
    "SystemPreferencesDomain",
    "WirelessDomain",
];

/// Something to be backed up.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) place: Place,
    pub(super) id: [u8; 20],
    pub(super) item: Item,
}

/// Everything that belongs in a backup, in the order of domain and path.
pub(super) fn scan(phone: &Phone, is_encrypted: bool) -> Vec<Found> {
    let contents = phone.inside().contents.clone();
    let wanted = contents.into_iter().filter(|(_, item)| is_encrypted || !item.encrypted_only);
    wanted.map(|(place, item)| Found { id: file_id(&place.0, &place.1), place, item }).collect()
}

/// Whether records of this domain have a digest.
pub(super) fn has_digest(domain: &str) -> bool {
    DIGESTED.contains(&domain)
}
