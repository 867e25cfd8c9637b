//! A backup with less in it: which files stay, and what the files that describe it say then.

use std::collections::{BTreeMap, HashSet};
use std::io::Read;
use std::sync::Arc;

use russet_apple_format::app::{App, Apps};
use russet_apple_format::info::{self, Info};
use russet_apple_format::manifest::ManifestPlist;
use russet_apple_format::row::parse_file_id;
use russet_apple_format::{FileKey, ManifestIndex, RowName, cipher};
use russet_repository::format::snapshot::{Snapshot, Source};
use russet_repository::format::tree::{Layer, Node, NodeKind};
use russet_repository::{Found, Reader, RepositoryError, find, walk};

use super::{apple, manifest_plist};
use crate::coverage::EXCLUDED_FILES;
use crate::view::manifest;
use crate::{Result, VfsError, content};

/// The list of files, in its two forms.
const MANIFESTS: [&[u8]; 2] = [b"Manifest.db", b"Manifest.mbdb"];
/// Files of the root that are as they were.
const UNCHANGED: [&[u8]; 1] = [b"Status.plist"];
/// No honest Info.plist is larger.
const LARGEST_INFO: u64 = 64 << 20;

/// A backup with less in it.
#[derive(Debug)]
pub struct Reduction {
    stays: HashSet<[u8; 20]>,
    goes: HashSet<[u8; 20]>,
    /// What no row names stays.
    keeps_rest: bool,
    /// The list of files, decrypted.
    manifest: Vec<u8>,
    /// What that is encrypted with.
    key: Option<FileKey>,
    plist: ManifestPlist,
    info: Option<Vec<u8>>,
}

impl Reduction {
    /// A backup that holds nothing but these apps, each a bundle id or a name. That there is nothing of one of them is an error, because
    /// its name was mistyped.
    pub fn to_apps(reader: &Arc<Reader>, snapshot: &Snapshot, apps: &[String]) -> Result<Reduction> {
        let (manifest, found) = apps_in(reader, snapshot, apps)?;
        if let Some((wanted, _)) = apps.iter().zip(&found).find(|(_, app)| app.is_empty()) {
            return Err(VfsError::NoPath { path: format!("app {wanted}") });
        }
        let is_of_one = |domain: &str| found.iter().any(|app| app.has_domain(domain));
        let has_one = |id: &str| found.iter().any(|app| app.has_container(id));
        Reduction::to(reader, snapshot, manifest, &is_of_one, &has_one)
    }

    /// A backup that holds one domain and nothing else.
    pub fn to_domain(reader: &Arc<Reader>, snapshot: &Snapshot, domain: &str) -> Result<Reduction> {
        Reduction::to(reader, snapshot, open(reader, snapshot)?, &|found| found == domain, &|_| false)
    }

    /// A backup that holds everything but these apps. Nothing if there is nothing of them.
    pub fn without_apps(reader: &Arc<Reader>, snapshot: &Snapshot, apps: &[String]) -> Result<Option<Reduction>> {
        let (manifest, found) = apps_in(reader, snapshot, apps)?;
        if found.iter().all(App::is_empty) {
            return Ok(None);
        }
        let is_of_one = |name: &RowName<'_>| found.iter().any(|app| app.has_domain(&name.domain));
        let has_one = |id: &str| found.iter().any(|app| app.has_container(id));
        Reduction::of(reader, snapshot, manifest, &|name| !is_of_one(name), &|id| !has_one(id)).map(Some)
    }

    /// A backup that does not name the files that were left out of the snapshot, but those that are named to `stays` and wanted by it.
    /// Nothing if that is all of it.
    pub fn without_left_out(
        reader: &Arc<Reader>,
        snapshot: &Snapshot,
        stays: &dyn Fn(&RowName<'_>) -> bool,
    ) -> Result<Option<Reduction>> {
        let left_out = left_out(reader, snapshot)?;
        if left_out.is_empty() {
            return Ok(None);
        }
        let is_there = |name: &RowName<'_>| name.file_id.is_none_or(|id| !left_out.contains(&id));
        let keep = |name: &RowName<'_>| is_there(name) || stays(name);
        let reduction = Reduction::of(reader, snapshot, open(reader, snapshot)?, &keep, &|_| true)?;
        Ok(Some(reduction).filter(|reduction| !reduction.goes.is_empty()))
    }

    /// The ids of the files whose rows go.
    pub fn gone(&self) -> impl Iterator<Item = &[u8; 20]> {
        self.goes.iter()
    }

    fn to(
        reader: &Reader,
        snapshot: &Snapshot,
        manifest: ManifestIndex,
        keeps: &dyn Fn(&str) -> bool,
        keeps_container: &dyn Fn(&str) -> bool,
    ) -> Result<Reduction> {
        let left_out = left_out(reader, snapshot)?;
        let is_there = |name: &RowName<'_>| name.file_id.is_none_or(|id| !left_out.contains(&id));
        let keep = |name: &RowName<'_>| keeps(&name.domain) && is_there(name);
        Ok(Reduction { keeps_rest: false, ..Reduction::of(reader, snapshot, manifest, &keep, keeps_container)? })
    }

    fn of(
        reader: &Reader,
        snapshot: &Snapshot,
        manifest: ManifestIndex,
        keeps: &dyn Fn(&RowName<'_>) -> bool,
        keeps_container: &dyn Fn(&str) -> bool,
    ) -> Result<Reduction> {
        let (mut stays, mut goes) = (HashSet::new(), HashSet::new());
        let keep = |name: &RowName<'_>| {
            let keep = keeps(name);
            let ids = if keep { &mut stays } else { &mut goes };
            ids.extend(name.file_id);
            keep
        };
        let manifest = manifest.reduce(keep).map_err(apple("Manifest.db"))?;
        // Of two rows of one id the one that stays has the file.
        goes.retain(|id| !stays.contains(id));
        let mut plist = manifest_plist(reader, snapshot)?;
        plist.retain_applications(keeps_container);
        // It only describes, so one that cannot be used is left out.
        let info = info_plist(reader, snapshot)?.and_then(|info| info::retain_applications(&info, keeps_container).ok());
        Ok(Reduction { stays, goes, keeps_rest: true, manifest, key: manifest_key(reader, snapshot)?, plist, info })
    }

    /// Whether a file of the backup folder is still there: a row of the manifest names it, it describes the backup, or it is beside both
    /// and everything but something stays.
    pub fn has(&self, path: &[u8]) -> bool {
        match id_of(path) {
            Some(id) => self.stays.contains(&id) || self.keeps_rest && !self.goes.contains(&id),
            // It tells where in the list of files its rows are, as iOS 4 wanted it, and no reader needs it.
            None if path == b"Manifest.mbdx" => false,
            None => self.keeps_rest || UNCHANGED.contains(&path) || self.plain(path).is_some(),
        }
    }

    /// Whether a folder or something that is no file is still there.
    pub(super) fn has_other(&self, found: &Found<'_>) -> bool {
        let is_shelf = found.path.len() == 2 && found.path.iter().all(u8::is_ascii_hexdigit);
        self.keeps_rest || is_shelf && matches!(found.node.kind, NodeKind::Directory(_))
    }

    /// What is in a file that describes the backup, if it is another now.
    pub fn plain(&self, path: &[u8]) -> Option<Vec<u8>> {
        match path {
            b"Manifest.plist" => Some(self.plist.encode()),
            b"Info.plist" => self.info.clone(),
            path if MANIFESTS.contains(&path) => Some(self.manifest.clone()),
            _ => None,
        }
    }

    /// The same as it lies in the folder.
    pub fn stored(&self, path: &[u8]) -> Option<Vec<u8>> {
        let plain = self.plain(path)?;
        Some(self.key(path).map_or_else(|| plain.clone(), |key| cipher::encrypt_all(key, &plain)))
    }

    /// What a file is encrypted with that describes the backup: the list of files has the key that it always had.
    pub fn key(&self, path: &[u8]) -> Option<&FileKey> {
        self.key.as_ref().filter(|_| MANIFESTS.contains(&path))
    }

    /// The reduced list of files.
    pub(super) fn manifest(&self) -> Result<ManifestIndex> {
        ManifestIndex::from_bytes(&self.manifest).map_err(apple("Manifest.db"))
    }

    pub(super) fn manifest_plist(&self) -> &ManifestPlist {
        &self.plist
    }
}

/// Opens the list of files.
fn open(reader: &Arc<Reader>, snapshot: &Snapshot) -> Result<ManifestIndex> {
    if snapshot.source != Source::AppleBackup {
        return Err(VfsError::NotApple);
    }
    if snapshot.facts.get("apple.locked").is_some_and(|yes| yes == "yes") {
        return Err(VfsError::Locked);
    }
    manifest(reader, snapshot)
}

/// Opens the list of files and finds apps in it.
fn apps_in(reader: &Arc<Reader>, snapshot: &Snapshot, wanted: &[String]) -> Result<(ManifestIndex, Vec<App>)> {
    let manifest = open(reader, snapshot)?;
    let apps = apps_of(reader, snapshot, &manifest)?;
    Ok((manifest, wanted.iter().map(|wanted| apps.find(wanted)).collect()))
}

/// The apps of a snapshot.
pub fn apps(reader: &Arc<Reader>, snapshot: &Snapshot) -> Result<Apps> {
    apps_of(reader, snapshot, &open(reader, snapshot)?)
}

fn apps_of(reader: &Reader, snapshot: &Snapshot, manifest: &ManifestIndex) -> Result<Apps> {
    let domains = manifest.domains().map_err(apple("Manifest.db"))?;
    let applications = manifest_plist(reader, snapshot)?.applications();
    Ok(Apps::new(domains.into_iter().map(|(domain, _)| domain).collect(), applications, app_names(reader, snapshot)?))
}

/// The ids of files that were left out of a snapshot on purpose.
fn left_out(reader: &Reader, snapshot: &Snapshot) -> Result<HashSet<[u8; 20]>> {
    let mut ids = HashSet::new();
    if snapshot.facts.contains_key(EXCLUDED_FILES) {
        walk(reader, &snapshot.root, &mut |found| {
            ids.extend(found.node.left_out.and_then(|_| id_of(found.path)));
            Ok(true)
        })?;
    }
    Ok(ids)
}

/// What the owner calls apps, by bundle id, as far as the backup tells.
pub(crate) fn app_names(reader: &Reader, snapshot: &Snapshot) -> Result<BTreeMap<String, String>> {
    let info = info_plist(reader, snapshot)?.and_then(|info| Info::parse(&info).ok());
    Ok(info.map(|info| info.app_names).unwrap_or_default())
}

fn info_plist(reader: &Reader, snapshot: &Snapshot) -> Result<Option<Vec<u8>>> {
    let Some(node) = find(reader, &snapshot.root, b"Info.plist")?.filter(|node| node.size() <= LARGEST_INFO) else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    content::plain(reader, &node, None)?.0.read_to_end(&mut bytes).map_err(RepositoryError::Source)?;
    Ok(Some(bytes))
}

/// The key of the list of files, which its node keeps.
fn manifest_key(reader: &Reader, snapshot: &Snapshot) -> Result<Option<FileKey>> {
    Ok(match find(reader, &snapshot.root, MANIFESTS[0])? {
        Some(Node { layer: Some(Layer::Peeled { key, .. } | Layer::Locked { key }), .. }) => Some(FileKey::from_bytes(key)),
        _ => None,
    })
}

/// The id that a file of a backup folder is named by: `xx/<id>`, or `<id>` in the root.
fn id_of(path: &[u8]) -> Option<[u8; 20]> {
    match path.iter().rposition(|&b| b == b'/') {
        None => parse_file_id(path),
        Some(2) if path[..2] == path[3..5] => parse_file_id(&path[3..]),
        Some(_) => None,
    }
}
