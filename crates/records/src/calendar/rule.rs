//! Recurrences: the phone's columns as a rule of RFC 5545, and in words.

use std::fmt::Write as _;

use super::when::When;

/// How an event comes again.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rule {
    pub(super) frequency: Frequency,
    pub(super) interval: u32,
    /// How often in all; otherwise `until` counts.
    pub(super) count: Option<u32>,
    pub(super) until: Option<When>,
    /// The day that a week begins with, Monday = 1.
    pub(super) week_start: Option<usize>,
    /// `BYDAY=…` and the like, in the order of the phone.
    pub(super) parts: Vec<(&'static str, Vec<String>)>,
}

/// The unit of a recurrence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frequency {
    Daily,
    Weekly,
    Monthly,
    Yearly,
}

const DAYS: [(&str, &str); 7] = [
    ("MO", "Monday"),
    ("TU", "Tuesday"),
    ("WE", "Wednesday"),
    ("TH", "Thursday"),
    ("FR", "Friday"),
    ("SA", "Saturday"),
    ("SU", "Sunday"),
];

const MONTHS: [&str; 12] =
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];

impl Frequency {
    /// As the phone counts them.
    pub(super) fn of(number: i64) -> Option<Frequency> {
        Some(match number {
            1 => Frequency::Daily,
            2 => Frequency::Weekly,
            3 => Frequency::Monthly,
            4 => Frequency::Yearly,
            _ => return None,
        })
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Frequency::Daily => ("DAILY", "day"),
            Frequency::Weekly => ("WEEKLY", "week"),
            Frequency::Monthly => ("MONTHLY", "month"),
            Frequency::Yearly => ("YEARLY", "year"),
        }
    }
}

/// Takes the phone's `specifier` apart: `D=+2MO,0FR;O=10` are days of the week with their place, and months. What is not understood is none.
pub(super) fn parts(specifier: &str) -> Option<Vec<(&'static str, Vec<String>)>> {
    let mut parts: Vec<(&'static str, Vec<String>)> = Vec::new();
    for token in specifier.split(';').filter(|token| !token.is_empty()) {
        let (key, values) = token.split_once('=')?;
        let (name, most) = match key {
            "D" => ("BYDAY", 53),
            "M" => ("BYMONTHDAY", 31),
            "O" => ("BYMONTH", 12),
            "S" => ("BYSETPOS", 366),
            "Y" => ("BYYEARDAY", 366),
            "W" => ("BYWEEKNO", 53),
            _ => return None,
        };
        let value = |item: &str| -> Option<String> {
            let (number, day) = match name {
                "BYDAY" => item.split_at_checked(item.len().checked_sub(2)?)?,
                _ => (item, ""),
            };
            if name == "BYDAY" && !DAYS.iter().any(|(short, _)| *short == day) {
                return None;
            }
            let number: i32 = if number.is_empty() { 0 } else { number.parse().ok()? };
            let is_usual = number.unsigned_abs() <= most && (number != 0 || name == "BYDAY");
            is_usual.then(|| if number == 0 { day.to_owned() } else { format!("{number}{day}") })
        };
        let values: Vec<String> = values.split(',').filter(|item| !item.is_empty()).map(value).collect::<Option<_>>()?;
        if !values.is_empty() && parts.iter().all(|(there, _)| *there != name) {
            parts.push((name, values));
        }
    }
    Some(parts)
}

impl Rule {
    /// The value of `RRULE`.
    pub(super) fn value(&self) -> String {
        let mut value = format!("FREQ={}", self.frequency.words().0);
        if self.interval > 1 {
            write!(value, ";INTERVAL={}", self.interval).ok();
        }
        match (self.count, &self.until) {
            (Some(count), _) => drop(write!(value, ";COUNT={count}")),
            (None, Some(until)) => drop(write!(value, ";UNTIL={}", until.in_utc())),
            (None, None) => {}
        }
        for (name, values) in &self.parts {
            write!(value, ";{name}={}", values.join(",")).ok();
        }
        if let Some((day, _)) = self.week_start.and_then(|number| DAYS.get(number.checked_sub(1)?)) {
            write!(value, ";WKST={day}").ok();
        }
        value
    }

    /// In words: `every 2 weeks on Monday and Friday, 10 times`.
    pub(super) fn words(&self) -> String {
        let unit = self.frequency.words().1;
        let mut words = if self.interval > 1 { format!("every {} {unit}s", self.interval) } else { format!("every {unit}") };
        for (name, values) in &self.parts {
            let named: Vec<String> = values.iter().map(|value| in_words(name, value)).collect();
            match *name {
                "BYDAY" => drop(write!(words, " on {}", listed(&named))),
                "BYMONTH" => drop(write!(words, " in {}", listed(&named))),
                "BYMONTHDAY" => drop(write!(words, " on the {}", listed(&named))),
                "BYYEARDAY" => drop(write!(words, " on the {} day of the year", listed(&named))),
                "BYWEEKNO" => drop(write!(words, " in the {} week", listed(&named))),
                _ => drop(write!(words, ", the {} of these", listed(&named))),
            }
        }
        match (self.count, &self.until) {
            (Some(count), _) => drop(write!(words, ", {count} times")),
            (None, Some(until)) => drop(write!(words, " until {}", until.day())),
            (None, None) => {}
        }
        words
    }
}

fn in_words(name: &str, value: &str) -> String {
    match name {
        "BYDAY" => {
            let (number, day) = value.split_at(value.len().saturating_sub(2));
            let day = DAYS.iter().find(|(short, _)| *short == day).map_or(day, |(_, long)| long);
            if number.is_empty() { day.to_owned() } else { format!("the {} {day}", ordinal(number)) }
        }
        "BYMONTH" => {
            let month = value.parse::<usize>().ok().and_then(|month| MONTHS.get(month.checked_sub(1)?));
            month.map_or_else(|| value.to_owned(), |month| (*month).to_owned())
        }
        _ => ordinal(value),
    }
}

/// `2nd`, `last`, `2nd to last`
fn ordinal(number: &str) -> String {
    let place = |number: i32| {
        let ending = match (number % 10, number % 100) {
            (1, tens) if tens != 11 => "st",
            (2, tens) if tens != 12 => "nd",
            (3, tens) if tens != 13 => "rd",
            _ => "th",
        };
        format!("{number}{ending}")
    };
    match number.parse::<i32>() {
        Ok(-1) => "last".to_owned(),
        Ok(number) if number < 0 => format!("{} to last", place(number.saturating_abs())),
        Ok(number) => place(number),
        Err(_) => number.to_owned(),
    }
}

/// `a, b and c`
fn listed(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(specifier: &str) -> Rule {
        let parts = parts(specifier).unwrap();
        Rule { frequency: Frequency::Monthly, interval: 2, count: None, until: None, week_start: None, parts }
    }

    #[test]
    fn the_phones_columns_become_a_rule_and_words() {
        let check = |rule: Rule, value: &str, words: &str| assert_eq!((&*rule.value(), &*rule.words()), (value, words));
        check(rule(""), "FREQ=MONTHLY;INTERVAL=2", "every 2 months");
        check(
            Rule { count: Some(10), week_start: Some(7), ..rule("D=+2MO,-1FR,0SU;O=10") },
            "FREQ=MONTHLY;INTERVAL=2;COUNT=10;BYDAY=2MO,-1FR,SU;BYMONTH=10;WKST=SU",
            "every 2 months on the 2nd Monday, the last Friday and Sunday in October, 10 times",
        );
        check(
            Rule { frequency: Frequency::Yearly, interval: 1, until: Some(When::Date(20_000)), ..rule("M=1,-2") },
            "FREQ=YEARLY;UNTIL=20241004;BYMONTHDAY=1,-2",
            "every year on the 1st and 2nd to last until 2024-10-04",
        );
    }

    #[test]
    fn what_is_not_understood_is_not_guessed() {
        for bad in ["Q=1", "D", "D=0XX", "D=MO\r\nX:y", "M=32", "O=0", "S=x", "D=99999999999MO", "D=é"] {
            assert_eq!(parts(bad), None, "{bad}");
        }
    }
}
