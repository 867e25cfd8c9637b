//! The agenda: every event of every calendar, the newest first.

use super::event::{Calendar, Event};
use super::when::When;
use crate::page::{Html, Page, Table};

/// The page; `files` are what the calendars were written to.
pub(super) fn agenda(calendars: &[Calendar], files: &[String]) -> Vec<u8> {
    let mut body = Html::default();
    body.markup("<ul class=\"list\">\n");
    for (calendar, file) in calendars.iter().zip(files) {
        body.markup("<li><a href=\"").path(&[file]).markup("\">").name(&calendar.title).markup("</a> <span class=\"soft\">");
        body.number(calendar.events.len() as u64).markup(" events</span>");
        if let Some(account) = &calendar.account {
            body.markup("<p>").name(account).markup("</p>");
        }
        body.markup("</li>\n");
    }
    body.markup("</ul>\n");
    let mut events: Vec<(&Event, &Calendar)> =
        calendars.iter().flat_map(|calendar| calendar.events.iter().map(move |event| (event, calendar))).collect();
    events.sort_by_key(|(event, _)| std::cmp::Reverse(event.start.unix()));
    for month in events.chunk_by(|(a, _), (b, _)| a.start.month() == b.start.month()) {
        body.markup("<h2>").text(&month[0].0.start.month()).markup("</h2>\n");
        let mut table = Table::new(&["Day", "Time", "Event", "Calendar"]);
        for (event, calendar) in month {
            let [day, time, of] = [text(&days(event)), text(&times(event)), text(&calendar.title)];
            table.row_of(&[day, time, about(event), of]);
        }
        body.piece(&table.finish());
    }
    let about =
        format!("{} events in {} calendars, newest first; each file can be imported elsewhere", events.len(), calendars.len());
    Page { title: "Calendar", about: &about, up: None }.render(&body)
}

fn text(text: &str) -> Html {
    let mut piece = Html::default();
    piece.name(text);
    piece
}

/// `2026-10-26`, `2026-10-26 to 2026-10-28`
fn days(event: &Event) -> String {
    let first = event.start.day();
    let last = match &event.end {
        Some(When::Date(day)) => When::Date(day - 1).day(),
        Some(end) => end.day(),
        None => first.clone(),
    };
    if last == first || last.is_empty() { first } else { format!("{first} to {last}") }
}

/// `09:00–09:30 America/Chicago`
fn times(event: &Event) -> String {
    let Some(start) = event.start.time() else { return "all day".to_owned() };
    let end =
        event.end.as_ref().and_then(When::time).filter(|end| *end != start).map(|end| format!("–{end}")).unwrap_or_default();
    let zone = match &event.start {
        When::Zoned(_, zone) => format!(" {}", zone.iana_name().unwrap_or_default()),
        When::Utc(_) => " UTC".to_owned(),
        _ => String::new(),
    };
    format!("{start}{end}{zone}")
}

fn about(event: &Event) -> Html {
    let mut piece = Html::default();
    piece.name(&event.summary);
    let words: Vec<String> = event.rules.iter().map(|rule| rule.words()).collect();
    let guests: Vec<&str> = event.attendees.iter().map(|person| person.shown()).collect();
    let instead = event.instead_of.as_ref().map(|when| format!("instead of {}", when.day())).unwrap_or_default();
    let organizer = event.organizer.as_ref().map(|person| format!("invited by {}", person.shown())).unwrap_or_default();
    let with = if guests.is_empty() { String::new() } else { format!("with {}", guests.join(", ")) };
    let status = if event.is_cancelled() { "cancelled" } else { "" };
    let where_ = event.location.as_deref().unwrap_or_default();
    for line in [status, where_, &words.join("; "), &instead, &organizer, &with] {
        if !line.is_empty() {
            piece.markup("<br><span class=\"soft\">").name(line).markup("</span>");
        }
    }
    for line in [&event.url, &event.conference, &event.description].into_iter().flatten() {
        piece.markup("<br><span class=\"soft\">").prose(line).markup("</span>");
    }
    piece
}
