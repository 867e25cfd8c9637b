//! Photos: originals with their dates and names, Live Photos together, edits beside them, albums as folders, and a contact sheet.
//!
//! Contents go from the repository to the disk in pieces; no picture is ever whole in memory.

mod list;
mod plan;
mod sheet;

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use rayon::prelude::*;
use russet_apple_format::photos::{self, Album, Library};
use russet_apple_format::well_known::{PHOTOS, WellKnown};
use russet_vfs::target::Placed;

use self::plan::{Job, Plan, Role};
use crate::name::{self, Names};
use crate::{Context, Count, Error, Folder, Kind, Result};

/// Photos.
pub const KIND: Kind = Kind {
    name: "photos",
    about: "photos and videos by month with their dates, names, Live Photos, edits and albums; a contact sheet and JSON",
    databases: &[PHOTOS, ORIGINALS, FROM_ICLOUD],
    write,
};

/// Where pictures are that the camera took.
const ORIGINALS: WellKnown = WellKnown { label: "Photos and videos", domain: PHOTOS.domain, path: "Media/DCIM/" };
/// Where pictures are that came from iCloud.
const FROM_ICLOUD: WellKnown =
    WellKnown { label: "Photos and videos from iCloud", domain: PHOTOS.domain, path: "Media/PhotoData/CPLAssets/" };
/// No folders of albums lie deeper.
const DEEPEST: usize = 16;

fn write(context: &Context<'_>, folder: &Folder<'_>) -> Result<Vec<Count>> {
    let library = match context.open(&PHOTOS).and_then(|tables| Ok(tables.map(|tables| photos::library(&tables)).transpose()?)) {
        Ok(Some(library)) => library,
        Ok(None) => {
            folder.remark("the photo library is not in the backup, so photos are in folders as on the phone, without albums");
            Library::default()
        }
        Err(Error::Apple(error)) => {
            folder.remark(format!(
                "{error}, so photos are in folders as on the phone, without albums; the library itself is in raw/"
            ));
            context.write_raw(folder, &PHOTOS)?;
            Library::default()
        }
        Err(error) => return Err(error),
    };
    let plan = Plan::new(context, &library);
    let first_of = copy(folder, &plan)?;
    let albums = link_albums(folder, &library, &plan, &first_of)?;
    for asset in plan.elsewhere.iter().map(|&at| &library.assets[at]) {
        folder.missing(asset.path());
    }
    if !library.assets.is_empty() {
        list::write(folder, &library, &plan)?;
        sheet::write(folder, &library, &plan)?;
    }
    let count = |role: Role| plan.jobs.iter().filter(|job| job.role == role).count();
    let films =
        plan.jobs.iter().filter(|job| job.role == Role::Original && job.asset.is_some_and(|at| library.assets[at].is_film));
    let films = films.count();
    Ok(vec![
        Count::of("photo", count(Role::Original) - films),
        Count::of("video", films),
        Count::of("edited version", count(Role::Edited)),
        Count::of("album", albums),
        Count::of("unlisted file", count(Role::Unlisted)),
    ])
}

/// Writes all files, on all cores, and gives those that can be linked to, by their jobs.
fn copy(folder: &Folder<'_>, plan: &Plan<'_>) -> Result<HashMap<usize, Placed>> {
    let placed = Mutex::new(HashMap::new());
    plan.jobs.par_iter().enumerate().try_for_each(|(number, job)| {
        let path: Vec<&str> = job.path.iter().map(String::as_str).collect();
        if let Some(file) = folder.place(&path, job.item, job.date)? {
            placed.lock().unwrap_or_else(|e| e.into_inner()).insert(number, file);
        }
        Ok::<_, Error>(())
    })?;
    Ok(placed.into_inner().unwrap_or_else(|e| e.into_inner()))
}

/// Gives what is in albums, and favourites, further names there. The number of albums comes back.
fn link_albums(folder: &Folder<'_>, library: &Library, plan: &Plan<'_>, placed: &HashMap<usize, Placed>) -> Result<usize> {
    let mut jobs_of: HashMap<usize, Vec<usize>> = HashMap::new();
    for (number, job) in plan.jobs.iter().enumerate().filter(|(_, job)| job.role != Role::Thumbnail) {
        jobs_of.entry(job.asset.unwrap_or(usize::MAX)).or_default().push(number);
    }
    let by_key: HashMap<i64, usize> = library.assets.iter().enumerate().map(|(at, asset)| (asset.key, at)).collect();
    // What its owner hid or threw away is in no album until it comes back.
    let is_seen = |at: &usize| !library.assets[*at].hidden && !library.assets[*at].trashed;
    let mut copies = 0_u64;
    let mut link = |place: &[String], assets: &mut dyn Iterator<Item = usize>| -> Result<()> {
        let (mut names, mut seen) = (Names::default(), HashSet::new());
        for at in assets.filter(is_seen) {
            let jobs: Vec<(&Job<'_>, &Placed)> = jobs_of
                .get(&at)
                .into_iter()
                .flatten()
                .filter_map(|number| Some((&plan.jobs[*number], placed.get(number)?)))
                .collect();
            if jobs.is_empty() || !seen.insert(at) {
                continue;
            }
            // The same base for all of them, so that pairs stay together.
            let base = names.unique(&jobs[0].0.base);
            for (job, file) in jobs {
                let name = format!("{base}{}", job.ending);
                let path: Vec<&str> = place.iter().map(String::as_str).chain([&*name]).collect();
                copies += u64::from(!folder.link(&path, file)? && file.is_written());
            }
        }
        Ok(())
    };
    let mut favourites = (0..library.assets.len()).filter(|&at| library.assets[at].favourite);
    link(&["Favourites".to_owned()], &mut favourites)?;
    let places = places_of(&library.albums);
    for album in library.albums.iter().filter(|album| !album.is_folder) {
        let Some(place) = places.get(&album.key) else { continue };
        link(place, &mut album.assets.iter().filter_map(|key| by_key.get(key).copied()))?;
    }
    if copies > 0 {
        folder.remark(format!(
            "this disk has no hard links, so {copies} files in Albums and Favourites are copies and take room of their own"
        ));
    }
    Ok(places.len() - library.albums.iter().filter(|album| album.is_folder).count())
}

/// The folder of each album. Albums of one name in one folder are told apart.
fn places_of(albums: &[Album]) -> HashMap<i64, Vec<String>> {
    let by_key: HashMap<i64, &Album> = albums.iter().map(|album| (album.key, album)).collect();
    let mut names: HashMap<Vec<String>, Names> = HashMap::new();
    let mut places: HashMap<i64, Vec<String>> = HashMap::new();
    for album in albums {
        // From the album outwards, as far as nothing has its place yet.
        let mut way = Vec::new();
        let mut at = Some(album);
        let mut place = vec!["Albums".to_owned()];
        while let Some(next) = at.filter(|next| way.len() < DEEPEST && way.iter().all(|there: &&Album| there.key != next.key)) {
            if let Some(known) = places.get(&next.key) {
                place = known.clone();
                break;
            }
            way.push(next);
            at = next.parent.and_then(|key| by_key.get(&key)).copied().filter(|parent| parent.is_folder);
        }
        for next in way.into_iter().rev() {
            let taken = names.entry(place.clone()).or_default();
            place.push(taken.unique(&name::safe(&next.title, "Album")));
            places.insert(next.key, place.clone());
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn album(key: i64, title: &str, parent: Option<i64>, is_folder: bool) -> Album {
        Album { key, title: title.into(), parent, is_folder, assets: Vec::new() }
    }

    #[test]
    fn albums_get_folders_of_their_own_whatever_they_are_called_and_however_they_lie() {
        let albums = [
            album(1, "../..", None, false),
            album(2, "Walks", Some(3), false),
            album(3, "Trips/2026", None, true),
            album(4, "walks", Some(3), false),
            album(5, "circle", Some(6), true),
            album(6, "circle", Some(5), true),
            album(7, "orphan", Some(99), false),
        ];
        let places = places_of(&albums);
        let shown: Vec<String> = albums.iter().map(|album| places[&album.key].join("/")).collect();
        assert_eq!(shown[..4], ["Albums/Album", "Albums/Trips 2026/Walks", "Albums/Trips 2026", "Albums/Trips 2026/walks 2"]);
        assert_eq!(shown[6], "Albums/orphan");
        assert_eq!(shown.iter().collect::<HashSet<_>>().len(), albums.len());
    }
}
