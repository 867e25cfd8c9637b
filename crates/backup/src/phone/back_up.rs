//! A phone is backed up: it is shown its last backup, sends what is new, and what it sent becomes a snapshot.

use std::collections::BTreeMap;
use std::io;

use russet_apple_format::row::file_id_text;
use russet_apple_format::status::Status;
use russet_apple_format::{Keybag, RowName};
use russet_device::{Ask as PhoneAsk, Facts, Outcome, Session};
use russet_repository::format::key::random;
use russet_repository::format::snapshot::{Problem, ProblemKind, Severity, Snapshot};
use russet_repository::format::tree::{Content, Node, NodeKind};
use russet_repository::{Draft, Meta, Phase, Repository, RepositoryError, SnapshotEntry};
use russet_vfs::EXCLUDED_FILES;
use russet_vfs::apple_backup::{self, Reduction};
use zeroize::Zeroizing;

use super::host::{ArchiveHost, Arrivals};
use super::spool::{Footing, Spool};
use super::tree::{FileItem, Folder, Item};
use super::{Options, Taken, Watch, info, path, preflight, talk};
use crate::apple::place::Place;
use crate::apple::shelve::Before;
use crate::apple::{self, Ready};
use crate::exclude::Exclusions;
use crate::source::{AppleFolder, Descriptions, Layout};
use crate::unlock::{Unlock, keep_password_of, knows_password};
use crate::{Ask, BackupError, Request, Result};

/// Older phones keep their list of files in another form, or in clear beside encrypted files.
const OLDEST_IOS: &str = "10.2";

/// Backs a phone up. Must not be called by a worker of the thread pool.
pub fn back_up(
    repository: &Repository,
    session: &Session,
    options: &Options,
    unlock: Unlock<'_>,
    request: &Request<'_>,
    watch: &dyn Watch,
) -> Result<Taken> {
    let facts = session.facts();
    if preflight::is_newer(OLDEST_IOS, &facts.ios) {
        return Err(BackupError::TooOld { device: facts.name.clone(), ios: facts.ios.clone() });
    }
    let Some(encrypted) = facts.will_encrypt else {
        let what = "it does not say whether its backups are encrypted".into();
        return Err(BackupError::PhoneChanged { device: facts.name.clone(), what });
    };
    let parent = apple::parent_of(repository, &facts.udid)?;
    let exclusions = Exclusions::of(repository, &facts.udid)?;
    let draft = repository.draft()?;
    let parent_entry = parent.as_ref();
    let taking = Taking {
        repository,
        session,
        facts,
        options,
        request,
        watch,
        encrypted,
        exclusions,
        parent: parent_entry,
        draft: &draft,
    };
    let Arrived { root, meta, outcome, spool } = match taking.take(unlock) {
        Ok(arrived) => arrived,
        Err(error) => {
            // The first error is the one to tell; what was stored so far is found by the next run.
            let _ = draft.give_up();
            return Err(error);
        }
    };
    let saved = draft.commit(root, meta)?;
    let most_spooled = spool.most();
    // The snapshot exists; what is left of the spool goes with the next run if it cannot go now.
    let _ = spool.remove();
    let remarks = preflight::after_backup(repository, parent.as_ref(), &saved, (request.clock)());
    Ok(Taken { saved, wire: outcome.wire, most_spooled, remarks })
}

/// A backup that is going on.
struct Taking<'a> {
    repository: &'a Repository,
    session: &'a Session,
    facts: &'a Facts,
    options: &'a Options,
    request: &'a Request<'a>,
    watch: &'a dyn Watch,
    encrypted: bool,
    exclusions: Exclusions,
    parent: Option<&'a SnapshotEntry>,
    draft: &'a Draft,
}

/// What only has to be committed.
struct Arrived {
    root: Content,
    meta: Meta,
    outcome: Outcome,
    spool: Spool,
}

impl Taking<'_> {
    fn take(&self, mut unlock: Unlock<'_>) -> Result<Arrived> {
        let (facts, udid) = (self.facts, &self.facts.udid);
        let mut early = ask_early(self.repository, &facts.name, udid, self.encrypted, &mut unlock)?;
        let before = match self.parent {
            Some(parent) => Before::of_phone(self.draft, &parent.snapshot)?,
            None => Before::default(),
        };
        let mut host = self.host(&unlock)?;
        host.before = Some(&before);
        let talked = talk(self.session, &PhoneAsk::Backup { full: self.options.full }, &mut host, self.watch);
        host.storing.finish();
        let talked = talked.and_then(|outcome| finished(&host, udid, &facts.name).map(|()| outcome));
        let outcome = talked.inspect_err(|_| rest(&mut host))?;

        let folder = described(&host, udid)?;
        if folder.encrypted != self.encrypted {
            let what = "its encryption was switched while it was backed up".into();
            return Err(self.changed(what));
        }
        self.watch.phase(Phase::Scanning, 0, 0);
        let keys = match (&mut unlock, early.take()) {
            (Unlock::Ask(ask), Some(answer)) => {
                let mut answer = Some(answer);
                let mut ask = |asked: &Ask<'_>| answer.take().or_else(|| ask(asked));
                apple::unlock_backup(self.repository, &folder, &mut Unlock::Ask(&mut ask), self.request)
            }
            (unlock, _) => apple::unlock_backup(self.repository, &folder, unlock, self.request),
        };
        // Everything is here; only the password is missing. The next run finds it.
        let keys = keys.inspect_err(|_| rest(&mut host))?;
        if let (Some(_), Some(bag)) = (&keys, folder.manifest.as_ref().and_then(|m| m.keybag())) {
            let bag = Keybag::parse(bag).map_err(|source| BackupError::Apple { path: "Manifest.plist".into(), source })?;
            keep_password_of(self.repository, udid, &bag, (self.request.clock)())?;
        }

        let ArchiveHost { mut tree, arrivals, .. } = host;
        let Some(Item::Folder(whole)) = tree.take(&path(udid)?) else {
            return Err(self.changed("it removed its own backup".into()));
        };
        drop(tree);
        let (Arrivals::Wait(mut spool) | Arrivals::Store(mut spool) | Arrivals::Seal(mut spool)) = arrivals else {
            unreachable!("a backup has a spool");
        };
        let scan = whole.into_scan();
        let manifest = match folder.encrypted && keys.is_none() {
            true => None,
            false => Some(open_manifest(self.draft, &folder, &scan, keys.as_ref())?),
        };
        spool.close_journal().map_err(|source| BackupError::Io { path: self.options.spool.clone(), source })?;
        let ready = Ready {
            folder: &folder,
            scan,
            keys,
            manifest,
            exclusions: self.exclusions.clone(),
            before,
            parent: self.parent.map(|parent| parent.name),
            problems: outcome.warnings.iter().map(|(path, why)| unread(path, why)).collect(),
        };
        let from = BTreeMap::from([("source.connection".to_owned(), "phone".to_owned())]);
        let (root, meta) = apple::keep(self.draft, ready, from, self.request, self.watch)?;
        Ok(Arrived { root, meta, outcome, spool })
    }

    /// The host as the phone finds it: the last snapshot, under what a broken run left.
    fn host(&self, unlock: &Unlock<'_>) -> Result<ArchiveHost<'_>> {
        let udid = &self.facts.udid;
        let base = match self.parent {
            Some(parent) if !self.options.full => base(self.draft, &parent.snapshot, &self.exclusions, unlock),
            _ => None,
        };
        let footing = Footing {
            // What is left out decides which part of the last snapshot the phone is shown.
            udid: format!("{udid} {} {}", if self.encrypted { "encrypted" } else { "plain" }, self.exclusions.text()),
            parent: base.as_ref().and(self.parent).map(|parent| parent.name.0.to_vec()).unwrap_or_default(),
        };
        let key = spool_key(self.repository, udid, (self.request.clock)())?;
        let opened = Spool::open(&self.options.spool, key, &footing, self.options.full);
        let (spool, broken_off) = opened.map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => BackupError::PhoneBusy { device: self.facts.name.clone() },
            _ => BackupError::Io { path: self.options.spool.clone(), source: error },
        })?;
        let arrivals = match (self.encrypted, self.exclusions.is_empty()) {
            (true, _) => Arrivals::Wait(spool),
            (false, true) => Arrivals::Store(spool),
            (false, false) => Arrivals::Seal(spool),
        };
        let mut host = ArchiveHost::new(self.draft, udid, arrivals, self.request.clock);
        host.volumes = self.options.volumes.clone();
        if let Some(base) = base {
            host.tree.put(&path(udid)?, Item::Folder(base)).expect("the tree was empty");
        }
        host.replay(broken_off);
        let info = info::of(self.session, self.request.started.0)?;
        host.put_own(&path(&format!("{udid}/Info.plist"))?, info).map_err(|e| BackupError::Host { source: Box::new(e) })?;
        Ok(host)
    }

    fn changed(&self, what: String) -> BackupError {
        BackupError::PhoneChanged { device: self.facts.name.clone(), what }
    }
}

/// Makes what waits durable, for a run that goes on from it another day. The first error is the one to tell.
fn rest(host: &mut ArchiveHost<'_>) {
    if let Arrivals::Wait(spool) = &mut host.arrivals {
        let _ = spool.rest();
    }
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

/// The last snapshot as the phone's folder. Nothing if the phone had better send everything: the snapshot is not whole, or holds ciphertext
/// that can be unlocked this time. One that an app was taken out of serves: its manifest does not name the app's files, so to the phone
/// they are new. One that lost files is not whole, for its manifest still names them.
///
/// Files that it left out, and that are wanted now, are not named in the manifest that the phone is shown: so it sends them.
fn base(draft: &Draft, snapshot: &Snapshot, exclusions: &Exclusions, unlock: &Unlock<'_>) -> Option<Folder> {
    let said = |fact: &str, value: &str| snapshot.facts.get(fact).is_some_and(|known| known == value);
    let locked = said("apple.locked", "yes") && !matches!(unlock, Unlock::Without);
    if !snapshot.whole || locked || !said("apple.layout", "Manifest.db") {
        return None;
    }
    // What the repository has lost is shown to be missing.
    let held = |node: &Node| !matches!(&node.kind, NodeKind::File(content) if !draft.holds(content));
    // A snapshot that is damaged costs sending everything, not the run.
    let mut folder = Folder::of_snapshot(draft.reader(), &snapshot.root, &held).ok()?;
    if snapshot.facts.contains_key(EXCLUDED_FILES) {
        // Nobody could tell which files are to be left out this time.
        if matches!(unlock, Unlock::Without) {
            return None;
        }
        take_in_again(draft, snapshot, exclusions, &mut folder).ok()?;
    }
    Some(folder)
}

/// Has the phone send what was left out and is wanted now.
fn take_in_again(draft: &Draft, snapshot: &Snapshot, exclusions: &Exclusions, folder: &mut Folder) -> Result<()> {
    const NAME: &str = "Manifest.db";
    let sieve = exclusions.compile(&apple_backup::apps(draft.reader(), snapshot)?)?;
    let stays = |name: &RowName<'_>| sieve.holds_back(&name.domain, &name.path);
    let Some(reduction) = Reduction::without_left_out(draft.reader(), snapshot, &stays)? else { return Ok(()) };
    for id in reduction.gone().map(file_id_text) {
        for place in [format!("{}/{id}", &id[..2]), id] {
            if let Ok(FileItem { place: Place::LeftOut, .. }) = folder.file(&path(&place)?) {
                folder.take(&path(&place)?);
            }
        }
    }
    if let (Some(bytes), Ok(shown)) = (reduction.stored(NAME.as_bytes()), folder.file(&path(NAME)?)) {
        let file = FileItem { len: bytes.len() as u64, modified: shown.modified, place: Place::Shown(bytes.into()) };
        folder.put(&path(NAME)?, Item::File(file)).expect("it takes the place of a file");
    }
    Ok(())
}

/// Fails unless the phone's own status says that the backup is finished, and the phone sent it and its list of files this time.
fn finished(host: &ArchiveHost<'_>, udid: &str, device: &str) -> Result<()> {
    let status_path = path(&format!("{udid}/Status.plist"))?;
    let arrived = |path| host.tree.file(path).is_ok_and(|file| !matches!(file.place, Place::Kept(_) | Place::Shown(_)));
    let status = host.description(&status_path).and_then(|bytes| Status::parse(&bytes).ok());
    match status {
        Some(status) if status.is_finished() && arrived(&status_path) && arrived(&path(&format!("{udid}/Manifest.db"))?) => {
            Ok(())
        }
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
