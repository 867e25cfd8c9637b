//! Info.plist: what the computer that made the backup wrote about the phone.

use std::collections::BTreeMap;

use plist::{Dictionary, Value};

use crate::binary_plist::Objects;
use crate::property_list::{self, Fields};
use crate::{Error, Result};

const WHAT: &str = "Info.plist";
/// The most apps whose names are looked for, and the most bytes of one app's metadata.
const MAX_APPS: usize = 10_000;
const MAX_METADATA: usize = 1 << 20;

/// What Info.plist says. Nothing in it is certain to be there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// The name its owner gave the phone.
    pub device_name: Option<String>,
    /// The same, as shown.
    pub display_name: Option<String>,
    /// The name it is sold under, such as `iPhone 15`; iTunes and Finder write it.
    pub product_name: Option<String>,
    /// The model, such as `iPhone15,4`.
    pub product_type: Option<String>,
    /// The version of iOS.
    pub product_version: Option<String>,
    /// The build of iOS.
    pub build_version: Option<String>,
    /// The serial number.
    pub serial_number: Option<String>,
    /// The phone's id (UDID), as the backup folder is named.
    pub target_identifier: Option<String>,
    /// The phone's id in capitals.
    pub unique_identifier: Option<String>,
    /// The number of its line.
    pub phone_number: Option<String>,
    /// The number of the handset.
    pub imei: Option<String>,
    /// The number of the SIM card.
    pub iccid: Option<String>,
    /// A random id of this backup.
    pub guid: Option<String>,
    /// When the backup began, in Unix seconds.
    pub last_backup_date: Option<i64>,
    /// The version of iTunes, or what passes for it.
    pub itunes_version: Option<String>,
    /// The bundle ids of the apps that the owner installed.
    pub installed_applications: Vec<String>,
    /// The names of apps by bundle id, where the file tells them.
    pub app_names: BTreeMap<String, String>,
}

impl Info {
    /// Parses an Info.plist, XML or binary. A value of an unexpected type counts as absent.
    pub fn parse(bytes: &[u8]) -> Result<Info> {
        let root = property_list::read(WHAT, bytes)?;
        let installed = root.get("Installed Applications").and_then(Value::as_array).into_iter().flatten();
        Ok(Info {
            device_name: root.text("Device Name"),
            display_name: root.text("Display Name"),
            product_name: root.text("Product Name"),
            product_type: root.text("Product Type"),
            product_version: root.text("Product Version"),
            build_version: root.text("Build Version"),
            serial_number: root.text("Serial Number"),
            target_identifier: root.text("Target Identifier"),
            unique_identifier: root.text("Unique Identifier"),
            phone_number: root.text("Phone Number"),
            imei: root.text("IMEI"),
            iccid: root.text("ICCID"),
            guid: root.text("GUID"),
            last_backup_date: root.seconds("Last Backup Date"),
            itunes_version: root.text("iTunes Version"),
            installed_applications: installed.filter_map(Value::as_string).map(str::to_owned).collect(),
            app_names: root.dictionary("Applications").map(app_names).unwrap_or_default(),
        })
    }

    /// Writes an Info.plist with these values, as binary property list.
    pub fn encode(&self) -> Vec<u8> {
        let mut root = Dictionary::new();
        for (key, value) in [
            ("Device Name", &self.device_name),
            ("Display Name", &self.display_name),
            ("Product Name", &self.product_name),
            ("Product Type", &self.product_type),
            ("Product Version", &self.product_version),
            ("Build Version", &self.build_version),
            ("Serial Number", &self.serial_number),
            ("Target Identifier", &self.target_identifier),
            ("Unique Identifier", &self.unique_identifier),
            ("Phone Number", &self.phone_number),
            ("IMEI", &self.imei),
            ("ICCID", &self.iccid),
            ("GUID", &self.guid),
            ("iTunes Version", &self.itunes_version),
        ] {
            if let Some(value) = value {
                root.insert(key.into(), value.as_str().into());
            }
        }
        root.insert("Target Type".into(), "Device".into());
        if let Some(date) = self.last_backup_date {
            root.insert("Last Backup Date".into(), Value::Date(property_list::date(date)));
        }
        let installed = self.installed_applications.iter().map(|app| app.as_str().into()).collect();
        root.insert("Installed Applications".into(), Value::Array(installed));
        let mut applications = Dictionary::new();
        for (app, name) in &self.app_names {
            let metadata = Dictionary::from_iter([("itemName".to_owned(), Value::from(name.as_str()))]);
            let metadata = Value::Data(property_list::write(metadata));
            applications.insert(app.clone(), Dictionary::from_iter([("iTunesMetadata".to_owned(), metadata)]).into());
        }
        if !applications.is_empty() {
            root.insert("Applications".into(), applications.into());
        }
        property_list::write(root)
    }

    /// The phone's id, in the spelling of the backup folder if that is told.
    pub fn udid(&self) -> Result<&str> {
        self.target_identifier
            .as_deref()
            .or(self.unique_identifier.as_deref())
            .ok_or(Error::MissingKey { what: WHAT, key: "Target Identifier" })
    }
}

/// What a host writes into Info.plist before a backup, besides what [`Info`] knows.
#[derive(Default)]
pub struct NewInfo<'a> {
    /// The phone itself.
    pub info: Info,
    /// Identity of a second line.
    pub imei2: Option<&'a str>,
    /// Identity of a CDMA phone.
    pub meid: Option<&'a str>,
    /// The owner's apps. A restore has the phone fetch them again, so all that the phone tells of them is kept.
    pub apps: &'a [NewApp<'a>],
    /// Files of `/iTunes_Control/iTunes`, by name.
    pub itunes_files: &'a [(String, Vec<u8>)],
    /// The phone's domain `com.apple.iTunes`.
    pub itunes_settings: Option<Dictionary>,
    /// The list of books.
    pub books: Option<Vec<u8>>,
}

/// One of the owner's apps, as the phone tells it.
#[derive(Debug, Clone, Copy)]
pub struct NewApp<'a> {
    /// Bundle id.
    pub id: &'a str,
    /// Its right to run (`ApplicationSINF`).
    pub sinf: Option<&'a [u8]>,
    /// What the App Store said of it (`iTunesMetadata`).
    pub metadata: Option<&'a [u8]>,
    /// Its icon as PNG.
    pub icon: Option<&'a [u8]>,
    /// Whether the phone offloaded it.
    pub is_demoted: bool,
}

impl NewInfo<'_> {
    /// Writes an Info.plist with these values, as XML, which every reader of backups takes.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let mut root = property_list::read(WHAT, &self.info.encode())?;
        for (key, value) in [("IMEI 2", self.imei2), ("MEID", self.meid)] {
            if let Some(value) = value {
                root.insert(key.into(), value.into());
            }
        }
        let app = |app: &NewApp<'_>| {
            let parts = [("ApplicationSINF", app.sinf), ("iTunesMetadata", app.metadata), ("PlaceholderIcon", app.icon)];
            let known = parts.into_iter().filter_map(|(key, data)| Some((key.to_owned(), Value::Data(data?.to_vec()))));
            let mut known: Dictionary = known.collect();
            if app.is_demoted {
                known.insert("IsDemotedApp".into(), true.into());
            }
            (app.id.to_owned(), Value::from(known))
        };
        root.insert("Applications".into(), self.apps.iter().map(app).collect::<Dictionary>().into());
        let files = self.itunes_files.iter().map(|(name, data)| (name.clone(), Value::Data(data.clone())));
        root.insert("iTunes Files".into(), files.collect::<Dictionary>().into());
        root.insert("iTunes Settings".into(), self.itunes_settings.clone().unwrap_or_default().into());
        if let Some(books) = &self.books {
            root.insert("iBooks Data 2".into(), Value::Data(books.clone()));
        }
        Ok(property_list::write_xml(root))
    }
}

impl std::fmt::Debug for NewInfo<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NewInfo({} apps)", self.apps.len())
    }
}

/// The `Applications` of an Info.plist as a property list of its own: what a phone reads to fetch its apps again.
pub fn restore_applications(info: &[u8]) -> Result<Option<Vec<u8>>> {
    let root = property_list::read(WHAT, info)?;
    Ok(root.dictionary("Applications").filter(|apps| !apps.is_empty()).cloned().map(property_list::write_xml))
}

/// The same Info.plist without the apps whose bundle ids `keep` does not want.
pub fn retain_applications(info: &[u8], keep: impl Fn(&str) -> bool) -> Result<Vec<u8>> {
    let mut root = property_list::read(WHAT, info)?;
    if let Some(Value::Dictionary(applications)) = root.get_mut("Applications") {
        applications.retain(|id, _| keep(id));
    }
    if let Some(Value::Array(installed)) = root.get_mut("Installed Applications") {
        installed.retain(|id| id.as_string().is_none_or(&keep));
    }
    Ok(match Objects::is_binary(info) {
        true => property_list::write(root),
        false => property_list::write_xml(root),
    })
}

/// Names lie in the property list that the App Store gave the phone with each app.
fn app_names(applications: &Dictionary) -> BTreeMap<String, String> {
    let name = |metadata: &[u8]| {
        let metadata = property_list::read("iTunesMetadata", metadata).ok()?;
        ["bundleDisplayName", "itemName", "title"].into_iter().find_map(|key| metadata.text(key)).filter(|name| !name.is_empty())
    };
    applications
        .iter()
        .take(MAX_APPS)
        .filter_map(|(app, value)| {
            let metadata = value.as_dictionary()?.data("iTunesMetadata").filter(|data| data.len() <= MAX_METADATA)?;
            Some((app.clone(), name(metadata)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::real;

    #[test]
    fn what_is_encoded_is_parsed() {
        let info = Info {
            device_name: Some("Anna’s iPhone".into()),
            target_identifier: Some("00008130-000A1B2C3D4E001C".into()),
            last_backup_date: Some(1_700_000_000),
            installed_applications: vec!["org.example.app".into()],
            app_names: BTreeMap::from([("org.example.app".into(), "Example".into())]),
            ..Info::default()
        };
        assert_eq!(Info::parse(&info.encode()).unwrap(), info);
        assert_eq!(info.udid().unwrap(), "00008130-000A1B2C3D4E001C");
        assert!(Info::default().udid().is_err());
    }

    #[test]
    fn what_a_host_writes_is_parsed_and_gives_the_apps_to_restore() {
        let app = NewApp { id: "org.example.app", sinf: Some(b"sinf"), metadata: None, icon: Some(b"png"), is_demoted: true };
        let info = Info { device_name: Some("Anna’s & Bert’s".into()), ..Info::default() };
        let new = NewInfo { info, imei2: Some("2"), apps: &[app], books: Some(vec![1]), ..NewInfo::default() };
        let bytes = new.encode().unwrap();
        assert!(bytes.starts_with(b"<?xml"));
        assert_eq!(Info::parse(&bytes).unwrap().device_name.as_deref(), Some("Anna’s & Bert’s"));
        let apps = restore_applications(&bytes).unwrap().unwrap();
        let apps = property_list::read("apps", &apps).unwrap();
        assert_eq!(apps.dictionary("org.example.app").unwrap().data("ApplicationSINF"), Some(&b"sinf"[..]));
        assert_eq!(restore_applications(&Info::default().encode()).unwrap(), None);

        let without = retain_applications(&bytes, |id| id != "org.example.app").unwrap();
        assert!(without.starts_with(b"<?xml") && restore_applications(&without).unwrap().is_none());
        assert_eq!(Info::parse(&without).unwrap().device_name.as_deref(), Some("Anna’s & Bert’s"));
    }

    #[test]
    fn values_of_the_wrong_type_are_absent() {
        let xml = b"<plist><dict><key>Device Name</key><integer>4</integer><key>Applications</key><array/>\
            <key>Installed Applications</key><array><true/><string>a</string></array></dict></plist>";
        let info = Info::parse(xml).unwrap();
        assert_eq!((info.device_name, info.installed_applications), (None, vec!["a".to_owned()]));
        assert!(Info::parse(b"<plist><array/></plist>").is_err());
        assert!(Info::parse(b"").is_err());
    }

    #[test]
    fn real_ones_are_read() {
        let Some(bytes) = real("real-ios14-manifest/Info.plist") else { return };
        let info = Info::parse(&bytes).unwrap();
        assert_eq!(info.product_type.as_deref(), Some("iPhone9,3"));
        assert!(info.last_backup_date.is_some());
        let Some(bytes) = real("tiny-encrypted-password-0000/Info.plist") else { return };
        Info::parse(&bytes).unwrap();
    }
}
