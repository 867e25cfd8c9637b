//! The Info.plist that a host writes before a backup: who the phone is, and which apps its owner has.

use russet_apple_format::info::{Info, NewApp, NewInfo};
use russet_device::Session;
use russet_repository::RepositoryError;
use russet_repository::format::key::random;

use crate::{BackupError, Result};

/// What hosts say that never asked a phone for a version of iTunes.
const ITUNES_VERSION: &str = "10.0.1";

/// The Info.plist of a phone at the start of a backup.
pub(crate) fn of(session: &Session, started: i64) -> Result<Vec<u8>> {
    let facts = session.facts();
    let apps = session.apps(true)?;
    let guid: [u8; 16] = random().map_err(RepositoryError::from)?;
    let info = Info {
        device_name: Some(facts.name.clone()),
        display_name: Some(facts.name.clone()),
        product_name: facts.product_name.clone(),
        product_type: Some(facts.model.clone()),
        product_version: Some(facts.ios.clone()),
        build_version: Some(facts.build.clone()),
        serial_number: facts.serial.clone(),
        target_identifier: Some(facts.udid.clone()),
        unique_identifier: Some(facts.udid.to_uppercase()),
        phone_number: facts.phone_number.clone(),
        imei: facts.imei.clone(),
        iccid: facts.iccid.clone(),
        guid: Some(guid.iter().map(|byte| format!("{byte:02X}")).collect()),
        last_backup_date: Some(started),
        itunes_version: Some(facts.min_itunes.clone().unwrap_or_else(|| ITUNES_VERSION.to_owned())),
        installed_applications: apps.iter().map(|app| app.id.clone()).collect(),
        ..Info::default()
    };
    let apps: Vec<NewApp<'_>> = apps
        .iter()
        .map(|app| NewApp {
            id: &app.id,
            sinf: app.sinf.as_deref(),
            metadata: app.metadata.as_deref(),
            icon: app.icon.as_deref(),
            is_demoted: app.is_demoted,
        })
        .collect();
    let new = NewInfo {
        info,
        imei2: facts.imei2.as_deref(),
        meid: facts.meid.as_deref(),
        apps: &apps,
        itunes_files: &session.itunes_files()?,
        itunes_settings: facts.itunes_settings.clone(),
        books: session.ibooks_data()?,
    };
    new.encode().map_err(|source| BackupError::Apple { path: "Info.plist".into(), source })
}
