//! Reminders, since iOS 13: a list of things to do for each list, as iCalendar, a page and JSON.

use std::collections::HashMap;

use jiff::Timestamp;
use russet_apple_format::tables::Tables;
use russet_apple_format::well_known::{REMINDERS, REMINDERS_IOS16, WellKnown};
use serde_json::{Value, json};

use super::icalendar::Lines;
use super::when::{When, utc};
use crate::name::{self, Names};
use crate::page::{Html, Page};
use crate::{Context, Count, Error, Folder, Kind, Result, time};

/// Reminders.
pub const KIND: Kind =
    Kind { name: "reminders", about: "reminders as iCalendar, a page and JSON", databases: &[STORES, STORES_IOS16], write };

/// There is a store for each account, whose name nobody knows beforehand.
const STORES: WellKnown = WellKnown { label: "Reminders", domain: REMINDERS.domain, path: "Container_v1/Stores/Data-" };
const STORES_IOS16: WellKnown = WellKnown {
    label: "Reminders (iOS 16)",
    domain: REMINDERS_IOS16.domain,
    path: "Library/Reminders/Container_v1/Stores/Data-",
};

/// Something to do.
#[derive(Debug, Clone, Default, PartialEq)]
struct Reminder {
    uid: String,
    title: String,
    notes: Option<String>,
    list: String,
    due: Option<Timestamp>,
    /// Whether only the day counts.
    all_day: bool,
    done: bool,
    completed: Option<Timestamp>,
    created: Option<Timestamp>,
    modified: Option<Timestamp>,
    flagged: bool,
    priority: i64,
}

fn write(context: &Context<'_>, folder: &Folder<'_>) -> Result<Vec<Count>> {
    let mut reminders = Vec::new();
    let mut unknown = None;
    for file in [&STORES, &STORES_IOS16] {
        for item in context.files_below(file.domain, file.path).filter(|item| item.node.is_some()) {
            let path = String::from_utf8_lossy(&item.path);
            if !path.ends_with(".sqlite") {
                continue;
            }
            match context.open_item(file.label, item).and_then(|tables| read(&tables, &mut reminders)) {
                Err(Error::Apple(error)) => {
                    folder.copy(&["raw", path.rsplit('/').next().unwrap_or_default()], item)?;
                    folder.remark(format!("{path}: {error}; it was written as it is"));
                    unknown.get_or_insert(error);
                }
                other => other?,
            }
        }
    }
    if let Some(error) = unknown.filter(|_| reminders.is_empty()) {
        return Err(error.into());
    }
    reminders.sort_by(|a, b| (&a.list, a.done, a.due.is_none(), a.due).cmp(&(&b.list, b.done, b.due.is_none(), b.due)));
    let mut names = Names::default();
    let mut body = Html::default();
    let lists: Vec<&[Reminder]> = reminders.chunk_by(|a, b| a.list == b.list).collect();
    for list in &lists {
        let file = names.unique(&format!("{}.ics", name::safe(&list[0].list, "Reminders")));
        folder.file(&[&file], to_icalendar(list).as_bytes(), list.iter().filter_map(|reminder| reminder.modified).max())?;
        body.markup("<h2>").name(&list[0].list).markup("</h2>\n<p><a href=\"").path(&[&file]).markup("\">").name(&file);
        body.markup("</a></p>\n<ul class=\"checks\">\n");
        for reminder in *list {
            body.markup(if reminder.done { "<li class=\"done\">☑ " } else { "<li>☐ " }).name(&reminder.title);
            if let Some(due) = reminder.due {
                let due = if reminder.all_day { time::date(due, context.zone) } else { time::date_and_clock(due, context.zone) };
                body.markup(" <time>").text(&due).markup("</time>");
            }
            if let Some(notes) = &reminder.notes {
                body.markup("<br><span class=\"soft\">").prose(notes).markup("</span>");
            }
            body.markup("</li>\n");
        }
        body.markup("</ul>\n");
    }
    let json: Vec<Value> = reminders.iter().map(Reminder::json).collect();
    folder.file(&["reminders.json"], format!("{:#}\n", json!({ "reminders": json })).as_bytes(), None)?;
    let about = format!("{} reminders in {} lists; each file can be imported elsewhere", reminders.len(), lists.len());
    folder.file(&["index.html"], &Page { title: "Reminders", about: &about, up: None }.render(&body), None)?;
    Ok(vec![Count::of("list", lists.len()), Count::of("reminder", reminders.len())])
}

/// Adds the reminders of a store. Until iOS 15 one table holds everything, and another says by which number reminders are known in it.
fn read(tables: &Tables, reminders: &mut Vec<Reminder>) -> Result<()> {
    let (table, lists, kind) = match tables.columns("ZREMCDREMINDER").is_empty() {
        false => ("ZREMCDREMINDER", "ZREMCDBASELIST", None),
        true => {
            tables.require("ZREMCDOBJECT", &["Z_PK", "Z_ENT"])?;
            let mut kind = None;
            tables.each("Z_PRIMARYKEY", &["Z_ENT"], "WHERE Z_NAME = 'REMCDReminder'", (), |row| {
                kind = row.integer("Z_ENT");
                Ok::<_, Error>(())
            })?;
            ("ZREMCDOBJECT", "ZREMCDOBJECT", Some(kind))
        }
    };
    let title = if tables.has(table, "ZTITLE1") && kind.is_some() { "ZTITLE1" } else { "ZTITLE" };
    tables.require(table, &[title])?;
    let mut names = HashMap::new();
    tables.each(lists, &["Z_PK", "ZNAME", "ZNAME1", "ZNAME2"], "", (), |row| {
        let name = ["ZNAME", "ZNAME1", "ZNAME2"].into_iter().find_map(|column| row.words(column));
        names.extend(row.integer("Z_PK").zip(name));
        Ok::<_, Error>(())
    })?;
    let columns = [
        "Z_PK",
        "Z_ENT",
        title,
        "ZNOTES",
        "ZLIST",
        "ZDUEDATE",
        "ZALLDAY",
        "ZCOMPLETED",
        "ZCOMPLETIONDATE",
        "ZCREATIONDATE",
        "ZLASTMODIFIEDDATE",
        "ZFLAGGED",
        "ZPRIORITY",
        "ZMARKEDFORDELETION",
        "ZCKIDENTIFIER",
    ];
    tables.each(table, &columns, "ORDER BY Z_PK", (), |row| {
        if row.flag("ZMARKEDFORDELETION") || kind.is_some_and(|kind| row.integer("Z_ENT") != kind) {
            return Ok(());
        }
        let date = |column: &str| row.real(column).and_then(time::apple);
        let list = row.integer("ZLIST").and_then(|list| names.get(&list)).cloned();
        reminders.push(Reminder {
            uid: row.words("ZCKIDENTIFIER").unwrap_or_else(|| format!("reminder-{}", row.integer("Z_PK").unwrap_or_default())),
            title: row.words(title).unwrap_or_else(|| "Untitled".to_owned()),
            notes: row.words("ZNOTES"),
            list: list.unwrap_or_else(|| "Reminders".to_owned()),
            due: date("ZDUEDATE"),
            all_day: row.flag("ZALLDAY"),
            done: row.flag("ZCOMPLETED"),
            completed: date("ZCOMPLETIONDATE"),
            created: date("ZCREATIONDATE"),
            modified: date("ZLASTMODIFIEDDATE"),
            flagged: row.flag("ZFLAGGED"),
            priority: row.integer("ZPRIORITY").filter(|priority| (0..=9).contains(priority)).unwrap_or(0),
        });
        Ok::<_, Error>(())
    })
}

impl Reminder {
    fn json(&self) -> Value {
        json!({
            "title": self.title,
            "notes": self.notes,
            "list": self.list,
            "due": self.due.map(time::iso),
            "all_day": self.all_day,
            "done": self.done,
            "completed": self.completed.map(time::iso),
            "created": self.created.map(time::iso),
            "modified": self.modified.map(time::iso),
            "flagged": self.flagged,
            "priority": self.priority,
        })
    }
}

fn to_icalendar(list: &[Reminder]) -> String {
    let mut lines = Lines::default();
    lines.component("VCALENDAR", |lines| {
        lines.value("VERSION", "2.0");
        lines.value("PRODID", "-//russet//russet//EN");
        lines.text("X-WR-CALNAME", &list[0].list);
        for reminder in list {
            lines.component("VTODO", |lines| {
                let stamp = |moment: Timestamp| utc(moment.as_second());
                lines.text("UID", &reminder.uid);
                lines.value("DTSTAMP", &reminder.modified.or(reminder.created).map_or_else(|| utc(0), stamp));
                lines.text("SUMMARY", &reminder.title);
                lines.text_if("DESCRIPTION", reminder.notes.as_deref());
                if let Some(due) = reminder.due {
                    When::new(due.as_second(), None, reminder.all_day).write(lines, "DUE");
                }
                if reminder.priority > 0 {
                    lines.value("PRIORITY", &reminder.priority.to_string());
                }
                lines.value("STATUS", if reminder.done { "COMPLETED" } else { "NEEDS-ACTION" });
                for (property, moment) in
                    [("COMPLETED", reminder.completed), ("CREATED", reminder.created), ("LAST-MODIFIED", reminder.modified)]
                {
                    if let Some(moment) = moment {
                        lines.value(property, &stamp(moment));
                    }
                }
            });
        }
    });
    lines.finish()
}
