//! A date goes back to a phone: Apple's folder is made on the fly from the archive while the phone asks for it.

use russet_apple_format::info::restore_applications;
use russet_apple_format::manifest::ManifestPlist;
use russet_apple_format::{Error as AppleError, Keybag};
use russet_device::{Ask as PhoneAsk, RestoreOptions, Session, WireStats};
use russet_repository::{Repository, SnapshotEntry};

use super::host::{ArchiveHost, Arrivals};
use super::tree::{Folder, Item};
use super::{Obstacle, Watch, before_restore, path, talk};
use crate::unlock::{Unlock, password_for};
use crate::{BackupError, Request, Result};

/// A phone that was given a date.
#[derive(Debug)]
pub struct Restored {
    /// How the conversation went.
    pub wire: WireStats,
    /// Whether the phone's backup password is now the one of that date.
    pub has_password: bool,
    /// Whether the phone was told which apps to fetch again.
    pub has_apps: bool,
}

/// Gives a date back to a phone. `options.source` and `options.password` are filled in here.
pub fn restore(
    repository: &Repository,
    entry: &SnapshotEntry,
    session: &Session,
    mut options: RestoreOptions,
    mut unlock: Unlock<'_>,
    request: &Request<'_>,
    watch: &dyn Watch,
) -> Result<Restored> {
    let snapshot = &entry.snapshot;
    let facts = session.facts();
    if let Some(obstacle) = before_restore(snapshot, facts).into_iter().find(|o| !matches!(o, Obstacle::LowBattery { .. })) {
        return Err(BackupError::CannotRestore { obstacle });
    }
    let source = snapshot.facts.get("device.udid").cloned().unwrap_or_default();
    let draft = repository.draft()?;
    let tree = Folder::of_snapshot(draft.reader(), &snapshot.root, &|_| true)?;
    let mut host = ArchiveHost::new(&draft, &source, Arrivals::Refuse, request.clock);
    host.tree.put(&path(&source)?, Item::Folder(tree)).expect("the tree was empty");

    let apple = |file: &str| {
        let path = file.into();
        move |source| BackupError::Apple { path, source }
    };
    let read = |name: &str| Ok::<_, BackupError>(host.description(&path(&format!("{source}/{name}"))?));
    let missing = AppleError::MissingKey { what: "the backup", key: "Manifest.plist" };
    let manifest = read("Manifest.plist")?.ok_or(missing).map_err(apple("Manifest.plist"))?;
    let manifest = ManifestPlist::parse(&manifest).map_err(apple("Manifest.plist"))?;
    if manifest.is_encrypted() {
        let bag = Keybag::parse(manifest.keybag().unwrap_or_default()).map_err(apple("Manifest.plist"))?;
        let name = snapshot.facts.get("device.name").unwrap_or(&source);
        options.password = password_for(repository, &source, name, &bag, &mut unlock, (request.clock)())?;
    }
    let apps = match read("Info.plist")? {
        Some(info) => restore_applications(&info).map_err(apple("Info.plist"))?,
        None => None,
    };
    if let Some(apps) = &apps {
        session.put_restore_applications(apps)?;
    }
    let has_password = options.password.is_some();
    options.source = source;
    match talk(session, &PhoneAsk::Restore(options), &mut host, watch) {
        Ok(outcome) => Ok(Restored { wire: outcome.wire, has_password, has_apps: apps.is_some() }),
        Err(error) => {
            if apps.is_some() {
                // The first error is the one to tell.
                let _ = session.remove_restore_applications();
            }
            Err(error)
        }
    }
}
