//! An event as the phone knows it, and as a component of iCalendar.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::icalendar::{Lines, duration, parameter};
use super::rule::Rule;
use super::when::{When, utc, write_zone};

/// A calendar.
#[derive(Debug, Clone, Default)]
pub(super) struct Calendar {
    pub(super) title: String,
    /// The account it belongs to.
    pub(super) account: Option<String>,
    /// `#1BADF8`
    pub(super) color: Option<String>,
    pub(super) events: Vec<Event>,
}

/// An event, or one occurrence of another that differs from the rest.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) uid: String,
    pub(super) summary: String,
    pub(super) description: Option<String>,
    pub(super) location: Option<String>,
    /// Latitude and longitude.
    pub(super) place: Option<(f64, f64)>,
    pub(super) url: Option<String>,
    /// Where a video call is.
    pub(super) conference: Option<String>,
    pub(super) start: When,
    /// The first moment, or for whole days the first day, that is no longer part of it.
    pub(super) end: Option<When>,
    pub(super) rules: Vec<Rule>,
    /// What the phone says of its recurrence and this program does not understand.
    pub(super) unknown_rules: Vec<String>,
    /// Occurrences that are left out.
    pub(super) left_out: Vec<When>,
    /// The moment of the occurrence that this one stands for.
    pub(super) instead_of: Option<When>,
    pub(super) organizer: Option<Person>,
    pub(super) attendees: Vec<Person>,
    pub(super) alarms: Vec<Alarm>,
    pub(super) status: Option<Status>,
    /// Whether its time counts as free.
    pub(super) free: bool,
    pub(super) created: Option<i64>,
    pub(super) modified: Option<i64>,
    pub(super) sequence: i64,
}

/// Whether an event takes place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Confirmed,
    Tentative,
    Cancelled,
}

/// Someone who invites or is invited.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Person {
    pub(super) name: Option<String>,
    /// An address, without `mailto:`.
    pub(super) address: Option<String>,
    /// What they answered, as iCalendar counts answers.
    pub(super) answer: i64,
    pub(super) role: i64,
}

/// When to be reminded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Alarm {
    /// Seconds after the beginning; before it if negative.
    Relative(i64),
    /// A moment, in Unix seconds.
    At(i64),
}

impl Status {
    /// As the phone counts them.
    pub(super) fn of(number: i64) -> Option<Status> {
        match number {
            1 => Some(Status::Confirmed),
            2 => Some(Status::Tentative),
            3 => Some(Status::Cancelled),
            _ => None,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Status::Confirmed => "CONFIRMED",
            Status::Tentative => "TENTATIVE",
            Status::Cancelled => "CANCELLED",
        }
    }
}

impl Person {
    fn answer(&self) -> &'static str {
        match self.answer {
            1 => "ACCEPTED",
            2 => "DECLINED",
            3 => "TENTATIVE",
            4 => "DELEGATED",
            _ => "NEEDS-ACTION",
        }
    }

    fn role(&self) -> &'static str {
        match self.role {
            2 => "OPT-PARTICIPANT",
            3 => "CHAIR",
            4 => "NON-PARTICIPANT",
            _ => "REQ-PARTICIPANT",
        }
    }

    /// What people call them.
    pub(super) fn shown(&self) -> &str {
        self.name.as_deref().or(self.address.as_deref()).unwrap_or("somebody")
    }

    /// A calendar knows people by a URI, and some have none.
    fn uri(&self) -> String {
        match &self.address {
            Some(address) if address.contains(':') => address.clone(),
            Some(address) => format!("mailto:{address}"),
            None => "invalid:nobody".to_owned(),
        }
    }

    fn json(&self) -> Value {
        json!({ "name": self.name, "address": self.address, "answer": self.answer().to_ascii_lowercase(), "role": self.role().to_ascii_lowercase() })
    }
}

impl Calendar {
    /// The calendar as a file that other programs import.
    pub(super) fn to_icalendar(&self) -> String {
        let mut lines = Lines::default();
        lines.component("VCALENDAR", |lines| {
            lines.value("VERSION", "2.0");
            lines.value("PRODID", "-//russet//russet//EN");
            lines.value("CALSCALE", "GREGORIAN");
            lines.text("X-WR-CALNAME", &self.title);
            if let Some(color) = &self.color {
                lines.value("X-APPLE-CALENDAR-COLOR", color);
            }
            for (zone, first, last) in self.zones().into_values() {
                write_zone(lines, &zone, first, last);
            }
            for event in &self.events {
                event.write(lines);
            }
        });
        lines.finish()
    }

    /// The zones that events name, by their names, with the first and the last moment in each.
    fn zones(&self) -> BTreeMap<String, (TimeZone, i64, i64)> {
        let mut zones = BTreeMap::new();
        for event in &self.events {
            let untils = event.rules.iter().filter_map(|rule| rule.until.as_ref()).map(When::unix);
            let last = untils.chain(event.end.as_ref().map(When::unix)).max().unwrap_or(event.start.unix());
            for zone in
                [Some(&event.start), event.end.as_ref(), event.instead_of.as_ref()].into_iter().flatten().filter_map(When::zone)
            {
                let Some(name) = zone.iana_name() else { continue };
                let (_, first_known, last_known) =
                    zones.entry(name.to_owned()).or_insert_with(|| (zone.clone(), event.start.unix(), last));
                *first_known = event.start.unix().min(*first_known);
                *last_known = last.max(*last_known);
            }
        }
        zones
    }
}

impl Event {
    /// Writes the component. An event whose beginning no calendar has is left out.
    fn write(&self, lines: &mut Lines) {
        if self.start.iso().is_none() {
            return;
        }
        lines.component("VEVENT", |lines| {
            lines.text("UID", &self.uid);
            lines.value("DTSTAMP", &utc(self.modified.or(self.created).unwrap_or_default()));
            self.start.write(lines, "DTSTART");
            if let Some(end) = &self.end {
                end.write(lines, "DTEND");
            }
            if let Some(instead_of) = &self.instead_of {
                instead_of.write(lines, "RECURRENCE-ID");
            }
            for rule in &self.rules {
                lines.value("RRULE", &rule.value());
            }
            for left_out in &self.left_out {
                left_out.write(lines, "EXDATE");
            }
            lines.text("SUMMARY", &self.summary);
            lines.text_if("DESCRIPTION", self.description.as_deref());
            lines.text_if("LOCATION", self.location.as_deref());
            if let Some((latitude, longitude)) = self.place {
                lines.value("GEO", &format!("{latitude};{longitude}"));
            }
            for (property, value) in [("URL", &self.url), ("CONFERENCE;VALUE=URI", &self.conference)] {
                if let Some(value) = value {
                    lines.value(property, value);
                }
            }
            self.write_people(lines);
            if let Some(status) = self.status {
                lines.value("STATUS", status.word());
            }
            lines.value("TRANSP", if self.free { "TRANSPARENT" } else { "OPAQUE" });
            if self.sequence > 0 {
                lines.value("SEQUENCE", &self.sequence.to_string());
            }
            for (property, moment) in [("CREATED", self.created), ("LAST-MODIFIED", self.modified)] {
                if let Some(moment) = moment {
                    lines.value(property, &utc(moment));
                }
            }
            for alarm in &self.alarms {
                self.write_alarm(lines, alarm);
            }
        });
    }

    fn write_people(&self, lines: &mut Lines) {
        let name = |person: &Person| person.name.as_deref().map(|name| parameter("CN", name)).unwrap_or_default();
        if let Some(organizer) = &self.organizer {
            lines.value(&format!("ORGANIZER{}", name(organizer)), &organizer.uri());
        }
        for person in &self.attendees {
            let property = format!("ATTENDEE{};ROLE={};PARTSTAT={}", name(person), person.role(), person.answer());
            lines.value(&property, &person.uri());
        }
    }

    fn write_alarm(&self, lines: &mut Lines, alarm: &Alarm) {
        lines.component("VALARM", |lines| {
            lines.value("ACTION", "DISPLAY");
            match alarm {
                Alarm::Relative(seconds) => lines.value("TRIGGER", &duration(*seconds)),
                Alarm::At(moment) => lines.value("TRIGGER;VALUE=DATE-TIME", &utc(*moment)),
            }
            lines.text("DESCRIPTION", &self.summary);
        });
    }

    /// Whether it was called off.
    pub(super) fn is_cancelled(&self) -> bool {
        self.status == Some(Status::Cancelled)
    }

    /// The event for programs.
    pub(super) fn json(&self) -> Value {
        let moments = |moments: &[When]| moments.iter().map(When::iso).collect::<Vec<_>>();
        let alarm = |alarm: &Alarm| match alarm {
            Alarm::Relative(seconds) => json!({ "seconds_after_start": seconds }),
            Alarm::At(moment) => json!({ "at": When::Utc(*moment).iso() }),
        };
        json!({
            "uid": self.uid,
            "summary": self.summary,
            "description": self.description,
            "location": self.location,
            "latitude": self.place.map(|place| place.0),
            "longitude": self.place.map(|place| place.1),
            "url": self.url,
            "conference": self.conference,
            "all_day": matches!(self.start, When::Date(_)),
            "start": self.start.iso(),
            "end": self.end.as_ref().and_then(When::iso),
            "time_zone": self.start.zone().and_then(TimeZone::iana_name),
            "recurs": self.rules.iter().map(Rule::value).collect::<Vec<_>>(),
            "recurs_unknown": self.unknown_rules,
            "left_out": moments(&self.left_out),
            "instead_of": self.instead_of.as_ref().and_then(When::iso),
            "organizer": self.organizer.as_ref().map(Person::json),
            "attendees": self.attendees.iter().map(Person::json).collect::<Vec<_>>(),
            "alarms": self.alarms.iter().map(alarm).collect::<Vec<_>>(),
            "status": self.status.map(|status| status.word().to_ascii_lowercase()),
            "free": self.free,
            "created": self.created.and_then(|moment| When::Utc(moment).iso()),
            "modified": self.modified.and_then(|moment| When::Utc(moment).iso()),
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::rule::{Frequency, parts};
    use super::*;

    // 26 October 2026, 09:00 in Chicago.
    const MONDAY: i64 = 1_793_023_200;

    pub(crate) fn event(summary: &str, start: When, end: Option<When>) -> Event {
        Event {
            uid: format!("uid of {summary}"),
            summary: summary.to_owned(),
            description: None,
            location: None,
            place: None,
            url: None,
            conference: None,
            start,
            end,
            rules: Vec::new(),
            unknown_rules: Vec::new(),
            left_out: Vec::new(),
            instead_of: None,
            organizer: None,
            attendees: Vec::new(),
            alarms: Vec::new(),
            status: None,
            free: false,
            created: None,
            modified: None,
            sequence: 0,
        }
    }

    #[test]
    fn a_calendar_is_written_line_by_line_as_the_standard_has_it() {
        let at = |unix| When::new(unix, Some("Asia/Tokyo"), false);
        let rule = Rule {
            frequency: Frequency::Weekly,
            interval: 1,
            count: None,
            until: Some(at(MONDAY + 86_400 * 70)),
            week_start: Some(1),
            parts: parts("D=0MO").unwrap(),
        };
        let standup = Event {
            rules: vec![rule],
            left_out: vec![at(MONDAY + 7 * 86_400)],
            organizer: Some(Person {
                name: Some("Boß \"B\"".into()),
                address: Some("boss@example.org".into()),
                answer: 1,
                role: 3,
            }),
            attendees: vec![Person { name: None, address: Some("tel:+15550100".into()), answer: 2, role: 2 }],
            alarms: vec![Alarm::Relative(-900), Alarm::At(MONDAY)],
            status: Some(Status::Confirmed),
            modified: Some(MONDAY),
            sequence: 3,
            ..event("Standup, daily", at(MONDAY), Some(at(MONDAY + 1800)))
        };
        let days = Event { free: true, place: Some((48.5, -3.25)), ..event("Off", When::Date(20_000), Some(When::Date(20_002))) };
        let calendar = Calendar {
            title: "Work; life".into(),
            color: Some("#1BADF8".into()),
            events: vec![standup, days],
            ..Calendar::default()
        };
        let expected = "BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//russet//russet//EN
CALSCALE:GREGORIAN
X-WR-CALNAME:Work\\; life
X-APPLE-CALENDAR-COLOR:#1BADF8
BEGIN:VTIMEZONE
TZID:Asia/Tokyo
BEGIN:STANDARD
DTSTART:20251025T230000
TZOFFSETFROM:+0900
TZOFFSETTO:+0900
TZNAME:JST
END:STANDARD
END:VTIMEZONE
BEGIN:VEVENT
UID:uid of Standup\\, daily
DTSTAMP:20261026T140000Z
DTSTART;TZID=Asia/Tokyo:20261026T230000
DTEND;TZID=Asia/Tokyo:20261026T233000
RRULE:FREQ=WEEKLY;UNTIL=20270104T140000Z;BYDAY=MO;WKST=MO
EXDATE;TZID=Asia/Tokyo:20261102T230000
SUMMARY:Standup\\, daily
ORGANIZER;CN=\"Boß ^'B^'\":mailto:boss@example.org
ATTENDEE;ROLE=OPT-PARTICIPANT;PARTSTAT=DECLINED:tel:+15550100
STATUS:CONFIRMED
TRANSP:OPAQUE
SEQUENCE:3
LAST-MODIFIED:20261026T140000Z
BEGIN:VALARM
ACTION:DISPLAY
TRIGGER:-PT15M
DESCRIPTION:Standup\\, daily
END:VALARM
BEGIN:VALARM
ACTION:DISPLAY
TRIGGER;VALUE=DATE-TIME:20261026T140000Z
DESCRIPTION:Standup\\, daily
END:VALARM
END:VEVENT
BEGIN:VEVENT
UID:uid of Off
DTSTAMP:19700101T000000Z
DTSTART;VALUE=DATE:20241004
DTEND;VALUE=DATE:20241006
SUMMARY:Off
GEO:48.5;-3.25
TRANSP:TRANSPARENT
END:VEVENT
END:VCALENDAR
";
        assert_eq!(calendar.to_icalendar().replace("\r\n", "\n"), expected);
    }
}
