//! What a phone tells of itself, in a backup or on the wire.

use crate::apps::APPS;
use crate::folder::serial_number;
use crate::{Layout, Specimen};

/// What a phone tells of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// What its owner calls it.
    pub name: &'static str,
    /// The model, such as `iPhone15,4`.
    pub product_type: &'static str,
    /// The version of iOS.
    pub product_version: &'static str,
    /// The build of iOS.
    pub build: &'static str,
    /// The serial number.
    pub serial_number: String,
    /// The number of its line.
    pub phone_number: String,
    /// The number of the handset.
    pub imei: String,
    /// The number of the SIM card.
    pub iccid: String,
}

/// An app that the owner installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct App {
    /// The bundle id.
    pub id: &'static str,
    /// What it is called.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
}

impl Specimen {
    /// What the phone tells of itself. All of it is invented.
    pub fn identity(&self) -> Identity {
        let [product_type, product_version, build] = match self.layout {
            Layout::Database => ["iPhone15,4", "17.5.1", "21F90"],
            Layout::DatabaseClearManifest => ["iPhone8,1", "10.1.1", "14B100"],
            Layout::Mbdb => ["iPhone5,2", "9.3.5", "13G36"],
        };
        let mut noise = self.noise("phone");
        Identity {
            name: "Robin’s iPhone",
            product_type,
            product_version,
            build,
            serial_number: serial_number(self),
            phone_number: format!("+1 (415) 555-01{:02}", noise.below(100)),
            imei: format!("0101{:011}", noise.next() % 100_000_000_000),
            iccid: format!("8901{:015}", noise.next() % 1_000_000_000_000_000),
        }
    }

    /// The apps that the owner installed. None of them exists.
    pub fn apps(&self) -> Vec<App> {
        APPS.iter().map(|&(id, name, version)| App { id, name, version }).collect()
    }
}
