//! Where Safari was: one row per visit, one page per month.

use std::collections::HashMap;

use jiff::Timestamp;
use russet_apple_format::tables::Tables;
use russet_apple_format::well_known::SAFARI_HISTORY;
use serde_json::{Value, json};

use crate::csv::Csv;
use crate::page::{Html, Page, Table};
use crate::{Context, Error, Folder, Result, time};

/// Where Safari keeps what belongs to a profile, since iOS 17.
const PROFILES: &str = "Library/Safari/Profiles/";

/// A page that was looked at.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Visit {
    pub(super) time: Option<Timestamp>,
    pub(super) title: Option<String>,
    pub(super) address: String,
    /// Whether it was looked at on another device.
    pub(super) elsewhere: bool,
}

impl Visit {
    pub(super) fn json(&self) -> Value {
        json!({ "time": self.time.map(time::iso), "title": self.title, "address": self.address, "other_device": self.elsewhere })
    }
}

/// Adds the visits of a database.
pub(super) fn read(tables: &Tables, visits: &mut Vec<Visit>) -> Result<()> {
    tables.require("history_items", &["id", "url"])?;
    tables.require("history_visits", &["history_item", "visit_time"])?;
    let mut addresses = HashMap::new();
    tables.each("history_items", &["id", "url"], "", (), |row| {
        addresses.insert(row.integer("id"), row.text("url").unwrap_or_default());
        Ok::<_, crate::Error>(())
    })?;
    tables.each("history_visits", &["history_item", "visit_time", "title", "origin"], "", (), |row| {
        if let Some(address) = addresses.get(&row.integer("history_item")) {
            visits.push(Visit {
                time: row.real("visit_time").and_then(time::apple),
                title: row.words("title"),
                address: address.clone(),
                elsewhere: row.integer("origin") == Some(1),
            });
        }
        Ok::<_, crate::Error>(())
    })
}

/// Adds the visits of all profiles.
pub(super) fn read_profiles(context: &Context<'_>, folder: &Folder<'_>, visits: &mut Vec<Visit>) -> Result<()> {
    for item in context.files_below(SAFARI_HISTORY.domain, PROFILES) {
        if !item.path.ends_with(b"/History.db") {
            continue;
        }
        match context.open_item(SAFARI_HISTORY.label, item).and_then(|tables| read(&tables, visits)) {
            Err(Error::Apple(error)) => folder.failed(item.shown(), error.to_string()),
            other => other?,
        }
    }
    Ok(())
}

/// Writes the visits, newest first.
pub(super) fn write(context: &Context<'_>, folder: &Folder<'_>, visits: &[Visit], body: &mut Html) -> Result<()> {
    if visits.is_empty() {
        return Ok(());
    }
    let mut visits: Vec<&Visit> = visits.iter().collect();
    visits.sort_by_key(|visit| std::cmp::Reverse(visit.time));
    let mut csv = Csv::new(&["Time", "Title", "Address", "Other device"]);
    for visit in &visits {
        let time = visit.time.map(|time| time::local(time, context.zone)).unwrap_or_default();
        let title = visit.title.as_deref().unwrap_or_default();
        csv.row(&[time.as_str(), title, &visit.address, if visit.elsewhere { "yes" } else { "no" }]);
    }
    folder.file(&["history.csv"], csv.bytes(), None)?;
    body.markup("<h2>History</h2>\n<ul class=\"list\">\n");
    let month = |visit: &Visit| {
        visit.time.map_or_else(|| "without a date".to_owned(), |time| time::local(time, context.zone)[..7].to_owned())
    };
    for visits in visits.chunk_by(|a, b| month(a) == month(b)) {
        let month = month(visits[0]);
        let mut table = Table::new(&["Time", "Page"]);
        for visit in visits {
            let [mut when, mut page] = [Html::default(), Html::default()];
            when.text(&visit.time.map(|time| time::local(time, context.zone)).unwrap_or_default());
            page.link(&visit.address, visit.title.as_deref().unwrap_or(&visit.address));
            if visit.title.is_some() {
                page.markup("<br><span class=\"soft\">").name(&visit.address).markup("</span>");
            }
            table.row_of(&[when, page]);
        }
        let about = format!("{} visits, newest first", visits.len());
        let page = Page { title: &format!("History, {month}"), about: &about, up: Some((&["..", "index.html"], "Safari")) };
        let name = format!("{month}.html");
        folder.file(&["history", &name], &page.render(&table.finish()), visits[0].time)?;
        body.markup("<li><a href=\"").path(&["history", &name]).markup("\">").text(&month).markup("</a><span class=\"soft\">");
        body.number(visits.len() as u64).markup(" visits</span></li>\n");
    }
    body.markup("</ul>\n");
    Ok(())
}
