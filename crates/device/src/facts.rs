//! What a phone says about itself.

mod product;

use plist::{Dictionary, Value};

use crate::Result;
use crate::session::lockdown::Lockdown;
use crate::stream::Link;

/// No text that a phone gives about itself is longer, in characters.
pub(crate) const LONGEST_TEXT: usize = 200;

/// What a phone says about itself. Its texts are its own words, without control characters and of bounded length.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The phone's id.
    pub udid: String,
    /// What its owner calls it.
    pub name: String,
    /// What Apple calls its hardware, like `iPhone15,2`.
    pub model: String,
    /// What Apple calls it in shops, if that is known here.
    pub product_name: Option<String>,
    /// Version of iOS.
    pub ios: String,
    /// Build of iOS.
    pub build: String,
    /// Serial number.
    pub serial: Option<String>,
    /// The number it is called at.
    pub phone_number: Option<String>,
    /// Number of its first modem.
    pub imei: Option<String>,
    /// Number of its second modem.
    pub imei2: Option<String>,
    /// Number of its modem in older networks.
    pub meid: Option<String>,
    /// Number of its SIM.
    pub iccid: Option<String>,
    /// Whether it trusts this computer. If not, most of the rest is unknown.
    pub paired: bool,
    /// Whether its backups are encrypted.
    pub will_encrypt: Option<bool>,
    /// Charge of the battery in percent.
    pub battery: Option<u8>,
    /// Whether the battery is charging.
    pub charging: Option<bool>,
    /// Whether it is on power, charging or not.
    pub on_power: Option<bool>,
    /// Its storage.
    pub disk: Option<Disk>,
    /// Whether Find My is on, which forbids a restore.
    pub find_my: Option<bool>,
    /// Whether it has a passcode.
    pub passcode_set: Option<bool>,
    /// Settings that belong into a backup's Info.plist.
    pub itunes_settings: Option<Dictionary>,
    /// The oldest iTunes that it works with, which belongs there too.
    pub min_itunes: Option<String>,
}

/// The storage of a phone, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// All of it.
    pub capacity: u64,
    /// What is free for its owner.
    pub free: u64,
}

impl Facts {
    /// Asks a phone. `paired` says that it is asked within a session.
    pub(crate) fn ask<L: Link>(lockdown: &mut Lockdown<L>, udid: &str, paired: bool) -> Result<Facts> {
        let root = lockdown.domain("")?;
        let string = |key: &str| {
            root.get(key).and_then(Value::as_string).map(|text| clean(text, LONGEST_TEXT)).filter(|text| !text.is_empty())
        };
        let model = string("ProductType").unwrap_or_default();
        let mut facts = Facts {
            udid: udid.to_owned(),
            name: string("DeviceName").unwrap_or_default(),
            product_name: product::name(&model).map(str::to_owned),
            model,
            ios: string("ProductVersion").unwrap_or_default(),
            build: string("BuildVersion").unwrap_or_default(),
            serial: string("SerialNumber"),
            phone_number: string("PhoneNumber"),
            imei: string("InternationalMobileEquipmentIdentity"),
            imei2: string("InternationalMobileEquipmentIdentity2"),
            meid: string("MobileEquipmentIdentifier"),
            iccid: string("IntegratedCircuitCardIdentity"),
            paired,
            will_encrypt: None,
            battery: None,
            charging: None,
            on_power: None,
            disk: None,
            find_my: None,
            passcode_set: flag(&root, "PasswordProtected"),
            itunes_settings: None,
            min_itunes: None,
        };
        if paired {
            facts.ask_further(lockdown)?;
        }
        Ok(facts)
    }

    /// Asks for what is told in a session only.
    fn ask_further<L: Link>(&mut self, lockdown: &mut Lockdown<L>) -> Result<()> {
        self.will_encrypt = will_encrypt(lockdown)?;

        let battery = lockdown.domain("com.apple.mobile.battery")?;
        let charge = battery.get("BatteryCurrentCapacity").and_then(Value::as_unsigned_integer);
        self.battery = charge.and_then(|charge| u8::try_from(charge).ok()).filter(|charge| *charge <= 100);
        self.charging = flag(&battery, "BatteryIsCharging");
        self.on_power = flag(&battery, "ExternalConnected");

        let disk = lockdown.domain("com.apple.disk_usage")?;
        let bytes = |key: &str| disk.get(key).and_then(Value::as_unsigned_integer);
        let free = bytes("TotalDataAvailable").or_else(|| bytes("AmountDataAvailable"));
        self.disk = bytes("TotalDiskCapacity").zip(free).map(|(capacity, free)| Disk { capacity, free });

        self.find_my = lockdown.value("com.apple.fmip", "IsAssociated")?.as_ref().and_then(as_flag);
        self.itunes_settings = Some(lockdown.domain("com.apple.iTunes")?).filter(|settings| !settings.is_empty());
        let min_itunes = lockdown.value("com.apple.mobile.iTunes", "MinITunesVersion")?;
        self.min_itunes = min_itunes.and_then(Value::into_string).map(|text| clean(&text, LONGEST_TEXT));
        Ok(())
    }
}

/// Whether a phone encrypts its backups. One that does not tell is not taken for one that does not.
fn will_encrypt<L: Link>(lockdown: &mut Lockdown<L>) -> Result<Option<bool>> {
    Ok(match lockdown.value_or_error("com.apple.mobile.backup", "WillEncrypt")? {
        Ok(Some(value)) => as_flag(&value),
        // A phone that never had a backup password has no such key.
        Ok(None) => Some(false),
        Err(_) => None,
    })
}

/// A text of a phone, fit for a terminal and no longer than so many characters.
pub(crate) fn clean(text: &str, longest: usize) -> String {
    // Marks that turn the direction of writing could make one name look like another.
    let turns = |c: &char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().filter(|c| !turns(c)).map(|c| if c.is_control() { ' ' } else { c }).take(longest).collect()
}

fn flag(dictionary: &Dictionary, key: &str) -> Option<bool> {
    dictionary.get(key).and_then(as_flag)
}

fn as_flag(value: &Value) -> Option<bool> {
    match value {
        Value::Boolean(flag) => Some(*flag),
        Value::Integer(number) => Some(number.as_signed() != Some(0)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #[cfg(unix)]
    use std::time::Instant;

    use super::*;
    #[cfg(unix)]
    use crate::stream::Socket;
    #[cfg(unix)]
    use crate::stream::messages::{Messages, PATIENCE, dictionary};

    #[test]
    fn a_hostile_name_is_fit_for_a_terminal() {
        assert_eq!(clean("Robin\u{2019}s\x1b[31m\niPhone\u{202e}", LONGEST_TEXT), "Robin\u{2019}s [31m iPhone");
        assert_eq!(clean(&"x".repeat(10_000), LONGEST_TEXT).len(), LONGEST_TEXT);
    }

    #[cfg(unix)]
    #[test]
    fn only_a_missing_value_means_that_backups_are_not_encrypted() {
        let check = |answer: (&'static str, Value), expected| {
            let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
            let phone = std::thread::spawn(move || {
                let mut phone = Messages::new(Socket::new(Box::new(theirs)));
                phone.receive(Instant::now() + PATIENCE, "it was asked").unwrap().unwrap();
                phone.send(dictionary([("Request", "GetValue".into()), answer]), "it answered").unwrap();
            });
            let mut lockdown = Lockdown::new(Socket::new(Box::new(ours)), "russet");
            assert_eq!(will_encrypt(&mut lockdown).unwrap(), expected);
            phone.join().unwrap();
        };
        check(("Value", true.into()), Some(true));
        check(("Value", false.into()), Some(false));
        check(("Error", "MissingValue".into()), Some(false));
        // Older systems leave the value out and say nothing.
        check(("Result", "Success".into()), Some(false));
        for error in ["PasswordProtected", "GetProhibited", "InternalError", "SessionInactive"] {
            check(("Error", error.into()), None);
        }
        check(("Value", "yes".into()), None);
    }
}
