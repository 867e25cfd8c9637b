//! Apple's folder made again: encrypted exactly as it came, or plain; whole, or with less in it.

mod reduction;

pub(crate) use reduction::app_names;
pub use reduction::{Reduction, apps};
pub use russet_apple_format::app::Apps;

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex};

use russet_apple_format::manifest::ManifestPlist;
use russet_apple_format::row::parse_file_id;
use russet_apple_format::{ClassKeys, Kek, Keybag, ManifestIndex, MbFile, mbdb};
use russet_repository::format::id::hex;
use russet_repository::format::snapshot::{Snapshot, Source};
use russet_repository::format::tree::{Node, NodeKind};
use russet_repository::{Found, Phase, Progress, Reader, Repository, RepositoryError, find, walk_on};
use sha1::{Digest, Sha1};

use crate::content;
use crate::extract::Extracted;
use crate::order::for_each_in_order;
use crate::target::{Attributes, Options, Pieces, Target};
use crate::view::manifest;
use crate::{Result, VfsError};

/// How Apple's folder is made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As it came, bit for bit.
    AsItCame,
    /// Without Apple's encryption, as a phone without a backup password would have made it.
    Plain,
}

/// Makes Apple's folder again, in `to` itself. What was left out of the snapshot on purpose is not named in its manifest.
pub fn export(
    repository: &Repository,
    snapshot: &Snapshot,
    to: &Path,
    form: Form,
    options: Options,
    progress: &dyn Progress,
) -> Result<Extracted> {
    let reduction = Reduction::without_left_out(&repository.reader()?, snapshot, &|_| false)?;
    write(repository, snapshot, reduction, to, form, options, progress)
}

/// Makes a smaller Apple folder, in `to` itself: what holds nothing but these apps, each a bundle id or a name.
pub fn export_apps(
    repository: &Repository,
    snapshot: &Snapshot,
    apps: &[String],
    to: &Path,
    form: Form,
    options: Options,
    progress: &dyn Progress,
) -> Result<Extracted> {
    let reduction = Reduction::to_apps(&repository.reader()?, snapshot, apps)?;
    write(repository, snapshot, Some(reduction), to, form, options, progress)
}

fn write(
    repository: &Repository,
    snapshot: &Snapshot,
    reduction: Option<Reduction>,
    to: &Path,
    form: Form,
    options: Options,
    progress: &dyn Progress,
) -> Result<Extracted> {
    if snapshot.source != Source::AppleBackup {
        return Err(VfsError::NotApple);
    }
    let encrypted = snapshot.facts.get("apple.encrypted").is_some_and(|yes| yes == "yes");
    let locked = snapshot.facts.get("apple.locked").is_some_and(|yes| yes == "yes");
    let plain = form == Form::Plain && encrypted;
    if plain && locked {
        return Err(VfsError::Locked);
    }
    let reader = repository.reader()?;
    let target = Target::open(to, options)?;
    let (mut files, mut links) = (Vec::new(), Vec::new());
    let mut visit = |found: Found<'_>| {
        let path = found.path.to_vec();
        if reduction.as_ref().is_some_and(|reduction| !belongs(reduction, &found)) {
            return Ok(false);
        }
        match &found.node.kind {
            NodeKind::File(_) => files.push((path, found.node.clone())),
            NodeKind::Directory(_) => target.directory(&parts(&path), &found.node.into()).map_err(source_error)?,
            NodeKind::Symlink(link) => links.push((path, found.node.clone(), link.clone())),
            NodeKind::Other => {}
        }
        Ok(true)
    };
    let mut unreadable = Vec::new();
    walk_on(&reader, &snapshot.root, &mut visit, &mut |path, error| {
        unreadable.push((String::from_utf8_lossy(path).into_owned(), error.to_string()));
    })?;
    progress.phase(Phase::Extracting, files.len() as u64, files.iter().map(|(_, node)| node.size()).sum());
    let (failed, reduction) = (Mutex::new(unreadable), reduction.as_ref());
    let writer = Writer { reader: &reader, target: &target, reduction, progress, failed, digests: Mutex::default() };
    match plain {
        false => for_each_in_order(&reader, &files, |(_, node)| Some(node), |(path, node)| writer.as_it_came(path, node))?,
        true => writer.plain_folder(repository, snapshot, &files)?,
    }
    for (path, node, link) in links {
        target.symlink(&parts(&path), &Attributes::from(&node), &link)?;
    }
    let failed = writer.failed.into_inner().unwrap_or_else(|e| e.into_inner());
    Ok(Extracted { written: target.finish()?, failed, missing: Vec::new() })
}

/// Whether something of the whole folder is in the smaller one too.
fn belongs(reduction: &Reduction, found: &Found<'_>) -> bool {
    match &found.node.kind {
        NodeKind::File(_) => reduction.has(found.path),
        _ => reduction.has_other(found),
    }
}

fn source_error(error: crate::target::TargetError) -> RepositoryError {
    RepositoryError::Source(std::io::Error::other(error))
}

fn parts(path: &[u8]) -> Vec<&[u8]> {
    path.split(|&b| b == b'/').collect()
}

struct Writer<'a> {
    reader: &'a Arc<Reader>,
    target: &'a Target,
    /// What there is less of than in the snapshot.
    reduction: Option<&'a Reduction>,
    progress: &'a dyn Progress,
    failed: Mutex<Vec<(String, String)>>,
    /// SHA-1 of plain files, by id: what the plain manifest must say.
    digests: Mutex<HashMap<[u8; 20], [u8; 20]>>,
}

impl Writer<'_> {
    fn fail(&self, path: &[u8], why: impl Into<String>) {
        let path = String::from_utf8_lossy(path).into_owned();
        self.failed.lock().unwrap_or_else(|e| e.into_inner()).push((path, why.into()));
    }

    fn put(&self, path: &[u8], node: &Node, bytes: &[u8]) -> Result<()> {
        self.put_pieces(path, node, &mut |put| put(bytes)).map(drop)
    }

    fn put_pieces(&self, path: &[u8], node: &Node, content: &mut Pieces<'_>) -> Result<bool> {
        match self.target.file_of_pieces(&parts(path), &node.into(), content) {
            // A file that was there already, and is not to be overwritten, was not read.
            Ok(placed) => Ok(placed.is_written()),
            Err(error) if error.is_content() => {
                self.fail(path, error.to_string());
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn as_it_came(&self, path: &[u8], node: &Node) -> Result<()> {
        if let Some(bytes) = self.reduction.and_then(|reduction| reduction.stored(path)) {
            self.progress.advance(1, node.size());
            return self.put(path, node, &bytes);
        }
        let mut same = true;
        self.put_pieces(path, node, &mut |put| {
            same = content::give_stored(self.reader, node, put)?;
            Ok(())
        })?;
        self.progress.advance(1, node.size());
        if !same {
            self.fail(path, "it is not bit for bit what the phone stored");
        }
        Ok(())
    }

    fn plain_folder(&self, repository: &Repository, snapshot: &Snapshot, files: &[(Vec<u8>, Node)]) -> Result<()> {
        let (manifest_plist, manifest) = match self.reduction {
            None => (manifest_plist(self.reader, snapshot)?, manifest(self.reader, snapshot)?),
            Some(reduction) => (reduction.manifest_plist().clone(), reduction.manifest()?),
        };
        let keys = class_keys(repository, snapshot, &manifest_plist)?;
        let claims = claims_of(&manifest)?;
        for_each_in_order(
            self.reader,
            files,
            |(_, node)| Some(node),
            |(path, node)| match &path[..] {
                b"Manifest.plist" | b"Manifest.db" | b"Manifest.mbdb" => Ok(()),
                _ => self.plain_file(path, node, &claims),
            },
        )?;

        let find_node = |name: &[u8]| files.iter().find(|(path, _)| path == name).map(|(_, node)| node.clone());
        let bag = Keybag::parse(manifest_plist.keybag().unwrap_or_default()).map_err(apple("Manifest.plist"))?;
        let salt: [u8; 20] = russet_repository::format::key::random().map_err(RepositoryError::from)?;
        let bag = bag.rewrapped_for_plain(&keys, salt).encode();
        if let Some(node) = find_node(b"Manifest.plist") {
            self.put(b"Manifest.plist", &node, &manifest_plist.to_plain(&bag))?;
        }
        let digests = self.digests.lock().unwrap_or_else(|e| e.into_inner());
        match manifest {
            ManifestIndex::Database(database) => {
                let bytes = database
                    .rewrite(|row| MbFile::rewrite_plain(&row.blob, digests.get(&row.file_id).copied()).ok())
                    .map_err(apple("Manifest.db"))?;
                if let Some(node) = find_node(b"Manifest.db") {
                    self.put(b"Manifest.db", &node, &bytes)?;
                }
            }
            ManifestIndex::Mbdb(old) => {
                let mut records = Vec::new();
                for row in old.rows().flatten() {
                    let (domain, mut file) = mbdb::parse_record(&row.blob).map_err(apple("Manifest.mbdb"))?;
                    file.encryption_key = None;
                    if file.digest.is_some() {
                        file.digest = digests.get(&row.file_id).map(|d| d.to_vec());
                    }
                    records.push((domain, file));
                }
                let bytes =
                    mbdb::encode(records.iter().map(|(domain, file)| (&domain[..], file))).map_err(apple("Manifest.mbdb"))?;
                if let Some(node) = find_node(b"Manifest.mbdb") {
                    self.put(b"Manifest.mbdb", &node, &bytes)?;
                }
            }
        }
        Ok(())
    }

    fn plain_file(&self, path: &[u8], node: &Node, claims: &HashMap<[u8; 20], Claim>) -> Result<()> {
        if let Some(bytes) = self.reduction.and_then(|reduction| reduction.plain(path)) {
            self.progress.advance(1, node.size());
            return self.put(path, node, &bytes);
        }
        let id = path.rsplit(|&b| b == b'/').next().and_then(parse_file_id);
        let claim = id.and_then(|id| claims.get(&id).copied());
        let mut digest = Sha1::new();
        let written = self.put_pieces(path, node, &mut |put| {
            content::give_plain(self.reader, node, claim.map(|claim| claim.size), &mut |piece| {
                digest.update(piece);
                put(piece)
            })
        })?;
        self.progress.advance(1, node.size());
        if node.layer.is_none() && claim.is_some_and(|claim| claim.has_key) {
            self.fail(path, "no key opens it, so it is still encrypted");
        }
        // What was there already was not read, so its digest is not known.
        if let (true, Some(id)) = (written, id) {
            self.digests.lock().unwrap_or_else(|e| e.into_inner()).insert(id, digest.finalize().into());
        }
        Ok(())
    }
}

fn apple(file: &'static str) -> impl FnOnce(russet_apple_format::Error) -> VfsError {
    move |source| VfsError::Apple { file, source }
}

/// Reads a snapshot's Manifest.plist.
pub(crate) fn manifest_plist(reader: &Reader, snapshot: &Snapshot) -> Result<ManifestPlist> {
    let node = find(reader, &snapshot.root, b"Manifest.plist")?.ok_or(VfsError::NotApple)?;
    let mut bytes = Vec::new();
    content::plain(reader, &node, None)?.0.read_to_end(&mut bytes).map_err(RepositoryError::Source)?;
    ManifestPlist::parse(&bytes).map_err(apple("Manifest.plist"))
}

/// The keys of the phone's protection classes, from what the vault keeps.
pub(crate) fn class_keys(repository: &Repository, snapshot: &Snapshot, manifest: &ManifestPlist) -> Result<ClassKeys> {
    let bag = Keybag::parse(manifest.keybag().unwrap_or_default()).map_err(apple("Manifest.plist"))?;
    let udid = snapshot.facts.get("device.udid").map(String::as_str).unwrap_or_default();
    let kek = repository.secret(udid, &format!("kek/{}", hex(&bag.kdf_fingerprint())))?;
    let kek = kek.and_then(|kek| <[u8; 32]>::try_from(&kek[..]).ok()).ok_or(VfsError::NoClassKeys)?;
    bag.unlock(&Kek::from_bytes(kek)).map_err(|_| VfsError::NoClassKeys)
}

/// What the manifest says of a file.
#[derive(Clone, Copy)]
struct Claim {
    size: u64,
    has_key: bool,
}

fn claims_of(manifest: &ManifestIndex) -> Result<HashMap<[u8; 20], Claim>> {
    let rows = manifest.rows().map_err(apple("Manifest.db"))?;
    let claim = |record: MbFile| Claim { size: record.size, has_key: record.usable_key().is_some() };
    Ok(rows.flatten().filter_map(|row| Some((row.file_id, claim(manifest.record(&row).ok()?)))).collect())
}
