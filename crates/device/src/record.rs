//! Pairing records: the keys by which a phone knows this computer, and where they are kept.
//!
//! usbmuxd keeps them for every program if there is one; otherwise they lie in a folder of ours, in the same form and for its
//! owner alone.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use plist::Value;
use russet_apple_format::property_list::read_value;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::stream::messages::{dictionary, text, wipe};
use crate::tls::Identity;
use crate::{DeviceError, Result};

/// No record is longer.
const LONGEST: u64 = 1 << 20;
const SYSTEM: &str = "SystemConfiguration.plist";
const SYSTEM_BUID: &str = "SystemBUID";
/// The values that are data.
const DATA: [&str; 6] =
    ["DeviceCertificate", "HostCertificate", "HostPrivateKey", "RootCertificate", "RootPrivateKey", "EscrowBag"];

/// A pairing record. Its keys are wiped when it is dropped and never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// Where it was found, for errors.
    pub(crate) place: PathBuf,
    pub(crate) host_id: String,
    pub(crate) system_buid: String,
    /// As in the file: PEM, or DER.
    pub(crate) device_certificate: Vec<u8>,
    pub(crate) host_certificate: Vec<u8>,
    pub(crate) root_certificate: Vec<u8>,
    pub(crate) host_private_key: Zeroizing<Vec<u8>>,
    pub(crate) root_private_key: Zeroizing<Vec<u8>>,
    /// Lets the phone read locked files for this computer.
    pub(crate) escrow_bag: Option<Zeroizing<Vec<u8>>>,
    pub(crate) wifi_address: Option<String>,
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Record {
    /// Reads a record, found at `place`.
    pub(crate) fn parse(place: &Path, bytes: &[u8]) -> Result<Record> {
        let unusable = |why: &str| DeviceError::Record { path: place.to_owned(), why: why.to_owned() };
        let root = read_value("pairing record", bytes).map_err(|error| unusable(&error.to_string()))?;
        let mut root = root.into_dictionary().ok_or_else(|| unusable("its root is no dictionary"))?;
        let mut data = |key: &str| match root.remove(key) {
            Some(Value::Data(bytes)) => Some(Zeroizing::new(bytes)),
            _ => None,
        };
        let [device_certificate, host_certificate, host_private_key, root_certificate, root_private_key, escrow_bag] =
            DATA.map(&mut data);
        let needed = |bytes: Option<Zeroizing<Vec<u8>>>, key: &str| bytes.ok_or_else(|| unusable(&format!("it has no {key}")));
        let string = |key: &str| text(&root, key).map(str::to_owned);
        Ok(Record {
            place: place.to_owned(),
            host_id: string("HostID").ok_or_else(|| unusable("it has no HostID"))?,
            system_buid: string(SYSTEM_BUID).unwrap_or_default(),
            device_certificate: needed(device_certificate, DATA[0])?.to_vec(),
            host_certificate: needed(host_certificate, DATA[1])?.to_vec(),
            host_private_key: needed(host_private_key, DATA[2])?,
            // Only a pairing needs them.
            root_certificate: root_certificate.map(|bytes| bytes.to_vec()).unwrap_or_default(),
            root_private_key: root_private_key.unwrap_or_default(),
            escrow_bag,
            wifi_address: string("WiFiMACAddress"),
        })
    }

    /// Writes the record as every program does, as XML.
    pub(crate) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut root = dictionary([
            (DATA[0], Value::Data(self.device_certificate.clone())),
            (DATA[1], Value::Data(self.host_certificate.clone())),
            (DATA[2], Value::Data(self.host_private_key.to_vec())),
            (DATA[3], Value::Data(self.root_certificate.clone())),
            (DATA[4], Value::Data(self.root_private_key.to_vec())),
            ("HostID", self.host_id.clone().into()),
            (SYSTEM_BUID, self.system_buid.clone().into()),
        ]);
        if let Some(bag) = &self.escrow_bag {
            root.insert(DATA[5].into(), Value::Data(bag.to_vec()));
        }
        if let Some(address) = &self.wifi_address {
            root.insert("WiFiMACAddress".into(), address.clone().into());
        }
        let mut root = Value::Dictionary(root);
        let mut bytes = Zeroizing::new(Vec::new());
        root.to_writer_xml(&mut *bytes).expect("writing to memory cannot fail");
        wipe(&mut root);
        bytes
    }

    /// What the phone shows in a handshake.
    pub(crate) fn device_certificate(&self) -> Result<CertificateDer<'static>> {
        Ok(certificate(&self.device_certificate))
    }

    /// What this computer shows.
    pub(crate) fn host_certificate(&self) -> Result<CertificateDer<'static>> {
        Ok(certificate(&self.host_certificate))
    }

    /// The key of what this computer shows.
    pub(crate) fn host_private_key(&self) -> Result<PrivateKeyDer<'static>> {
        if let Ok(key) = PrivateKeyDer::from_pem_slice(&self.host_private_key) {
            return Ok(key);
        }
        PrivateKeyDer::try_from(self.host_private_key.to_vec()).map_err(|_| self.unusable("its HostPrivateKey is none"))
    }

    /// The error of a record that cannot be used.
    pub(crate) fn unusable(&self, why: impl Into<String>) -> DeviceError {
        DeviceError::Record { path: self.place.clone(), why: why.into() }
    }
}

fn certificate(bytes: &[u8]) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(bytes).unwrap_or_else(|_| CertificateDer::from(bytes.to_vec()))
}

/// A folder of records.
#[derive(Debug)]
pub(crate) struct Records(PathBuf);

impl Records {
    pub(crate) fn in_folder(folder: PathBuf) -> Records {
        Records(folder)
    }

    fn path(&self, udid: &str) -> PathBuf {
        self.0.join(format!("{udid}.plist"))
    }

    /// The record of a phone, if there is one.
    pub(crate) fn read(&self, udid: &str) -> Result<Option<Record>> {
        let path = self.path(udid);
        match read_file(&path)? {
            Some(bytes) => Record::parse(&path, &bytes).map(Some),
            None => Ok(None),
        }
    }

    /// Keeps a record in place of the one before.
    pub(crate) fn save(&self, udid: &str, record: &Record) -> Result<()> {
        self.write(&self.path(udid), &record.encode())
    }

    /// Removes the record of a phone. One that is not there is removed already.
    pub(crate) fn delete(&self, udid: &str) -> Result<()> {
        let path = self.path(udid);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(failed(&path, source)),
            _ => Ok(()),
        }
    }

    /// What this computer calls itself to phones, made up at random when it is first needed.
    pub(crate) fn system_buid(&self) -> Result<String> {
        let path = self.0.join(SYSTEM);
        if let Some(bytes) = read_file(&path)?
            && let Ok(Value::Dictionary(root)) = read_value("system configuration", &bytes)
            && let Some(buid) = text(&root, SYSTEM_BUID).filter(|buid| !buid.is_empty())
        {
            return Ok(buid.to_owned());
        }
        let buid = new_id();
        let mut bytes = Vec::new();
        let root = Value::Dictionary(dictionary([(SYSTEM_BUID, buid.clone().into())]));
        root.to_writer_xml(&mut bytes).expect("writing to memory cannot fail");
        self.write(&path, &bytes)?;
        Ok(buid)
    }

    /// Writes a file whole or not at all, for its owner alone.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let mut folder = DirBuilder::new();
        folder.recursive(true);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
            folder.mode(0o700);
            options.mode(0o600);
        }
        folder.create(&self.0).map_err(|source| failed(&self.0, source))?;
        let draft = self.0.join(format!(".{}", Uuid::new_v4()));
        let outcome = options.open(&draft).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&draft, path)
        });
        outcome.map_err(|source| {
            // It may not have been made.
            let _ = fs::remove_file(&draft);
            failed(path, source)
        })
    }
}

/// Whether these bytes are a pairing record that serves for a handshake; for whoever throws foreign bytes at it.
pub fn check_record(bytes: &[u8]) -> Result<()> {
    Identity::of(&Record::parse(Path::new("record"), bytes)?).map(drop)
}

/// An id that nobody else has.
pub(crate) fn new_id() -> String {
    Uuid::new_v4().to_string().to_uppercase()
}

fn read_file(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>> {
    let file = match File::open(path) {
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|source| failed(path, source))?,
    };
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(|source| failed(path, source))?;
    match bytes.len() as u64 <= LONGEST {
        true => Ok(Some(bytes)),
        false => Err(DeviceError::Record { path: path.to_owned(), why: "it is too long".to_owned() }),
    }
}

fn failed(path: &Path, source: io::Error) -> DeviceError {
    DeviceError::Io { what: path.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            place: PathBuf::from("test"),
            host_id: "HOST".to_owned(),
            system_buid: "SYSTEM".to_owned(),
            device_certificate: b"device".to_vec(),
            host_certificate: b"host".to_vec(),
            root_certificate: b"root".to_vec(),
            host_private_key: Zeroizing::new(b"secret of the host".to_vec()),
            root_private_key: Zeroizing::new(b"secret of the root".to_vec()),
            escrow_bag: Some(Zeroizing::new(b"bag".to_vec())),
            wifi_address: None,
        }
    }

    #[test]
    fn a_record_survives_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::in_folder(folder.path().join("records"));
        assert_eq!(records.read("phone").unwrap(), None);
        records.save("phone", &record()).unwrap();
        let place = folder.path().join("records/phone.plist");
        assert_eq!(records.read("phone").unwrap(), Some(Record { place, ..record() }));
        records.delete("phone").unwrap();
        records.delete("phone").unwrap();
        assert_eq!(records.read("phone").unwrap(), None);
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_can_read_a_record() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("records");
        Records::in_folder(home.clone()).save("phone", &record()).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&home), mode(&home.join("phone.plist"))), (0o700, 0o600));
    }

    #[test]
    fn this_computer_keeps_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::in_folder(folder.path().to_owned());
        assert_eq!(records.system_buid().unwrap(), records.system_buid().unwrap());
    }

    #[test]
    fn secrets_are_not_printed() {
        let shown = format!("{:?}", record());
        assert!(!shown.contains("secret") && !shown.contains("bag"), "{shown}");
    }

    #[test]
    fn damaged_records_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::in_folder(folder.path().to_owned());
        for damaged in [&b""[..], b"nonsense", b"<plist><dict/></plist>"] {
            fs::write(folder.path().join("phone.plist"), damaged).unwrap();
            assert!(matches!(records.read("phone"), Err(DeviceError::Record { .. })));
        }
    }
}
