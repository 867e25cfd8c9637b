//! Where each file of the camera roll goes.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use jiff::tz::Offset;
use russet_apple_format::photos::{Asset, Library};
use russet_apple_format::well_known::PHOTOS;
use russet_vfs::Item;

use super::{FROM_ICLOUD, ORIGINALS};
use crate::name::{self, Names};
use crate::{Context, time};

/// What a file is to its picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The picture or the film itself.
    Original,
    /// What belongs to it: the film of a Live Photo, the raw picture, the list of edits.
    Companion,
    /// The picture as it is after its edits.
    Edited,
    /// The phone's small picture of it.
    Thumbnail,
    /// A file that the library does not know.
    Unlisted,
}

/// A file, and where it goes.
#[derive(Debug)]
pub(super) struct Job<'a> {
    pub(super) role: Role,
    /// The asset in the library.
    pub(super) asset: Option<usize>,
    pub(super) item: &'a Item,
    pub(super) path: Vec<String>,
    /// What the files of one picture have in common in their names, and what comes after it.
    pub(super) base: String,
    pub(super) ending: String,
    /// When the picture was taken.
    pub(super) date: Option<Timestamp>,
}

/// Where each file goes.
#[derive(Debug, Default)]
pub(super) struct Plan<'a> {
    pub(super) jobs: Vec<Job<'a>>,
    /// Assets whose original is not in the backup.
    pub(super) elsewhere: Vec<usize>,
}

/// Where a picture goes that is neither hidden nor deleted.
pub(super) const LIBRARY: &str = "Library";
const EDITS: &str = "Media/PhotoData/Mutations";
const THUMBNAILS: &str = "Media/PhotoData/Thumbnails/V2";
/// What the phone calls the outcome of edits.
const RENDERED: &str = "Adjustments/FullSizeRender.";
/// A larger picture is no thumbnail.
const LARGEST_THUMBNAIL: u64 = 256 << 10;

impl<'a> Plan<'a> {
    pub(super) fn new(context: &Context<'a>, library: &Library) -> Plan<'a> {
        let mut plan = Plan::default();
        let own: HashSet<String> = library.assets.iter().map(Asset::path).collect();
        let mut used: HashSet<&[u8]> = HashSet::new();
        let mut names: HashMap<Vec<String>, Names> = HashMap::new();
        for (at, asset) in library.assets.iter().enumerate() {
            let place = place(asset);
            let path = asset.path();
            let directory = &asset.directory;
            let stem = stem(&asset.file_name);
            let mut files: Vec<(Role, &Item)> = Vec::new();
            let original = context.file(PHOTOS.domain, &path);
            match original {
                Some(item) => files.push((Role::Original, item)),
                None => plan.elsewhere.push(at),
            }
            // What has the same name up to its extension, unless it is a picture of its own.
            let same = format!("Media/{directory}/{stem}.");
            let beside = context.files_below(PHOTOS.domain, &same).filter(is_whole);
            files.extend(beside.filter(|item| !own.contains(&*shown(item))).map(|item| (Role::Companion, item)));
            let edits = format!("{EDITS}/{directory}/{stem}/{RENDERED}");
            files.extend(context.files_below(PHOTOS.domain, &edits).filter(is_whole).map(|item| (Role::Edited, item)));
            if files.is_empty() {
                continue;
            }
            let wanted = asset.original_name.as_deref().map_or(stem, |name| self::stem(name));
            let base = names.entry(place.clone()).or_default().unique(&name::safe(wanted, "photo"));
            let date = asset.taken.and_then(time::apple);
            for (role, item) in files {
                used.insert(&item.path);
                let ending = match role {
                    Role::Edited => format!(" (edited){}", extension(item)),
                    _ => extension(item),
                };
                let path = place.iter().cloned().chain([format!("{base}{ending}")]).collect();
                plan.jobs.push(Job { role, asset: Some(at), item, path, base: base.clone(), ending, date });
            }
            let thumbnails = format!("{THUMBNAILS}/{directory}/{}/", asset.file_name);
            let thumbnails = context.files_below(PHOTOS.domain, &thumbnails).filter(is_whole);
            let small = thumbnails.filter(|item| item.size <= LARGEST_THUMBNAIL && is_jpeg(item)).collect::<Vec<_>>();
            if let Some(item) = small.into_iter().max_by_key(|item| item.size) {
                let name = format!("{at:06}.jpg");
                let path = vec!["thumbnails".to_owned(), name.clone()];
                plan.jobs.push(Job {
                    role: Role::Thumbnail,
                    asset: Some(at),
                    item,
                    path,
                    base: name,
                    ending: String::new(),
                    date,
                });
            }
        }
        // Where there is no library, this is everything. Of what belongs to edits, only their outcome is a picture.
        let roots = [ORIGINALS.path, FROM_ICLOUD.path, EDITS];
        let rest = roots.into_iter().flat_map(|root| context.files_below(PHOTOS.domain, root));
        let rest = rest.filter(|item| !item.path.starts_with(EDITS.as_bytes()) || shown(item).contains(RENDERED));
        for item in rest.filter(is_whole).filter(|item| !used.contains(&*item.path)) {
            let shown = shown(item);
            let parts = shown.split('/').skip(1).map(|part| part.to_owned());
            let top = (!library.assets.is_empty()).then(|| "Other".to_owned());
            let path: Vec<String> = top.into_iter().chain(parts).collect();
            let base = path.last().cloned().unwrap_or_default();
            plan.jobs.push(Job { role: Role::Unlisted, asset: None, item, path, base, ending: String::new(), date: None });
        }
        plan
    }
}

/// The folder of a picture: its month, on the clock of where it was taken.
fn place(asset: &Asset) -> Vec<String> {
    let top = match (asset.trashed, asset.hidden) {
        (true, _) => "Recently Deleted",
        (false, true) => "Hidden",
        (false, false) => LIBRARY,
    };
    let Some(month) = month(asset) else { return vec![top.to_owned(), "Without a date".to_owned()] };
    vec![top.to_owned(), month[..4].to_owned(), month]
}

/// `2026-11`
pub(super) fn month(asset: &Asset) -> Option<String> {
    let taken = asset.taken.and_then(time::apple)?;
    let offset = asset.offset.and_then(|offset| Offset::from_seconds(offset.try_into().ok()?).ok()).unwrap_or(Offset::UTC);
    let clock = offset.to_datetime(taken);
    // Years of four digits, so that folders stand in order.
    (clock.year() >= 0).then(|| clock.strftime("%Y-%m").to_string())
}

fn is_whole(item: &&Item) -> bool {
    item.node.is_some()
}

fn shown(item: &Item) -> Cow<'_, str> {
    String::from_utf8_lossy(&item.path)
}

fn stem(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

/// `.HEIC`, as the phone spells it, if it is an extension that does no harm.
fn extension(item: &Item) -> String {
    let path = shown(item);
    let name = path.rsplit('/').next().unwrap_or_default();
    let Some((_, extension)) = name.rsplit_once('.') else { return String::new() };
    let tame = name::safe_file(name, "photo");
    let is_kept = tame.rsplit_once('.').is_some_and(|(_, kept)| kept.eq_ignore_ascii_case(extension));
    if is_kept { format!(".{extension}") } else { ".bin".to_owned() }
}

fn is_jpeg(item: &&Item) -> bool {
    matches!(&*extension(item).to_ascii_lowercase(), ".jpg" | ".jpeg")
}
