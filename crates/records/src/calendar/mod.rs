//! Calendars: each as a file that other programs import, all of them as an agenda and as JSON.

mod event;
mod icalendar;
mod page;
mod reminders;
mod rule;
mod when;

use std::collections::HashMap;

use russet_apple_format::tables::{Fields, Tables};
use russet_apple_format::well_known::CALENDAR;
use serde_json::json;

use self::event::{Alarm, Calendar, Event, Person, Status};
use self::rule::{Frequency, Rule};
use self::when::When;
use crate::name::{self, Names};
use crate::{Context, Count, Folder, Kind, Result, time};

pub use self::reminders::KIND as REMINDERS;

/// Calendars.
pub const KIND: Kind = Kind { name: "calendar", about: "calendars as iCalendar, a page and JSON", databases: &[CALENDAR], write };

/// What an item of the calendar's database can be.
const EVENT: i64 = 2;
const REMINDER: i64 = 3;
/// What a participant can be.
const ATTENDEE: i64 = 7;
const ORGANIZER: i64 = 8;
/// An alarm is less than ten years before or after its event.
const LONGEST_ALARM: i64 = 10 * 366 * 86_400;

fn write(context: &Context<'_>, folder: &Folder<'_>) -> Result<Vec<Count>> {
    let Some(tables) = context.open(&CALENDAR)? else { return Ok(Vec::new()) };
    let Read { calendars, reminders } = read(&tables)?;
    let mut names = Names::default();
    let mut files = Vec::new();
    for calendar in &calendars {
        let newest = calendar.events.iter().filter_map(|event| event.modified).max().and_then(time::unix);
        let name = names.unique(&format!("{}.ics", name::safe(&calendar.title, "Calendar")));
        folder.file(&[&name], calendar.to_icalendar().as_bytes(), newest)?;
        files.push(name);
    }
    let json: Vec<_> = calendars
        .iter()
        .map(|calendar| {
            let events: Vec<_> = calendar.events.iter().map(Event::json).collect();
            json!({ "title": calendar.title, "account": calendar.account, "color": calendar.color, "events": events })
        })
        .collect();
    folder.file(&["calendar.json"], format!("{:#}\n", json!({ "calendars": json })).as_bytes(), None)?;
    folder.file(&["index.html"], &page::agenda(&calendars, &files), None)?;
    let unknown = calendars.iter().flat_map(|calendar| &calendar.events).filter(|event| !event.unknown_rules.is_empty()).count();
    if unknown > 0 {
        folder.remark(format!(
            "events that come again in a way that is not understood, so that they stand once (calendar.json has the phone's words): {unknown}"
        ));
    }
    if reminders > 0 {
        folder.remark(format!("reminders of an older iOS in the calendar's database, which were not written: {reminders}"));
    }
    let events = calendars.iter().map(|calendar| calendar.events.len()).sum();
    Ok(vec![Count::of("calendar", calendars.len()), Count::of("event", events)])
}

struct Read {
    calendars: Vec<Calendar>,
    reminders: usize,
}

/// What belongs to items, by their numbers.
#[derive(Default)]
struct Belongings {
    rules: HashMap<i64, Vec<RawRule>>,
    left_out: HashMap<i64, Vec<i64>>,
    people: HashMap<i64, Vec<(i64, Person)>>,
    alarms: HashMap<i64, Vec<Alarm>>,
    /// Title and address, latitude and longitude.
    places: HashMap<i64, (String, Option<(f64, f64)>)>,
}

/// A recurrence as the phone has it.
struct RawRule {
    frequency: i64,
    interval: i64,
    count: i64,
    until: Option<i64>,
    week_start: i64,
    specifier: String,
}

/// Unix seconds of a time that counts from 2001.
fn seconds(row: &Fields<'_>, column: &str) -> Option<i64> {
    row.real(column).and_then(time::apple).map(|time| time.as_second())
}

fn read(tables: &Tables) -> Result<Read> {
    tables.require("CalendarItem", &["summary", "start_date", "calendar_id"])?;
    tables.require("Calendar", &["title"])?;
    let mut accounts = HashMap::new();
    tables.each("Store", &["ROWID", "name"], "", (), |row| {
        accounts.insert(row.integer("ROWID"), row.words("name"));
        Ok::<_, crate::Error>(())
    })?;
    let mut calendars = Vec::new();
    let mut places: HashMap<Option<i64>, usize> = HashMap::new();
    tables.each("Calendar", &["ROWID", "title", "color", "store_id"], "ORDER BY ROWID", (), |row| {
        places.insert(row.integer("ROWID"), calendars.len());
        calendars.push(Calendar {
            title: row.words("title").unwrap_or_else(|| "Calendar".to_owned()),
            account: accounts.get(&row.integer("store_id")).cloned().flatten(),
            color: row.words("color").filter(|color| is_color(color)),
            events: Vec::new(),
        });
        Ok::<_, crate::Error>(())
    })?;
    let belongings = belongings(tables)?;
    // Which series an occurrence differs from: its identifier, and the moment that it stands for.
    let mut uids = HashMap::new();
    tables.each("CalendarItem", &["ROWID", "unique_identifier", "UUID"], "", (), |row| {
        let row_id = row.integer("ROWID").unwrap_or_default();
        let uid = row.words("unique_identifier").or_else(|| row.words("UUID")).unwrap_or_else(|| format!("item-{row_id}"));
        uids.insert(row_id, uid);
        Ok::<_, crate::Error>(())
    })?;
    let mut reminders = 0;
    let columns = [
        "ROWID",
        "entity_type",
        "calendar_id",
        "summary",
        "description",
        "start_date",
        "start_tz",
        "end_date",
        "end_tz",
        "all_day",
        "location_id",
        "client_location_id",
        "orig_item_id",
        "orig_date",
        "url",
        "conference_url",
        "status",
        "availability",
        "creation_date",
        "last_modified",
        "sequence_num",
        "hidden",
    ];
    tables.each("CalendarItem", &columns, "ORDER BY start_date, ROWID", (), |row| {
        match row.integer("entity_type") {
            None | Some(EVENT) => {}
            Some(REMINDER) => {
                reminders += 1;
                return Ok(());
            }
            Some(_) => return Ok(()),
        }
        if let Some(event) = event(row, &belongings, &uids) {
            let at = places.entry(row.integer("calendar_id")).or_insert_with(|| {
                calendars.push(Calendar { title: "Without a calendar".to_owned(), ..Calendar::default() });
                calendars.len() - 1
            });
            calendars[*at].events.push(event);
        }
        Ok::<_, crate::Error>(())
    })?;
    calendars.retain(|calendar| !calendar.events.is_empty());
    Ok(Read { calendars, reminders })
}

fn is_color(color: &str) -> bool {
    color.strip_prefix('#').is_some_and(|digits| digits.len() <= 8 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// An event; nothing if it does not say when it begins.
fn event(row: &Fields<'_>, belongings: &Belongings, uids: &HashMap<i64, String>) -> Option<Event> {
    let id = row.integer("ROWID")?;
    let all_day = row.flag("all_day");
    let zone = row.words("start_tz");
    let start_at = seconds(row, "start_date")?;
    let start = When::new(start_at, zone.as_deref(), all_day);
    let end = seconds(row, "end_date").filter(|&end| end >= start_at).map(|end| {
        let end_zone = row.words("end_tz").or_else(|| zone.clone());
        match When::new(end, end_zone.as_deref(), all_day) {
            // The phone's last day ends a second before midnight, iCalendar's at midnight.
            When::Date(day) => When::Date(day + 1),
            end => end,
        }
    });
    let original = row.integer("orig_item_id").filter(|&original| original > 0 && original != id);
    let instead_of = original.and_then(|_| seconds(row, "orig_date")).map(|moment| When::new(moment, zone.as_deref(), all_day));
    let uid =
        original.filter(|_| instead_of.is_some()).and_then(|original| uids.get(&original)).or_else(|| uids.get(&id))?.clone();
    let place = ["location_id", "client_location_id"].into_iter().find_map(|column| belongings.places.get(&row.integer(column)?));
    let mut people = belongings.people.get(&id).cloned().unwrap_or_default();
    let organizer = people.iter().position(|(kind, _)| *kind == ORGANIZER).map(|at| people.remove(at).1);
    let (mut rules, mut unknown_rules) = (Vec::new(), Vec::new());
    for raw in belongings.rules.get(&id).into_iter().flatten() {
        match rule(raw, zone.as_deref(), all_day) {
            Some(rule) => rules.push(rule),
            None => unknown_rules.push(raw.specifier.clone()),
        }
    }
    let left_out = belongings.left_out.get(&id).into_iter().flatten();
    Some(Event {
        uid,
        summary: row.words("summary").unwrap_or_else(|| "Untitled".to_owned()),
        description: row.words("description"),
        location: place.map(|place| place.0.clone()).filter(|place| !place.is_empty()),
        place: place.and_then(|place| place.1),
        url: row.words("url"),
        conference: row.words("conference_url"),
        left_out: left_out.map(|&moment| When::new(moment, zone.as_deref(), all_day)).collect(),
        start,
        end,
        rules,
        unknown_rules,
        instead_of,
        organizer,
        attendees: people.into_iter().filter(|(kind, _)| *kind == ATTENDEE).map(|(_, person)| person).collect(),
        alarms: belongings.alarms.get(&id).cloned().unwrap_or_default(),
        status: row.integer("status").and_then(Status::of),
        free: row.integer("availability") == Some(1),
        created: seconds(row, "creation_date"),
        modified: seconds(row, "last_modified"),
        sequence: row.integer("sequence_num").unwrap_or(0),
    })
}

fn rule(raw: &RawRule, zone: Option<&str>, all_day: bool) -> Option<Rule> {
    let positive = |number: i64| u32::try_from(number).ok().filter(|&number| number > 0);
    Some(Rule {
        frequency: Frequency::of(raw.frequency)?,
        interval: positive(raw.interval).unwrap_or(1),
        count: positive(raw.count),
        until: raw.until.map(|until| When::new(until, zone, all_day)),
        week_start: usize::try_from(raw.week_start).ok().filter(|&day| day > 0),
        parts: rule::parts(&raw.specifier)?,
    })
}

fn belongings(tables: &Tables) -> Result<Belongings> {
    let mut belongings = Belongings::default();
    let columns = ["owner_id", "frequency", "interval", "count", "end_date", "week_start", "specifier"];
    tables.each("Recurrence", &columns, "ORDER BY ROWID", (), |row| {
        let Some(owner) = row.integer("owner_id") else { return Ok(()) };
        belongings.rules.entry(owner).or_default().push(RawRule {
            frequency: row.integer("frequency").unwrap_or(0),
            interval: row.integer("interval").unwrap_or(1),
            count: row.integer("count").unwrap_or(0),
            until: seconds(row, "end_date"),
            week_start: row.integer("week_start").unwrap_or(0),
            specifier: row.text("specifier").unwrap_or_default(),
        });
        Ok::<_, crate::Error>(())
    })?;
    tables.each("ExceptionDate", &["owner_id", "date"], "ORDER BY date", (), |row| {
        if let (Some(owner), Some(date)) = (row.integer("owner_id"), seconds(row, "date")) {
            belongings.left_out.entry(owner).or_default().push(date);
        }
        Ok::<_, crate::Error>(())
    })?;
    tables.each("Location", &["ROWID", "title", "address", "latitude", "longitude"], "", (), |row| {
        let words = [row.words("title"), row.words("address")].map(Option::unwrap_or_default);
        let [title, address] = &words;
        let shown = if address.is_empty() || title.contains(&**address) {
            title.clone()
        } else if title.is_empty() {
            address.clone()
        } else {
            format!("{title}, {address}")
        };
        let place = row.real("latitude").zip(row.real("longitude"));
        let place = place.filter(|(north, east)| north.abs() <= 90.0 && east.abs() <= 180.0 && (*north, *east) != (0.0, 0.0));
        belongings.places.insert(row.integer("ROWID").unwrap_or_default(), (shown, place));
        Ok::<_, crate::Error>(())
    })?;
    let mut identities = HashMap::new();
    tables.each("Identity", &["ROWID", "display_name", "address"], "", (), |row| {
        identities.insert(row.integer("ROWID"), (row.words("display_name"), row.words("address")));
        Ok::<_, crate::Error>(())
    })?;
    let columns = ["owner_id", "entity_type", "identity_id", "email", "phone_number", "status", "role"];
    tables.each("Participant", &columns, "ORDER BY ROWID", (), |row| {
        let (Some(owner), Some(kind)) = (row.integer("owner_id"), row.integer("entity_type")) else { return Ok(()) };
        let (name, address) = identities.get(&row.integer("identity_id")).cloned().unwrap_or_default();
        let telephone = || row.words("phone_number").map(|number| format!("tel:{number}"));
        let address = row.words("email").or(address).or_else(telephone);
        let address = address.map(|address| address.strip_prefix("mailto:").map_or(address.clone(), str::to_owned));
        let person = Person { name, address, answer: row.integer("status").unwrap_or(0), role: row.integer("role").unwrap_or(0) };
        belongings.people.entry(owner).or_default().push((kind, person));
        Ok::<_, crate::Error>(())
    })?;
    let columns = ["calendaritem_owner_id", "trigger_interval", "trigger_date", "disabled"];
    tables.each("Alarm", &columns, "ORDER BY ROWID", (), |row| {
        let Some(owner) = row.integer("calendaritem_owner_id").filter(|_| !row.flag("disabled")) else { return Ok(()) };
        let relative = row.integer("trigger_interval").filter(|seconds| seconds.unsigned_abs() < LONGEST_ALARM.unsigned_abs());
        let alarm = seconds(row, "trigger_date").map(Alarm::At).or(relative.map(Alarm::Relative));
        belongings.alarms.entry(owner).or_default().extend(alarm);
        Ok::<_, crate::Error>(())
    })?;
    Ok(belongings)
}
