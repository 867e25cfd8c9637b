//! Pairing records, as usbmuxd keeps them for all hosts of a computer.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use plist::Value;
use uuid::Uuid;

use super::{BAD_DEVICE, INVALID};
use crate::memory;
use crate::property_list::{Form, decode, dictionary, encode};

const SYSTEM: &str = "SystemConfiguration";
const MOST: usize = 1_000;
const IO_ERROR: u64 = 5;

/// All pairing records, and the id of the computer.
#[derive(Debug)]
pub(super) struct Records {
    buid: String,
    memory: BTreeMap<String, Vec<u8>>,
    folder: Option<PathBuf>,
}

impl Default for Records {
    /// In memory, of a new computer.
    fn default() -> Records {
        Records { buid: Uuid::new_v4().to_string().to_uppercase(), memory: BTreeMap::new(), folder: None }
    }
}

impl Records {
    /// Those of a folder, which is made if it is not there.
    pub(super) fn in_folder(folder: &Path) -> io::Result<Records> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let mut records = Records { folder: Some(folder.to_owned()), ..Records::default() };
        let path = folder.join(format!("{SYSTEM}.plist"));
        match fs::read(&path) {
            Ok(bytes) => {
                let system = decode(&bytes)?.into_dictionary();
                let buid = system.and_then(|system| system.get("SystemBUID")?.as_string().map(str::to_owned));
                records.buid = buid.ok_or_else(|| io::Error::other(format!("{} has no SystemBUID", path.display())))?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let system = dictionary([("SystemBUID", records.buid.clone().into())]);
                memory::write(&path, &encode(&Value::Dictionary(system), Form::Xml)?)?;
            }
            Err(error) => return Err(error),
        }
        Ok(records)
    }

    pub(super) fn buid(&self) -> &str {
        &self.buid
    }

    /// The record of a phone, or the number of an error.
    pub(super) fn read(&self, id: &str) -> Result<Vec<u8>, u64> {
        check(id)?;
        match self.path(id) {
            Some(path) => fs::read(path).map_err(|error| number(&error)),
            None => self.memory.get(id).cloned().ok_or(BAD_DEVICE),
        }
    }

    pub(super) fn save(&mut self, id: &str, record: &[u8]) -> Result<(), u64> {
        check(id)?;
        if let Some(path) = self.path(id) {
            return memory::write(&path, record).map_err(|error| number(&error));
        }
        if self.memory.len() >= MOST {
            return Err(IO_ERROR);
        }
        self.memory.insert(id.to_owned(), record.to_vec());
        Ok(())
    }

    pub(super) fn delete(&mut self, id: &str) -> Result<(), u64> {
        check(id)?;
        match self.path(id) {
            Some(path) => fs::remove_file(path).map_err(|error| number(&error)),
            None => self.memory.remove(id).map(drop).ok_or(BAD_DEVICE),
        }
    }

    fn path(&self, id: &str) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join(format!("{id}.plist")))
    }
}

/// Refuses whatever is not the id of a phone, since it becomes the name of a file.
fn check(id: &str) -> Result<(), u64> {
    let is_id =
        !id.is_empty() && id.len() <= 64 && id != SYSTEM && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if is_id { Ok(()) } else { Err(INVALID) }
}

/// The number by which usbmuxd tells this error, which is that of the system.
fn number(error: &io::Error) -> u64 {
    match error.kind() {
        io::ErrorKind::NotFound => BAD_DEVICE,
        _ => error.raw_os_error().and_then(|code| u64::try_from(code).ok()).unwrap_or(IO_ERROR),
    }
}
