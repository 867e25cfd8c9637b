//! The lists of all pictures: for programs, and of those that are not in the backup for people.

use std::collections::HashMap;

use russet_apple_format::photos::Library;
use serde_json::{Value, json};

use super::plan::{Plan, Role};
use crate::csv::Csv;
use crate::{Folder, Result, time};

pub(super) fn write(folder: &Folder<'_>, library: &Library, plan: &Plan<'_>) -> Result<()> {
    let mut files: HashMap<usize, Vec<Value>> = HashMap::new();
    for job in plan.jobs.iter().filter(|job| job.role != Role::Thumbnail) {
        let Some(at) = job.asset else { continue };
        let role = match job.role {
            Role::Edited => "edited",
            Role::Companion => "companion",
            _ => "original",
        };
        files.entry(at).or_default().push(json!({ "path": job.path.join("/"), "role": role, "bytes": job.item.size }));
    }
    let mut albums: HashMap<i64, Vec<&str>> = HashMap::new();
    for album in &library.albums {
        album.assets.iter().for_each(|key| albums.entry(*key).or_default().push(&album.title));
    }
    let time = |seconds: Option<f64>| seconds.and_then(time::apple).map(time::iso);
    let assets: Vec<Value> = library
        .assets
        .iter()
        .enumerate()
        .map(|(at, asset)| {
            json!({
                "original_name": asset.original_name,
                "phone_path": asset.path(),
                "uuid": asset.uuid,
                "kind": if asset.is_film { "video" } else { "photo" },
                "live": asset.is_live,
                "taken": time(asset.taken),
                "utc_offset_seconds": asset.offset,
                "added": time(asset.added),
                "width": asset.size.map(|size| size.0),
                "height": asset.size.map(|size| size.1),
                "seconds": asset.duration,
                "favourite": asset.favourite,
                "hidden": asset.hidden,
                "recently_deleted": asset.trashed,
                "edited": asset.edited,
                "latitude": asset.place.map(|place| place.0),
                "longitude": asset.place.map(|place| place.1),
                "albums": albums.get(&asset.key),
                "files": files.remove(&at).unwrap_or_default(),
            })
        })
        .collect();
    folder.file(&["photos.json"], format!("{:#}\n", json!({ "photos": assets })).as_bytes(), None)?;
    if plan.elsewhere.is_empty() {
        return Ok(());
    }
    let mut csv = Csv::new(&["Name", "Taken", "Kind", "Path on the phone"]);
    for asset in plan.elsewhere.iter().map(|&at| &library.assets[at]) {
        let name = asset.original_name.as_deref().unwrap_or(&asset.file_name);
        csv.row(&[name, &time(asset.taken).unwrap_or_default(), if asset.is_film { "video" } else { "photo" }, &asset.path()]);
    }
    folder.file(&["not-in-backup.csv"], csv.bytes(), None).map(drop)
}
