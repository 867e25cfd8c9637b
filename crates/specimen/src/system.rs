//! What belongs to the system: settings, the keychain and, in encrypted backups, health.

use std::io;

use plist::{Dictionary, Value};
use rusqlite::{Connection, params};

use crate::apps::binary;
use crate::bag::bag_uuid;
use crate::noise::{Noise, spell_uuid};
use crate::owner::{APPLE_EPOCH, times};
use crate::phone::Phone;
use crate::words::sentence;
use crate::{DAY, FIRST_DAY, Specimen, database};

const HEALTH: &str = "HealthDomain";
const HEALTH_SCHEMA: &str = "
    CREATE TABLE sources (ROWID INTEGER PRIMARY KEY AUTOINCREMENT, uuid BLOB UNIQUE NOT NULL, bundle_id TEXT, name TEXT NOT NULL);
    INSERT INTO sources VALUES (1, x'00', 'com.apple.health', 'Robin’s iPhone');
";
const MEASUREMENTS_SCHEMA: &str = "
    CREATE TABLE objects (data_id INTEGER PRIMARY KEY AUTOINCREMENT, uuid BLOB UNIQUE, provenance INTEGER, type INTEGER, creation_date REAL);
    CREATE TABLE samples (data_id INTEGER PRIMARY KEY, start_date REAL NOT NULL, end_date REAL NOT NULL, data_type INTEGER NOT NULL);
    CREATE TABLE quantity_samples (data_id INTEGER PRIMARY KEY, quantity REAL NOT NULL, original_quantity REAL, original_unit INTEGER);
    CREATE INDEX samples_type_end ON samples (data_type, end_date);
";
/// Domain, path, and whether it is in encrypted backups only.
const SETTINGS: &[(&str, &str, bool)] = &[
    ("HomeDomain", "Library/Preferences/.GlobalPreferences.plist", false),
    ("HomeDomain", "Library/Preferences/com.apple.purplebuddy.plist", false),
    ("HomeDomain", "Library/Preferences/com.apple.mobilephone.plist", false),
    ("HomeDomain", "Library/SpringBoard/IconState.plist", false),
    ("HomeDomain", "Library/com.apple.siri.remembers/state.plist", true),
    ("RootDomain", "Library/Caches/locationd/clients.plist", false),
    ("SystemPreferencesDomain", "SystemConfiguration/preferences.plist", false),
    ("SystemPreferencesDomain", "com.apple.wifi.known-networks.plist", true),
    ("WirelessDomain", "Library/Preferences/com.apple.commcenter.plist", false),
    ("KeyboardDomain", "Library/Keyboard/user_dictionary.plist", false),
    ("MediaDomain", "Media/iTunes_Control/iTunes/iTunesPrefs.plist", false),
    ("TonesDomain", "Media/iTunes_Control/iTunes/Ringtones.plist", false),
    ("SysSharedContainerDomain-systemgroup.com.apple.configurationprofiles", "Library/ConfigurationProfiles/Truth.plist", false),
];

/// Whether Apple puts it in encrypted backups only.
pub(crate) fn is_encrypted_only(domain: &str, path: &str) -> bool {
    matches!(domain, HEALTH | "KeychainDomain") || SETTINGS.contains(&(domain, path, true))
}

/// Everything; nothing of it changes later.
pub(crate) fn first_day(phone: &mut Phone<'_>) -> io::Result<()> {
    let specimen = phone.specimen;
    for &(domain, path, encrypted_only) in SETTINGS {
        if specimen.is_encrypted() || !encrypted_only {
            let plain = settings(&mut specimen.noise(&format!("settings {domain} {path}")));
            phone.put(domain, path, plain);
        }
    }
    phone.put("HomeDomain", "Library/Voicemail/1.amr", voice(&mut specimen.noise("voicemail")));
    phone.link("HomeDomain", "Library/Voicemail/latest", "1.amr");
    phone.link("RootDomain", "Library/Preferences", "/var/mobile/Library/Preferences");
    phone.put("KeychainDomain", "keychain-backup.plist", keychain(specimen)).class = 3;
    if specimen.is_encrypted() {
        let health = database::create(HEALTH_SCHEMA, |_| Ok(()))?;
        phone.put(HEALTH, "Health/healthdb.sqlite", health).class = 1;
        let measurements = database::create(MEASUREMENTS_SCHEMA, |health| measure(specimen, health))?;
        phone.put(HEALTH, "Health/healthdb_secure.sqlite", measurements).class = 1;
    }
    Ok(())
}

fn settings(noise: &mut Noise) -> Vec<u8> {
    let mut root = Dictionary::new();
    root.insert("AppleLocale".into(), "en_FR".into());
    root.insert("Identifier".into(), noise.uuid().into());
    for number in 0..3 + noise.below(9) {
        let key = format!("Setting{number}");
        let value = match noise.below(4) {
            0 => noise.once_in(2).into(),
            1 => (noise.below(10_000) as u64).into(),
            2 => Value::Data(noise.bytes(24)),
            _ => sentence(noise).into(),
        };
        root.insert(key, value);
    }
    binary(root)
}

/// A voice mail: the right frames, with noise for a voice.
fn voice(noise: &mut Noise) -> Vec<u8> {
    let mut bytes = b"#!AMR\n".to_vec();
    for _ in 0..200 {
        bytes.push(0x3c);
        bytes.extend(noise.bytes(31));
    }
    bytes
}

/// Items of the right shape. What is sealed in them is noise, so nothing opens.
fn keychain(specimen: &Specimen) -> Vec<u8> {
    let mut noise = specimen.noise("keychain");
    let mut root = Dictionary::new();
    for (class, count) in [("genp", 14), ("inet", 6), ("cert", 1), ("keys", 2)] {
        let items = (0..count).map(|_| {
            let mut item = Dictionary::new();
            let length = 120 + noise.below(200);
            let kind = *noise.pick(&[6_u32, 7, 8]);
            let data = [&3_u32.to_le_bytes()[..], &kind.to_le_bytes(), &40_u32.to_le_bytes(), &noise.bytes(40 + length)].concat();
            item.insert("v_Data".into(), Value::Data(data));
            item.insert("v_PersistentRef".into(), Value::Data([class.as_bytes(), &noise.bytes(16)].concat()));
            Value::Dictionary(item)
        });
        root.insert(class.into(), Value::Array(items.collect()));
    }
    root.insert("keybag-uuid".into(), spell_uuid(&bag_uuid(specimen)).to_lowercase().into());
    binary(root)
}

fn measure(specimen: &Specimen, health: &Connection) -> rusqlite::Result<()> {
    let mut noise = specimen.noise("health");
    for time in times(&mut noise, specimen.by_size(300, 8_000), (FIRST_DAY - 365 * DAY, FIRST_DAY - 600)) {
        let at = (time - APPLE_EPOCH) as f64;
        // Steps, heart rate per second, weight.
        let (kind, quantity) = *noise.pick(&[(7, 412.0), (7, 96.0), (5, 1.2), (5, 1.45), (3, 71.5)]);
        health.execute(
            "INSERT INTO objects (uuid, provenance, type, creation_date) VALUES (?1, 1, 1, ?2)",
            params![noise.bytes(16), at],
        )?;
        let id = health.last_insert_rowid();
        health.execute("INSERT INTO samples VALUES (?1, ?2, ?3, ?4)", params![id, at, at + 60.0, kind])?;
        health.execute("INSERT INTO quantity_samples VALUES (?1, ?2, NULL, NULL)", params![id, quantity])?;
    }
    Ok(())
}
