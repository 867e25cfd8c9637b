//! Manifest.plist: what the phone says of the backup as a whole, and the keybag that opens it.

use plist::{Dictionary, Value};

use crate::Result;
use crate::property_list::{self, Fields};

const WHAT: &str = "Manifest.plist";

/// A parsed Manifest.plist. What is not asked for is kept, so that it can be written again.
#[derive(Clone, Debug, PartialEq)]
pub struct ManifestPlist {
    root: Dictionary,
}

/// An app, group or plug-in whose container is in the backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Application {
    /// The id of its container; a bundle id for apps.
    pub id: String,
    /// The bundle id it belongs to.
    pub bundle_id: Option<String>,
    /// The version of the app.
    pub version: Option<String>,
    /// Such as `Data/Application`, `Shared/AppGroup` or `Data/PluginKitPlugin`.
    pub content_class: Option<String>,
}

/// What a new Manifest.plist is made of.
#[derive(Clone, Debug, Default)]
pub struct NewManifest<'a> {
    /// `Version`: `10.0` with Manifest.db.
    pub version: &'a str,
    /// `SystemDomainsVersion`, such as `24.0`.
    pub system_domains_version: &'a str,
    /// When, in Unix seconds.
    pub date: i64,
    /// `WasPasscodeSet`.
    pub was_passcode_set: bool,
    /// The encoded keybag.
    pub keybag: &'a [u8],
    /// The wrapped key of Manifest.db; with it the backup counts as encrypted.
    pub manifest_key: Option<&'a [u8]>,
    /// Values of `Lockdown`, such as `DeviceName`.
    pub lockdown: &'a [(&'a str, &'a str)],
    /// Apps by bundle id and version.
    pub applications: &'a [(&'a str, &'a str)],
}

impl ManifestPlist {
    /// Parses a Manifest.plist, XML or binary.
    pub fn parse(bytes: &[u8]) -> Result<ManifestPlist> {
        Ok(ManifestPlist { root: property_list::read(WHAT, bytes)? })
    }

    /// Makes a new one.
    pub fn create(new: &NewManifest<'_>) -> ManifestPlist {
        let mut root = Dictionary::new();
        let mut set = |key: &str, value: Value| root.insert(key.to_owned(), value);
        set("Version", new.version.into());
        set("SystemDomainsVersion", new.system_domains_version.into());
        set("Date", Value::Date(property_list::date(new.date)));
        set("IsEncrypted", new.manifest_key.is_some().into());
        set("WasPasscodeSet", new.was_passcode_set.into());
        set("BackupKeyBag", Value::Data(new.keybag.to_vec()));
        if let Some(key) = new.manifest_key {
            set("ManifestKey", Value::Data(key.to_vec()));
        }
        let lockdown = new.lockdown.iter().map(|(key, value)| (key.to_string(), Value::from(*value)));
        set("Lockdown", Value::Dictionary(lockdown.collect()));
        let applications = new.applications.iter().map(|(id, version)| {
            let fields =
                [("CFBundleIdentifier", *id), ("CFBundleVersion", *version), ("ContainerContentClass", "Data/Application")];
            (
                id.to_string(),
                Value::Dictionary(fields.iter().map(|(key, value)| (key.to_string(), Value::from(*value))).collect()),
            )
        });
        set("Applications", Value::Dictionary(applications.collect()));
        ManifestPlist { root }
    }

    /// Leaves out the apps, groups and plug-ins whose ids `keep` does not want.
    pub fn retain_applications(&mut self, keep: impl Fn(&str) -> bool) {
        if let Some(Value::Dictionary(applications)) = self.root.get_mut("Applications") {
            applications.retain(|id, _| keep(id));
        }
    }

    /// All of it as binary property list.
    pub fn encode(&self) -> Vec<u8> {
        property_list::write(self.root.clone())
    }

    /// The same for an unencrypted backup: with another keybag and without the key of Manifest.db. Everything else is kept.
    pub fn to_plain(&self, keybag: &[u8]) -> Vec<u8> {
        let mut root = self.root.clone();
        root.insert("IsEncrypted".into(), false.into());
        root.insert("BackupKeyBag".into(), Value::Data(keybag.to_vec()));
        root.remove("ManifestKey");
        property_list::write(root)
    }

    /// The version of the backup's form: `10.0` with Manifest.db, `9.1` before.
    pub fn version(&self) -> Option<String> {
        self.root.text("Version")
    }

    /// The version of the list of domains.
    pub fn system_domains_version(&self) -> Option<String> {
        self.root.text("SystemDomainsVersion")
    }

    /// Whether the backup is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.root.flag("IsEncrypted").unwrap_or(false)
    }

    /// Whether the phone had a passcode.
    pub fn was_passcode_set(&self) -> Option<bool> {
        self.root.flag("WasPasscodeSet")
    }

    /// When it was written, in Unix seconds.
    pub fn date(&self) -> Option<i64> {
        self.root.seconds("Date")
    }

    /// The bytes of the keybag, which unencrypted backups have too.
    pub fn keybag(&self) -> Option<&[u8]> {
        self.root.data("BackupKeyBag")
    }

    /// The wrapped key of Manifest.db, in encrypted backups of iOS 10.2 and newer.
    pub fn manifest_key(&self) -> Option<&[u8]> {
        self.root.data("ManifestKey")
    }

    /// What the phone told of itself under `key`, such as `DeviceName`, `ProductVersion`, `ProductType`, `BuildVersion`, `SerialNumber`, `UniqueDeviceID`.
    pub fn lockdown(&self, key: &str) -> Option<String> {
        self.root.dictionary("Lockdown")?.text(key)
    }

    /// The apps, groups and plug-ins whose containers are in the backup.
    pub fn applications(&self) -> Vec<Application> {
        let applications = self.root.dictionary("Applications").into_iter().flatten();
        applications
            .map(|(id, value)| {
                let text = |key| value.as_dictionary().and_then(|fields| fields.text(key));
                Application {
                    id: id.clone(),
                    bundle_id: text("CFBundleIdentifier"),
                    version: text("CFBundleVersion"),
                    content_class: text("ContainerContentClass"),
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{Noise, real};

    fn sample() -> ManifestPlist {
        ManifestPlist::create(&NewManifest {
            version: "10.0",
            system_domains_version: "24.0",
            date: 1_700_000_000,
            was_passcode_set: true,
            keybag: &[1, 2, 3],
            manifest_key: Some(&[4; 44]),
            lockdown: &[("DeviceName", "Anna’s iPhone")],
            applications: &[("org.example.app", "1.2")],
        })
    }

    #[test]
    fn what_is_encoded_is_parsed() {
        let manifest = ManifestPlist::parse(&sample().encode()).unwrap();
        assert_eq!(manifest, sample());
        assert_eq!((manifest.version().as_deref(), manifest.date()), (Some("10.0"), Some(1_700_000_000)));
        assert_eq!((manifest.is_encrypted(), manifest.was_passcode_set()), (true, Some(true)));
        assert_eq!((manifest.keybag(), manifest.manifest_key()), (Some(&[1, 2, 3][..]), Some(&[4; 44][..])));
        assert_eq!(manifest.lockdown("DeviceName").as_deref(), Some("Anna’s iPhone"));
        assert_eq!(manifest.applications()[0].version.as_deref(), Some("1.2"));
    }

    #[test]
    fn a_plain_one_keeps_what_it_does_not_know() {
        let mut manifest = sample();
        manifest.root.insert("AppleIDs".into(), Value::Array(vec!["a@example.org".into()]));
        let plain = ManifestPlist::parse(&manifest.to_plain(&[9])).unwrap();
        assert!(!plain.is_encrypted());
        assert_eq!((plain.keybag(), plain.manifest_key()), (Some(&[9][..]), None));
        assert_eq!(plain.root.get("AppleIDs"), manifest.root.get("AppleIDs"));
        assert_eq!(plain.applications(), manifest.applications());
    }

    #[test]
    fn apps_are_left_out_and_everything_else_is_kept() {
        let mut manifest = sample();
        manifest.retain_applications(|id| id != "org.example.app");
        assert!(manifest.applications().is_empty());
        manifest.root.insert("Applications".into(), sample().root.get("Applications").unwrap().clone());
        assert_eq!(manifest, sample());
    }

    #[test]
    fn a_real_one_is_read() {
        let Some(bytes) = real("tiny-encrypted-password-0000/Manifest.plist") else { return };
        let manifest = ManifestPlist::parse(&bytes).unwrap();
        assert!(manifest.is_encrypted());
        assert_eq!(manifest.keybag().map(<[u8]>::len), Some(1388));
    }

    #[test]
    fn no_cut_and_no_flip_makes_it_panic() {
        let bytes = sample().encode();
        for length in 0..bytes.len() {
            assert!(ManifestPlist::parse(&bytes[..length]).is_err());
        }
        let mut noise = Noise(8);
        for _ in 0..5_000 {
            if let Ok(manifest) = ManifestPlist::parse(&noise.flipped(&bytes)) {
                manifest.applications();
                ManifestPlist::parse(&manifest.to_plain(&[])).unwrap();
            }
        }
    }
}
