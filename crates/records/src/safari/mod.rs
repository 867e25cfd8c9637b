//! Safari: where it was, its bookmarks as every browser imports them, the reading list and the open tabs.

mod bookmarks;
mod history;

use jiff::Timestamp;
use russet_apple_format::well_known::{
    SAFARI_BOOKMARKS, SAFARI_HISTORY, SAFARI_HISTORY_OLD, SAFARI_TABS, SAFARI_TABS_IOS14, SAFARI_TABS_OLD, WellKnown,
};
use serde_json::{Value, json};

use self::bookmarks::{Entry, Tab};
use crate::csv::Csv;
use crate::page::{Html, Page};
use crate::{Context, Count, Error, Folder, Kind, Result, time};

/// Safari.
pub const KIND: Kind = Kind {
    name: "safari",
    about: "history, bookmarks, reading list and open tabs as pages, CSV, JSON and a file that browsers import",
    databases: &[SAFARI_HISTORY, SAFARI_HISTORY_OLD, SAFARI_BOOKMARKS, SAFARI_TABS, SAFARI_TABS_OLD, SAFARI_TABS_IOS14],
    write,
};

fn write(context: &Context<'_>, folder: &Folder<'_>) -> Result<Vec<Count>> {
    let mut counts = Vec::new();
    let mut body = Html::default();
    // One database of another form does not keep the others from being read.
    let mut unknown = None;
    let mut of_one = |file: &WellKnown, outcome: Result<()>| match outcome {
        Err(Error::Apple(error)) => {
            folder.remark(format!("{error}; it was written as it is"));
            unknown.get_or_insert(error);
            context.write_raw(folder, file)
        }
        other => other,
    };

    let mut visits = Vec::new();
    for file in [&SAFARI_HISTORY, &SAFARI_HISTORY_OLD] {
        let read = context.open(file).and_then(|tables| match tables {
            Some(tables) => history::read(&tables, &mut visits),
            None => Ok(()),
        });
        of_one(file, read)?;
    }
    history::read_profiles(context, folder, &mut visits)?;
    let mut tree = Vec::new();
    let read = context.open(&SAFARI_BOOKMARKS).and_then(|tables| {
        tree = tables.map(|tables| bookmarks::read(&tables)).transpose()?.unwrap_or_default();
        Ok(())
    });
    of_one(&SAFARI_BOOKMARKS, read)?;
    let mut tabs = Vec::new();
    for file in [&SAFARI_TABS, &SAFARI_TABS_OLD, &SAFARI_TABS_IOS14] {
        let read = context.open(file).and_then(|tables| match tables {
            Some(tables) => bookmarks::read_tabs(&tables, &mut tabs),
            None => Ok(()),
        });
        of_one(file, read)?;
    }
    let is_empty = visits.is_empty() && tree.is_empty() && tabs.is_empty();
    if let Some(error) = unknown.filter(|_| is_empty) {
        return Err(error.into());
    }

    let (list, tree) = bookmarks::take_reading_list(tree);
    counts.extend([Count::of("visit", visits.len()), Count::of("bookmark", bookmarks::count(&tree))]);
    counts.extend([Count::of("reading list page", list.len()), Count::of("tab", tabs.len())]);
    write_tabs(folder, &tabs, &mut body)?;
    write_reading_list(context, folder, &list, &mut body)?;
    if !tree.is_empty() {
        folder.file(&["bookmarks.html"], bookmarks::netscape(&tree, &list).as_bytes(), None)?;
        body.markup("<h2>Bookmarks</h2>\n<p><a href=\"")
            .path(&["bookmarks.html"])
            .markup("\">The file that browsers import</a></p>\n");
        bookmarks::show(&mut body, &tree);
    }
    history::write(context, folder, &visits, &mut body)?;
    let json = json!({
        "bookmarks": tree.iter().map(Entry::json).collect::<Vec<_>>(),
        "reading_list": list.iter().map(Entry::json).collect::<Vec<_>>(),
        "tabs": tabs.iter().map(Tab::json).collect::<Vec<_>>(),
        "history": visits.iter().map(history::Visit::json).collect::<Vec<Value>>(),
    });
    folder.file(&["safari.json"], format!("{json:#}\n").as_bytes(), None)?;
    let about = counts.iter().map(|count| format!("{} {}s", count.number, count.noun)).collect::<Vec<_>>().join(", ");
    folder.file(&["index.html"], &Page { title: "Safari", about: &about, up: None }.render(&body), None)?;
    Ok(counts)
}

fn write_tabs(folder: &Folder<'_>, tabs: &[Tab], body: &mut Html) -> Result<()> {
    if tabs.is_empty() {
        return Ok(());
    }
    let mut csv = Csv::new(&["Group", "Title", "Address", "Last seen", "Private"]);
    body.markup("<h2>Open tabs</h2>\n<ul class=\"list\">\n");
    for tab in tabs {
        let seen = tab.seen.map(time::iso).unwrap_or_default();
        let group = tab.group.as_deref().unwrap_or_default();
        csv.row(&[group, tab.title.as_deref().unwrap_or_default(), &tab.address, &seen, if tab.private { "yes" } else { "no" }]);
        body.markup("<li>").link(&tab.address, tab.title.as_deref().unwrap_or(&tab.address));
        body.markup("<span class=\"soft\">").name(if tab.private { "private" } else { group }).markup("</span></li>\n");
    }
    body.markup("</ul>\n");
    folder.file(&["tabs.csv"], csv.bytes(), None).map(drop)
}

fn write_reading_list(context: &Context<'_>, folder: &Folder<'_>, list: &[Entry], body: &mut Html) -> Result<()> {
    if list.is_empty() {
        return Ok(());
    }
    let mut csv = Csv::new(&["Title", "Address", "Added", "Last read", "Beginning"]);
    body.markup("<h2>Reading list</h2>\n<ul class=\"list\">\n");
    for entry in list {
        let Some(address) = entry.address.as_deref() else { continue };
        let shown = |moment: Option<Timestamp>| moment.map(|moment| time::local(moment, context.zone)).unwrap_or_default();
        let preview = entry.preview.as_deref().unwrap_or_default();
        csv.row(&[entry.title.as_str(), address, &shown(entry.added), &shown(entry.seen), preview]);
        body.markup("<li>").link(address, &entry.title);
        if let Some(added) = entry.added {
            body.markup("<time>").text(&time::date(added, context.zone)).markup("</time>");
        }
        if !preview.is_empty() {
            body.markup("<p>").name(preview).markup("</p>");
        }
        body.markup("</li>\n");
    }
    body.markup("</ul>\n");
    folder.file(&["reading-list.csv"], csv.bytes(), None).map(drop)
}
