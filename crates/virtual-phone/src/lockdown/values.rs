//! What lockdown knows of the phone, by domain and key.

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use plist::{Dictionary, Value};

use crate::config::Contents;
use crate::property_list::{Form, dictionary, encode};
use crate::{Passcode, Phone};

/// What the root domain tells strangers.
const PUBLIC: &[&str] = &[
    "BuildVersion",
    "CPUArchitecture",
    "DeviceClass",
    "DeviceName",
    "DevicePublicKey",
    "HardwareModel",
    "HostAttached",
    "ProductName",
    "ProductType",
    "ProductVersion",
    "TrustedHostAttached",
    "UniqueDeviceID",
    "WiFiAddress",
];

/// What no host can change, in the root domain.
const FIXED: &[&str] =
    &["SerialNumber", "UniqueChipID", "InternationalMobileEquipmentIdentity", "PasswordProtected", "ActivationState"];

/// The most values that hosts may set, and the longest of them.
const MOST_SET: usize = 200;
const LONGEST_SET: usize = 64 << 10;

/// Whether strangers may know this value of the root domain.
pub(super) fn is_public(key: &str) -> bool {
    PUBLIC.contains(&key)
}

/// Everything in a domain; the root is the one without a name.
pub(super) fn domain(phone: &Phone, name: &str) -> io::Result<Dictionary> {
    let mut values = match name {
        "" => root(phone)?,
        "com.apple.mobile.backup" => backup(phone),
        "com.apple.disk_usage" | "com.apple.disk_usage.factory" => disk(phone),
        "com.apple.mobile.battery" => battery(phone),
        "com.apple.fmip" => dictionary([("IsAssociated", phone.0.config.find_my.into())]),
        "com.apple.iTunes" => dictionary([
            ("DeviceBackupsDisabled", false.into()),
            ("LibraryApplications", Value::Array(Vec::new())),
            ("SyncDataClasses", Value::Array(vec!["Contacts".into(), "Calendars".into()])),
        ]),
        "com.apple.mobile.iTunes" => dictionary([("MinITunesVersion", "12.12".into())]),
        "com.apple.international" => dictionary([("Language", "en".into()), ("Locale", "en_US".into())]),
        "com.apple.mobile.wireless_lockdown" => dictionary([
            ("BonjourFullServiceName", format!("{}@fe80::1._apple-mobdev2._tcp.local.", address(phone, 0)).into()),
            ("EnableWifiConnections", false.into()),
            ("EnableWifiDebugging", false.into()),
            ("SupportsWifi", true.into()),
        ]),
        "com.apple.security.mac.amfi" => dictionary([("DeveloperModeStatus", false.into())]),
        _ => Dictionary::new(),
    };
    for ((domain, key), value) in &phone.state().values {
        if domain == name {
            values.insert(key.clone(), value.clone());
        }
    }
    // Hosts say who they are here; nobody is told.
    values.remove("UntrustedHostBUID");
    Ok(values)
}

/// Sets a value, unless it is not for hosts to set.
pub(super) fn set(phone: &Phone, domain: &str, key: &str, value: &Value) -> Result<(), &'static str> {
    let is_fixed = domain.is_empty() && (FIXED.contains(&key) || (is_public(key) && key != "DeviceName"));
    if is_fixed {
        return Err("ImmutableValue");
    }
    if matches!(domain, "com.apple.mobile.backup" | "com.apple.disk_usage" | "com.apple.mobile.battery" | "com.apple.fmip") {
        return Err("SetProhibited");
    }
    let is_bounded =
        domain.len() + key.len() < 1_000 && encode(value, Form::Binary).is_ok_and(|bytes| bytes.len() <= LONGEST_SET);
    let place = (domain.to_owned(), key.to_owned());
    let mut state = phone.state();
    if !is_bounded || (state.values.len() >= MOST_SET && !state.values.contains_key(&place)) {
        return Err("SetProhibited");
    }
    state.values.insert(place, value.clone());
    Ok(())
}

fn root(phone: &Phone) -> io::Result<Dictionary> {
    let (config, identity) = (&phone.0.config, &phone.0.identity);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    let udid = phone.udid();
    let chip = udid.split('-').nth(1).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or_default();
    let (is_protected, is_trusting) = {
        let state = phone.state();
        (state.passcode != Passcode::None || state.locked, state.pairing.hosts().next().is_some())
    };
    Ok(dictionary([
        ("ActivationState", "Activated".into()),
        ("BasebandVersion", "2.60.02".into()),
        ("BluetoothAddress", address(phone, 1).into()),
        ("BuildVersion", build(phone).into()),
        ("CPUArchitecture", "arm64e".into()),
        ("ChipID", 0x8120_u64.into()),
        ("DeviceClass", "iPhone".into()),
        ("DeviceColor", "1".into()),
        ("DeviceName", config.name.clone().into()),
        ("DevicePublicKey", Value::Data(phone.key()?.public_pem.clone().into_bytes())),
        ("HardwareModel", "D37AP".into()),
        ("HardwarePlatform", "t8120".into()),
        ("HostAttached", true.into()),
        ("IntegratedCircuitCardIdentity", identity.iccid.clone().into()),
        ("InternationalMobileEquipmentIdentity", identity.imei.clone().into()),
        ("ModelNumber", "MTP03".into()),
        ("PasswordProtected", is_protected.into()),
        ("PhoneNumber", identity.phone_number.clone().into()),
        ("ProductName", "iPhone OS".into()),
        ("ProductType", identity.product_type.into()),
        ("ProductVersion", config.ios.clone().into()),
        ("RegionInfo", "LL/A".into()),
        ("SIMStatus", "kCTSIMSupportSIMStatusReady".into()),
        ("SerialNumber", identity.serial_number.clone().into()),
        ("TelephonyCapability", true.into()),
        ("TimeIntervalSince1970", Value::Real(now)),
        ("TimeZone", "America/Los_Angeles".into()),
        ("TimeZoneOffsetFromUTC", Value::Real(-28_800.0)),
        ("TrustedHostAttached", is_trusting.into()),
        ("UniqueChipID", chip.into()),
        ("UniqueDeviceID", udid.into()),
        ("Uses24HourClock", false.into()),
        ("WiFiAddress", address(phone, 0).into()),
    ]))
}

/// The build that belongs to the version; that of another version than the specimen's is invented.
fn build(phone: &Phone) -> String {
    let (config, identity) = (&phone.0.config, &phone.0.identity);
    if config.ios == identity.product_version {
        return identity.build.to_owned();
    }
    let mut parts = config.ios.split('.').map(|part| part.parse::<u32>().unwrap_or_default());
    let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    // Builds count systems, not names: 18 is 22, and 26 came after it.
    let system = if major >= 26 { major - 3 } else { major + 4 };
    let letter = char::from(b'A' + (minor % 26) as u8);
    format!("{system}{letter}100")
}

fn backup(phone: &Phone) -> Dictionary {
    let mut values = dictionary([("Version", "4.0".into())]);
    // A phone without a backup password has no such key.
    if phone.state().backup_password.is_some() {
        values.insert("WillEncrypt".into(), true.into());
    }
    values
}

fn disk(phone: &Phone) -> Dictionary {
    let config = &phone.0.config;
    let used = match config.contents {
        Contents::Few | Contents::Small => 2_000_000,
        Contents::Medium => 40_000_000,
        Contents::Bytes(bytes) => bytes,
    };
    let system = 12_000_000_000_u64;
    let data = used.saturating_add(config.free_space);
    dictionary([
        ("AmountDataAvailable", config.free_space.into()),
        ("AmountDataReserved", 209_715_200_u64.into()),
        ("TotalDataAvailable", config.free_space.into()),
        ("TotalDataCapacity", data.into()),
        ("TotalDiskCapacity", data.saturating_add(system).into()),
        ("TotalSystemAvailable", 0_u64.into()),
        ("TotalSystemCapacity", system.into()),
    ])
}

fn battery(phone: &Phone) -> Dictionary {
    let charge = u64::from(phone.0.config.battery.min(100));
    dictionary([
        ("BatteryCurrentCapacity", charge.into()),
        ("BatteryIsCharging", (charge < 100).into()),
        ("ExternalChargeCapable", true.into()),
        ("ExternalConnected", true.into()),
        ("FullyCharged", (charge == 100).into()),
        ("GasGaugeCapability", true.into()),
        ("HasBattery", true.into()),
    ])
}

/// A hardware address that nobody was given.
fn address(phone: &Phone, which: u8) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("russet virtual phone 2026 address");
    hasher.update(phone.udid().as_bytes());
    let [a, b, c, d, ..] = *hasher.finalize().as_bytes();
    format!("02:00:{a:02x}:{b:02x}:{c:02x}:{:02x}", d.wrapping_add(which))
}
