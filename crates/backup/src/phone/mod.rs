//! The host that a phone talks to: it backs a phone up into a repository, and gives a date back to it.
//!
//! A phone leads and the computer answers, so most of this is [`host`]: the phone's asks, answered from the last snapshot and from what
//! arrived since. Ciphertext waits in the [`spool`] until Manifest.db has come with the keys; then [`crate::apple`] stores it like any other
//! Apple backup. There is a snapshot only if the phone said that it succeeded *and* its Status.plist says that it finished.

mod host;
mod info;
mod preflight;
mod spool;
mod storing;
mod tree;

mod encryption;
mod restore;
pub use encryption::{Encryption, new_password, set_encryption};
pub use preflight::{Obstacle, Remark, before_backup, before_restore};
pub use restore::{Restored, restore};

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use russet_apple_format::status::Status;
use russet_device::{Ask as PhoneAsk, BackupPath, Session, WireStats};
use russet_repository::format::key::random;
use russet_repository::format::snapshot::{Problem, ProblemKind, Severity, Snapshot};
use russet_repository::{Draft, Phase, Progress, Repository, RepositoryError, Saved, SnapshotEntry};
use zeroize::Zeroizing;

use crate::apple::place::Place;
use crate::apple::shelve::Before;
use crate::apple::{self, Ready};
use crate::source::{AppleFolder, Descriptions, Layout};
use crate::unlock::{Unlock, knows_password};
use crate::{Ask, BackupError, Request, Result};
use host::{ArchiveHost, Arrivals};
use spool::{Footing, Spool};
use storing::Storing;
use tree::{Folder, Item};

/// Is told how far a session with a phone is, and may end it.
pub trait Watch: Progress + russet_device::Watch {}

impl<T: Progress + russet_device::Watch> Watch for T {}

/// How a phone is backed up.
#[derive(Debug, Clone)]
pub struct Options {
    /// A folder for this phone alone, where ciphertext waits. It is made private; a broken session is gone on from there.
    pub spool: PathBuf,
    /// Folders on every volume that the backup will take up space on: the phone is told how much they have free.
    pub volumes: Vec<PathBuf>,
    /// Everything is to be sent again.
    pub full: bool,
}

/// A phone that was backed up.
#[derive(Debug)]
pub struct Taken {
    /// The snapshot.
    pub saved: Saved,
    /// How the conversation went.
    pub wire: WireStats,
    /// Most bytes that waited in the spool at once.
    pub most_spooled: u64,
    /// What whoever reads the report should know.
    pub remarks: Vec<Remark>,
}

/// Backs a phone up. Must not be called by a worker of the thread pool.
pub fn back_up(
    repository: &Repository,
    session: &Session,
    options: &Options,
    mut unlock: Unlock<'_>,
    request: &Request<'_>,
    watch: &dyn Watch,
) -> Result<Taken> {
    let facts = session.facts();
    let udid = facts.udid.clone();
    let encrypted = facts.will_encrypt == Some(true);
    let mut early = ask_early(repository, &facts.name, &udid, encrypted, &mut unlock)?;
    let parent = apple::parent_of(repository, &udid)?;
    let draft = repository.draft()?;
    let base = match &parent {
        Some(parent) if !options.full => base(&draft, &parent.snapshot)?,
        _ => None,
    };

    let footing = Footing {
        udid: format!("{udid} {}", if encrypted { "encrypted" } else { "plain" }),
        parent: base.as_ref().and(parent.as_ref()).map(|parent| parent.name.0.to_vec()).unwrap_or_default(),
    };
    let key = spool_key(repository, &udid, (request.clock)())?;
    let (spool, broken_off) = Spool::open(&options.spool, key, &footing).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => BackupError::PhoneBusy { device: facts.name.clone() },
        _ => BackupError::Io { path: options.spool.clone(), source: error },
    })?;
    let mut host = ArchiveHost {
        tree: Folder::default(),
        draft: &draft,
        arrivals: if encrypted { Arrivals::Wait(spool) } else { Arrivals::Store(spool) },
        udid: udid.clone(),
        volumes: options.volumes.clone(),
        clock: request.clock,
        buffer: Vec::new(),
        storing: Storing::default(),
    };
    if let Some(base) = base {
        host.tree.put(&path(&udid)?, Item::Folder(base)).expect("the tree was empty");
    }
    if !options.full {
        host.replay(broken_off);
    }
    let own_path = path(&format!("{udid}/Info.plist"))?;
    host.put_own(&own_path, info::of(session, request.started.0)?).map_err(|e| BackupError::Host { source: Box::new(e) })?;

    let talked = talk(session, &PhoneAsk::Backup { full: options.full }, &mut host, watch).and_then(|outcome| {
        finished(&host, &udid, &facts.name)?;
        Ok(outcome)
    });
    let outcome = match talked {
        Ok(outcome) => outcome,
        // The first error is the one to tell, whatever becomes of what arrived.
        Err(error) => {
            if let Arrivals::Wait(spool) = &mut host.arrivals {
                let _ = spool.rest();
            }
            host.storing.finish();
            drop(host);
            let _ = draft.give_up();
            return Err(error);
        }
    };

    let folder = described(&host, &udid)?;
    if folder.encrypted != encrypted {
        let what = "its encryption was switched while it was backed up".into();
        return Err(BackupError::PhoneChanged { device: facts.name.clone(), what });
    }
    watch.phase(Phase::Scanning, 0, 0);
    let keys = match (&mut unlock, early.take()) {
        (Unlock::Ask(ask), Some(answer)) => {
            let mut answer = Some(answer);
            let mut ask = |asked: &Ask<'_>| answer.take().or_else(|| ask(asked));
            apple::unlock_backup(repository, &folder, &mut Unlock::Ask(&mut ask), request)
        }
        (unlock, _) => apple::unlock_backup(repository, &folder, unlock, request),
    };
    let keys = match keys {
        Ok(keys) => keys,
        Err(error) => {
            // Everything is here; only the password is missing. The next run finds it.
            if let Arrivals::Wait(spool) = &mut host.arrivals {
                spool.rest().map_err(|source| BackupError::Io { path: options.spool.clone(), source })?;
            }
            return Err(error);
        }
    };
    let ArchiveHost { mut tree, arrivals, storing, .. } = host;
    storing.finish();
    let Some(Item::Folder(whole)) = tree.take(&path(&udid)?) else {
        return Err(BackupError::PhoneChanged { device: facts.name.clone(), what: "it removed its own backup".into() });
    };
    drop(tree);
    let (Arrivals::Wait(mut spool) | Arrivals::Store(mut spool)) = arrivals else {
        unreachable!("a backup has a spool");
    };
    spool.close_journal().map_err(|source| BackupError::Io { path: options.spool.clone(), source })?;
    let scan = whole.into_scan();
    let manifest = match folder.encrypted && keys.is_none() {
        true => None,
        false => Some(open_manifest(&draft, &folder, &scan, keys.as_ref())?),
    };
    let problems = outcome.warnings.iter().map(|(path, why)| unread(path, why)).collect();
    let ready = Ready {
        folder: &folder,
        scan,
        keys,
        manifest,
        before: Before::default(),
        parent: parent.as_ref().map(|parent| parent.name),
        problems,
    };
    let from = BTreeMap::from([("source.connection".to_owned(), "phone".to_owned())]);
    let saved = apple::keep(draft, ready, from, request, watch)?;
    let most_spooled = spool.most();
    // The snapshot exists; what is left of the spool goes with the next run if it cannot go now.
    let _ = spool.remove();
    let remarks = preflight::after_backup(repository, parent.as_ref(), &saved, (request.clock)())?;
    Ok(Taken { saved, wire: outcome.wire, most_spooled, remarks })
}

/// Holds the conversation, with the sync lock in hand, so that no other program talks to the phone meanwhile.
fn talk(session: &Session, ask: &PhoneAsk, host: &mut ArchiveHost<'_>, watch: &dyn Watch) -> Result<russet_device::Outcome> {
    let lock = session.sync_lock()?;
    // Only a phone on the network needs it; one on the cable does not mind.
    let heartbeat = session.heartbeat();
    let outcome = session.backup(ask, host, watch);
    drop((heartbeat, lock));
    outcome.map_err(|error| match error {
        russet_device::DeviceError::Host(source) => match source.downcast::<RepositoryError>() {
            Ok(error) => BackupError::Repository(*error),
            Err(source) => BackupError::Host { source },
        },
        other => other.into(),
    })
}

fn path(text: &str) -> Result<BackupPath> {
    BackupPath::parse(text)
        .map_err(|_| BackupError::PhoneChanged { device: text.into(), what: "its id is no name for a folder".into() })
}

/// The password, asked for before an hour of work rather than after; nothing if it will not be needed.
fn ask_early(
    repository: &Repository,
    name: &str,
    udid: &str,
    encrypted: bool,
    unlock: &mut Unlock<'_>,
) -> Result<Option<Zeroizing<String>>> {
    let Unlock::Ask(ask) = unlock else { return Ok(None) };
    if !encrypted || knows_password(repository, udid)? {
        return Ok(None);
    }
    let answer = ask(&Ask { device_name: name, udid, wrong_before: false });
    answer.map(Some).ok_or_else(|| BackupError::NoPhonePassword { device: name.to_owned() })
}

/// What seals the little that a phone sends in clear, while it waits.
fn spool_key(repository: &Repository, udid: &str, now: i64) -> Result<Zeroizing<[u8; 32]>> {
    const NAME: &str = "spool";
    if let Some(key) = repository.secret(udid, NAME)?.and_then(|key| <[u8; 32]>::try_from(&key[..]).ok()) {
        return Ok(Zeroizing::new(key));
    }
    let key = Zeroizing::new(random::<32>().map_err(RepositoryError::from)?);
    repository.keep_secrets(udid, &[(NAME, &key[..])], now)?;
    Ok(key)
}

/// The last snapshot as the phone's folder. Nothing if it is not whole: then the phone sends everything, which heals it.
fn base(draft: &Draft, snapshot: &Snapshot) -> Result<Option<Folder>> {
    if !snapshot.whole || snapshot.facts.get("apple.layout").is_none_or(|layout| layout != "Manifest.db") {
        return Ok(None);
    }
    let held = |nodes: Vec<_>| -> Vec<_> {
        use russet_repository::format::tree::{Node, NodeKind};
        let is_held = |node: &Node| !matches!(&node.kind, NodeKind::File(content) if !draft.holds(content));
        nodes.into_iter().filter(is_held).collect()
    };
    let mut inner = |node: &russet_repository::format::tree::Node| match &node.kind {
        russet_repository::format::tree::NodeKind::Directory(content) => draft.reader().nodes(content).map(held),
        _ => Ok(Vec::new()),
    };
    let tree = draft.reader().nodes(&snapshot.root).map(held).and_then(|nodes| Folder::of_nodes(nodes, &mut inner));
    // A snapshot that is damaged costs sending everything, not the run.
    Ok(tree.ok())
}

/// Fails unless the phone's own status says that the backup is finished.
fn finished(host: &ArchiveHost<'_>, udid: &str, device: &str) -> Result<()> {
    let status = host.description(&path(&format!("{udid}/Status.plist"))?);
    match status.and_then(|bytes| Status::parse(&bytes).ok()) {
        Some(status) if status.is_finished() => Ok(()),
        _ => Err(BackupError::PhoneUnfinished { device: device.to_owned() }),
    }
}

fn described(host: &ArchiveHost<'_>, udid: &str) -> Result<AppleFolder> {
    let read = |name: &str| Ok::<_, BackupError>(host.description(&path(&format!("{udid}/{name}"))?));
    let said = Descriptions { manifest: read("Manifest.plist")?, info: read("Info.plist")?, status: read("Status.plist")? };
    AppleFolder::described(udid.into(), Layout::Database, said)
}

fn open_manifest(
    draft: &Draft,
    folder: &AppleFolder,
    scan: &apple::scan::Scan,
    keys: Option<&russet_apple_format::ClassKeys>,
) -> Result<russet_apple_format::ManifestIndex> {
    let found = scan.files.iter().find(|file| file.folder == 0 && file.name == b"Manifest.db");
    let io_error = |source| BackupError::Io { path: folder.path.join("Manifest.db"), source };
    let file = found.ok_or_else(|| io_error(io::ErrorKind::NotFound.into()))?;
    match &file.place {
        Place::Spool(spooled) => apple::read_database(folder, keys, spooled.open().map_err(io_error)?, file.len),
        Place::Kept(node) => apple::read_database(folder, keys, russet_vfs::stored_and_checked(draft.reader(), node), file.len),
        _ => Err(io_error(io::ErrorKind::InvalidData.into())),
    }
}

/// A file that the phone could not read to its end, or at all. Whether that matters is told by what the manifest says of it.
fn unread(path: &str, why: &str) -> Problem {
    Problem {
        kind: ProblemKind::Unreadable,
        severity: Severity::Note,
        path: path.to_owned(),
        detail: format!("the phone said: {why}"),
    }
}

/// The newest snapshot of a phone, if there is one.
pub fn newest_of(repository: &Repository, udid: &str) -> Result<Option<SnapshotEntry>> {
    apple::parent_of(repository, udid)
}
