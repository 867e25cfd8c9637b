//! The contact sheet: a page for each month, with the phone's own small pictures where the backup has them.

use std::collections::HashMap;

use russet_apple_format::photos::{Asset, Library};

use super::plan::{Job, LIBRARY, Plan, Role, month};
use crate::page::{Html, Page};
use crate::{Folder, Result};

const PAGES: &str = "months";

pub(super) fn write(folder: &Folder<'_>, library: &Library, plan: &Plan<'_>) -> Result<()> {
    let mut originals: HashMap<usize, Vec<&Job<'_>>> = HashMap::new();
    for job in &plan.jobs {
        originals.entry(job.asset.unwrap_or(usize::MAX)).or_default().push(job);
    }
    let seen: Vec<(usize, &Asset)> =
        library.assets.iter().enumerate().filter(|(_, asset)| !asset.hidden && !asset.trashed).collect();
    let mut body = Html::default();
    body.markup("<ul class=\"list\">\n");
    // The newest month first, and in it the order of the days.
    let months: Vec<&[(usize, &Asset)]> = seen.chunk_by(|a, b| month(a.1) == month(b.1)).collect();
    let mut numbers: HashMap<String, u32> = HashMap::new();
    for assets in months.into_iter().rev() {
        let title = month(assets[0].1).unwrap_or_else(|| "Without a date".to_owned());
        // Offsets can part a month, where the clock was set back between its ends.
        let number = numbers.entry(title.clone()).and_modify(|number| *number += 1).or_insert(1);
        let name = if *number > 1 { format!("{title} {number}.html") } else { format!("{title}.html") };
        let mut sheet = Html::default();
        sheet.markup("<div class=\"sheet\">\n");
        for (at, asset) in assets {
            tile(&mut sheet, asset, originals.get(at).map(Vec::as_slice).unwrap_or_default());
        }
        sheet.markup("</div>\n");
        let about = format!("{} photos and videos", assets.len());
        let page = Page { title: &title, about: &about, up: Some((&["..", "index.html"], "Photos")) };
        folder.file(&[PAGES, &name], &page.render(&sheet), None)?;
        body.markup("<li><a href=\"").path(&[PAGES, &name]).markup("\">").text(&title).markup("</a><span class=\"soft\">");
        body.number(assets.len() as u64).markup("</span></li>\n");
    }
    body.markup("</ul>\n");
    let elsewhere = match plan.elsewhere.len() {
        0 => String::new(),
        number => format!("; {number} of them are not in the backup"),
    };
    let about = format!("{} photos and videos{elsewhere}. The files are in {LIBRARY} and Albums beside this page.", seen.len());
    folder.file(&["index.html"], &Page { title: "Photos", about: &about, up: None }.render(&body), None)?;
    Ok(())
}

/// One picture: its small picture or its name, what is worth knowing, and a way to the file.
fn tile(sheet: &mut Html, asset: &Asset, jobs: &[&Job<'_>]) {
    let of = |role: Role| jobs.iter().find(|job| job.role == role);
    let name = asset.original_name.as_deref().unwrap_or(&asset.file_name);
    let file = of(Role::Edited).or_else(|| of(Role::Original)).or_else(|| of(Role::Companion));
    let parts = |job: &Job<'_>| -> Vec<String> { std::iter::once("..".to_owned()).chain(job.path.iter().cloned()).collect() };
    let path = |html: &mut Html, job: &Job<'_>| {
        let parts = parts(job);
        html.path(&parts.iter().map(String::as_str).collect::<Vec<_>>());
    };
    sheet.markup("<figure>");
    if let Some(job) = file {
        sheet.markup("<a href=\"");
        path(sheet, job);
        sheet.markup("\">");
    }
    match of(Role::Thumbnail) {
        Some(job) => {
            sheet.markup("<img loading=\"lazy\" src=\"");
            path(sheet, job);
            sheet.markup("\" alt=\"").text(name).markup("\">");
        }
        None => drop(sheet.markup("<span class=\"blank\">").name(name).markup("</span>")),
    }
    if file.is_some() {
        sheet.markup("</a>");
    }
    sheet.markup("<figcaption>").name(name);
    for (is_so, word) in [
        (asset.is_film, " · video"),
        (asset.is_live, " · live"),
        (of(Role::Edited).is_some(), " · edited"),
        (asset.favourite, " · favourite"),
        (of(Role::Original).is_none(), " · not in the backup"),
    ] {
        if is_so {
            sheet.markup(word);
        }
    }
    sheet.markup("</figcaption></figure>\n");
}
