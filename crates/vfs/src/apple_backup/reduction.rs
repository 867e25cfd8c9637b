//! A backup with less in it: which files stay, and what the files that describe it say then.

use std::collections::{BTreeMap, HashSet};
use std::io::Read;

use russet_apple_format::app::App;
use russet_apple_format::info::{self, Info};
use russet_apple_format::manifest::ManifestPlist;
use russet_apple_format::row::parse_file_id;
use russet_apple_format::{FileKey, ManifestIndex, RowName, cipher};
use russet_repository::format::snapshot::{Snapshot, Source};
use russet_repository::format::tree::{Layer, Node};
use russet_repository::{Reader, RepositoryError, find};

use super::{apple, manifest_plist};
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
    /// The list of files, decrypted.
    manifest: Vec<u8>,
    /// What that is encrypted with.
    key: Option<FileKey>,
    plist: ManifestPlist,
    info: Option<Vec<u8>>,
}

impl Reduction {
    /// A backup that holds nothing but these apps, each a bundle id or a name.
    pub fn to_apps(reader: &Reader, snapshot: &Snapshot, apps: &[String]) -> Result<Reduction> {
        let (manifest, found) = apps_in(reader, snapshot, apps)?;
        let is_of_one = |domain: &str| found.iter().any(|app| app.has_domain(domain));
        let has_one = |id: &str| found.iter().any(|app| app.has_container(id));
        Reduction::of(reader, snapshot, manifest, &|name| is_of_one(&name.domain), &has_one)
    }

    /// A backup that holds everything but these apps.
    pub fn without_apps(reader: &Reader, snapshot: &Snapshot, apps: &[String]) -> Result<Reduction> {
        let (manifest, found) = apps_in(reader, snapshot, apps)?;
        let is_of_one = |domain: &str| found.iter().any(|app| app.has_domain(domain));
        let has_one = |id: &str| found.iter().any(|app| app.has_container(id));
        Reduction::of(reader, snapshot, manifest, &|name| !is_of_one(&name.domain), &|id| !has_one(id))
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
        let mut plist = manifest_plist(reader, snapshot)?;
        plist.retain_applications(keeps_container);
        // It only describes, so one that cannot be used is left out.
        let info = info_plist(reader, snapshot)?.and_then(|info| info::retain_applications(&info, keeps_container).ok());
        Ok(Reduction { stays, goes, manifest, key: manifest_key(reader, snapshot)?, plist, info })
    }

    /// Whether a file of the backup folder goes because its row in the manifest goes.
    pub fn drops(&self, path: &[u8]) -> bool {
        id_of(path).is_some_and(|id| self.goes.contains(&id) && !self.stays.contains(&id))
    }

    /// Whether a file of the backup folder is one that a row of the manifest still names, or one that describes the backup.
    pub fn has(&self, path: &[u8]) -> bool {
        match id_of(path) {
            Some(id) => self.stays.contains(&id),
            None => UNCHANGED.contains(&path) || self.plain(path).is_some(),
        }
    }

    /// What is in a file that describes the backup, if it is another now.
    pub(super) fn plain(&self, path: &[u8]) -> Option<Vec<u8>> {
        match path {
            b"Manifest.plist" => Some(self.plist.encode()),
            b"Info.plist" => self.info.clone(),
            path if MANIFESTS.contains(&path) => Some(self.manifest.clone()),
            _ => None,
        }
    }

    /// The same as it lies in the folder: the list of files is encrypted with the key that it had.
    pub(super) fn stored(&self, path: &[u8]) -> Option<Vec<u8>> {
        match &self.key {
            Some(key) if MANIFESTS.contains(&path) => Some(cipher::encrypt_all(key, &self.manifest)),
            _ => self.plain(path),
        }
    }

    /// The reduced list of files.
    pub(super) fn manifest(&self) -> Result<ManifestIndex> {
        ManifestIndex::from_bytes(&self.manifest).map_err(apple("Manifest.db"))
    }

    pub(super) fn manifest_plist(&self) -> &ManifestPlist {
        &self.plist
    }
}

/// Opens the list of files and finds apps in it. That there is nothing of an app is an error, because its name was mistyped.
fn apps_in(reader: &Reader, snapshot: &Snapshot, wanted: &[String]) -> Result<(ManifestIndex, Vec<App>)> {
    if snapshot.source != Source::AppleBackup {
        return Err(VfsError::NotApple);
    }
    if snapshot.facts.get("apple.locked").is_some_and(|yes| yes == "yes") {
        return Err(VfsError::Locked);
    }
    let manifest = manifest(reader, snapshot)?;
    let domains = manifest.domains().map_err(apple("Manifest.db"))?;
    let applications = manifest_plist(reader, snapshot)?.applications();
    let names = app_names(reader, snapshot)?;
    let find = |wanted: &String| {
        let app = App::find(wanted, domains.iter().map(|(domain, _)| domain.as_str()), &applications, &names);
        if app.is_empty() { Err(VfsError::NoPath { path: format!("app {wanted}") }) } else { Ok(app) }
    };
    let found = wanted.iter().map(find).collect::<Result<_>>()?;
    Ok((manifest, found))
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
