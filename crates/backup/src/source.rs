//! Finding out what a folder is.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use russet_apple_format::info::Info;
use russet_apple_format::manifest::ManifestPlist;
use russet_apple_format::status::Status;

use crate::{BackupError, Result};

/// Manifest.plist and its like are a few kilobytes; no honest one is larger than this.
const LARGEST_PLIST: u64 = 64 << 20;

/// What a folder is.
#[derive(Debug)]
pub enum Found {
    /// One backup in Apple's layout.
    Apple(Box<AppleFolder>),
    /// Several of them side by side.
    Several {
        /// Those that can be brought in.
        backups: Vec<AppleFolder>,
        /// Those that look like a backup and cannot be used.
        failed: Vec<BackupError>,
    },
    /// Anything else.
    Folder(PathBuf),
}

/// How the list of files is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Manifest.db: iOS 10 and newer.
    Database,
    /// Manifest.mbdb: iOS 4 to 9.
    Mbdb,
}

/// A backup in Apple's layout, as far as its unencrypted part says.
#[derive(Debug)]
pub struct AppleFolder {
    /// Where it is.
    pub path: PathBuf,
    /// The device's id; the folder's name if nothing inside says it.
    pub udid: String,
    /// What the person called the device.
    pub device_name: Option<String>,
    /// The version of iOS or iPadOS.
    pub ios: Option<String>,
    /// The model's identifier, such as `iPhone16,1`.
    pub model: Option<String>,
    /// Whether a backup password was set.
    pub encrypted: bool,
    /// When the phone was last backed up to this folder, Unix seconds.
    pub last_backup: Option<i64>,
    /// How the list of files is kept.
    pub layout: Layout,
    /// Whether Status.plist says that the backup was finished; nothing if it says nothing.
    pub finished: Option<bool>,
    pub(crate) info: Option<Info>,
    pub(crate) manifest: Option<ManifestPlist>,
}

impl AppleFolder {
    /// How to call the device in a message.
    pub fn title(&self) -> &str {
        self.device_name.as_deref().unwrap_or(&self.udid)
    }
}

/// Finds out what a folder is.
pub fn inspect(path: &Path) -> Result<Found> {
    let metadata = fs::metadata(path).map_err(|source| BackupError::Io { path: path.into(), source })?;
    if !metadata.is_dir() {
        return Err(BackupError::NotAFolder { path: path.into() });
    }
    if let Some(apple) = apple_folder(path)? {
        return Ok(Found::Apple(Box::new(apple)));
    }
    let io_error = |source| BackupError::Io { path: path.into(), source };
    let mut children: Vec<PathBuf> = fs::read_dir(path)
        .map_err(io_error)?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<io::Result<_>>()
        .map_err(io_error)?;
    children.sort();
    let (mut backups, mut failed) = (Vec::new(), Vec::new());
    for child in children.iter().filter(|child| child.is_dir()) {
        match apple_folder(child) {
            Ok(backup) => backups.extend(backup),
            Err(error) => failed.push(error),
        }
    }
    Ok(match backups.len() + failed.len() {
        0 => Found::Folder(path.into()),
        _ => Found::Several { backups, failed },
    })
}

fn apple_folder(path: &Path) -> Result<Option<AppleFolder>> {
    let layout = match (path.join("Manifest.db").is_file(), path.join("Manifest.mbdb").is_file()) {
        (true, _) => Layout::Database,
        (false, true) => Layout::Mbdb,
        (false, false) => return Ok(None),
    };
    let manifest = read_small(&path.join("Manifest.plist"))?;
    // The other two only describe: a damaged one costs names, not the backup. (Zero-length ones occur.)
    let read = |file: &str| read_small(&path.join(file)).ok().flatten();
    let said = Descriptions { manifest, info: read("Info.plist"), status: read("Status.plist") };
    AppleFolder::described(path.into(), layout, said).map(Some)
}

/// The three files that describe a backup, as far as they are there.
#[derive(Debug, Default)]
pub(crate) struct Descriptions {
    pub(crate) manifest: Option<Vec<u8>>,
    pub(crate) info: Option<Vec<u8>>,
    pub(crate) status: Option<Vec<u8>>,
}

impl AppleFolder {
    /// What the files that describe a backup say of it.
    pub(crate) fn described(path: PathBuf, layout: Layout, said: Descriptions) -> Result<AppleFolder> {
        let manifest = said
            .manifest
            .map(|bytes| ManifestPlist::parse(&bytes))
            .transpose()
            .map_err(|source| BackupError::Apple { path: path.join("Manifest.plist"), source })?;
        let info = said.info.and_then(|bytes| Info::parse(&bytes).ok());
        let status = said.status.and_then(|bytes| Status::parse(&bytes).ok());

        let lockdown = |key: &str| manifest.as_ref().and_then(|m| m.lockdown(key));
        let folder_name = path.file_name().map(|n| n.to_string_lossy().into_owned());
        let said = |field: fn(&Info) -> &Option<String>, key: &str| {
            info.as_ref().and_then(|i| field(i).clone()).or_else(|| lockdown(key))
        };
        let udid = info.as_ref().and_then(|i| i.udid().ok().map(str::to_owned)).or_else(|| lockdown("UniqueDeviceID"));
        Ok(AppleFolder {
            udid: udid.or(folder_name).unwrap_or_else(|| "unknown".into()),
            device_name: said(|i| &i.device_name, "DeviceName"),
            ios: said(|i| &i.product_version, "ProductVersion"),
            model: said(|i| &i.product_type, "ProductType"),
            encrypted: manifest.as_ref().is_some_and(ManifestPlist::is_encrypted),
            last_backup: info.as_ref().and_then(|i| i.last_backup_date).or_else(|| manifest.as_ref().and_then(|m| m.date())),
            layout,
            finished: status.as_ref().filter(|s| s.snapshot_state.is_some()).map(Status::is_finished),
            path,
            info,
            manifest,
        })
    }
}

/// Reads a file that describes the backup; nothing if it is not there.
fn read_small(path: &Path) -> Result<Option<Vec<u8>>> {
    let io_error = |source| BackupError::Io { path: path.into(), source };
    let file = match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => fs::File::open(path).map_err(io_error)?,
        // Opening a pipe would wait for whoever writes to it.
        Ok(_) => return Err(io_error(io::ErrorKind::InvalidInput.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error(error)),
    };
    let mut bytes = Vec::new();
    file.take(LARGEST_PLIST + 1).read_to_end(&mut bytes).map_err(io_error)?;
    match bytes.len() as u64 {
        len if len > LARGEST_PLIST => Err(BackupError::TooLarge { path: path.into(), len }),
        _ => Ok(Some(bytes)),
    }
}
