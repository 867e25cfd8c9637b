//! Numbers, sizes, times and tables as a person reads them.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// `1,204`
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 file`, `1,204 files`
pub(crate) fn plural(number: u64, one: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one.to_owned() } else { several(one) })
}

/// `file` becomes `files`.
pub(crate) fn several(one: &str) -> String {
    match one.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{stem}ies"),
        _ => format!("{one}s"),
    }
}

/// `1.4 GB`; thousands, as disks and phones count them.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    // 999.95 would be printed as 1000.0.
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// `0:42`, `1:02:03`
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// How long something took: short times with a tenth.
pub(crate) fn took(time: Duration) -> String {
    if time < Duration::from_secs(60) { format!("{:.1} s", time.as_secs_f64()) } else { duration(time) }
}

/// `3 days`, `5 hours`: how long something is ago, as people say it.
pub(crate) fn age(seconds: i64) -> String {
    let seconds = seconds.max(0).unsigned_abs();
    let units = [(86_400, "day"), (3_600, "hour"), (60, "minute")];
    // Two of a unit at least: 36 hours say more than a day.
    let unit = units.iter().find(|(length, _)| seconds >= 2 * length);
    unit.map_or_else(|| plural(seconds / 60, "minute"), |(length, name)| plural(seconds / length, name))
}

/// `2026-11-23 21:31`, on this computer's clock.
pub(crate) fn date(unix: i64) -> String {
    match Timestamp::from_second(unix) {
        Ok(time) => time.to_zoned_datetime(TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string(),
        Err(_) => "a date that no calendar has".to_owned(),
    }
}

/// `2026-11-23T21:31:00`, on this computer's clock, for the names of folders.
#[cfg(unix)]
pub(crate) fn local_time(unix: i64) -> String {
    match Timestamp::from_second(unix) {
        Ok(time) => time.to_zoned_datetime(TimeZone::system()).strftime("%Y-%m-%dT%H:%M:%S").to_string(),
        Err(_) => unix.to_string(),
    }
}

/// `2026-11-23T20:31:00Z`, for machines.
pub(crate) fn timestamp(unix: i64) -> Option<String> {
    Timestamp::from_second(unix).ok().map(|time| time.to_string())
}

/// The first eight digits of an id, which is what people type.
pub(crate) fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

/// Long ids in a sentence cut to the digits that people compare.
pub(crate) fn shorten(sentence: &str) -> String {
    let mut text = String::with_capacity(sentence.len());
    let mut rest = sentence;
    while let Some(start) = rest.find(|c: char| c.is_ascii_hexdigit()) {
        let end = rest[start..].find(|c: char| !c.is_ascii_hexdigit()).map_or(rest.len(), |len| start + len);
        let (before, digits) = (&rest[..start], &rest[start..end]);
        text.push_str(before);
        if digits.len() == 64 {
            text.push_str(short(digits));
            text.push('…');
        } else {
            text.push_str(digits);
        }
        rest = &rest[end..];
    }
    text + rest
}

/// Lines under one label, which stands before the first. On a terminal they are broken between words.
pub(crate) fn labelled(label: &str, lines: &[String]) -> Vec<String> {
    let width = crate::terminal::width().map_or(usize::MAX, |width| width.saturating_sub(12).max(20));
    let broken = lines.iter().flat_map(|line| broken(line, width));
    broken.zip(std::iter::once(label).chain(std::iter::repeat(""))).map(|(line, label)| format!("  {label:<9} {line}")).collect()
}

/// A line broken between words; what follows is indented as the line is.
fn broken(line: &str, width: usize) -> Vec<String> {
    if line.chars().count() <= width {
        return vec![line.to_owned()];
    }
    let words = line.trim_start_matches(' ');
    let indent = &line[..line.len() - words.len()];
    let mut lines: Vec<String> = Vec::new();
    let mut current = String::new();
    for word in words.split(' ') {
        if !current.is_empty() && current.chars().count() + 1 + word.chars().count() > width {
            lines.push(std::mem::take(&mut current));
        }
        current.push_str(if current.is_empty() { indent } else { " " });
        current.push_str(word);
    }
    lines.push(current);
    lines
}

/// Rows under headings, each column as wide as it must be.
pub(crate) struct Table {
    headings: Vec<&'static str>,
    /// Numbers stand on the right.
    right: Vec<bool>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A heading that starts with `>` makes a column of numbers.
    pub(crate) fn new(headings: &[&'static str]) -> Table {
        let right = headings.iter().map(|h| h.starts_with('>')).collect();
        Table { headings: headings.iter().map(|h| h.trim_start_matches('>')).collect(), right, rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells = cells.into_iter().map(|cell| crate::out::tame(&cell).replace('\n', "\\n"));
        self.rows.push(cells.collect());
    }

    /// The heading and the rows; nothing at all if there is no row.
    pub(crate) fn lines(&self) -> Vec<String> {
        if self.rows.is_empty() {
            return Vec::new();
        }
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            cells.chain([self.headings[column].chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.headings.len()).map(width).collect();
        let line = |cells: Vec<&str>| {
            let padded = cells.iter().enumerate().map(|(column, cell)| match self.right[column] {
                true => format!("{cell:>width$}", width = widths[column]),
                false => format!("{cell:<width$}", width = widths[column]),
            });
            padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        let heading = line(self.headings.clone());
        std::iter::once(heading).chain(self.rows.iter().map(|row| line(row.iter().map(String::as_str).collect()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_commas_and_words_their_plural() {
        let check = |number, expected: &str| assert_eq!(count(number), expected);
        check(0, "0");
        check(999, "999");
        check(1000, "1,000");
        check(1_234_567, "1,234,567");
        assert_eq!(plural(1, "file"), "1 file");
        assert_eq!(plural(1204, "file"), "1,204 files");
        assert_eq!(plural(2, "directory"), "2 directories");
    }

    #[test]
    fn sizes_never_show_a_thousand_of_a_unit() {
        let check = |bytes, expected: &str| assert_eq!(size(bytes), expected);
        check(0, "0 B");
        check(999, "999 B");
        check(1000, "1.0 kB");
        check(999_949, "999.9 kB");
        check(999_950, "1.0 MB");
        check(1_400_000_000, "1.4 GB");
        check(u64::MAX, "18.4 EB");
    }

    #[test]
    fn durations_are_read_like_a_clock() {
        let check = |seconds, expected: &str| assert_eq!(duration(Duration::from_secs(seconds)), expected);
        check(0, "0:00");
        check(83, "1:23");
        check(3723, "1:02:03");
        assert_eq!(took(Duration::from_millis(1234)), "1.2 s");
    }

    #[test]
    fn an_age_is_said_in_the_largest_unit_of_which_there_are_two() {
        for (seconds, expected) in [
            (-5, "0 minutes"),
            (60, "1 minute"),
            (7_199, "119 minutes"),
            (7_200, "2 hours"),
            (172_799, "47 hours"),
            (259_200, "3 days"),
        ] {
            assert_eq!(age(seconds), expected);
        }
    }

    #[test]
    fn only_whole_ids_are_shortened() {
        let id = "9a45ad0d".repeat(8);
        assert_eq!(shorten(&format!("packs/9a/{id}: chunk {id}")), "packs/9a/9a45ad0d…: chunk 9a45ad0d…");
        assert_eq!(shorten("a face in the café"), "a face in the café");
    }

    #[test]
    fn a_line_is_broken_between_words_and_keeps_its_indent() {
        assert_eq!(broken("one two three", 7), ["one two", "three"]);
        assert_eq!(broken("  one two", 6), ["  one", "  two"]);
        assert_eq!(broken("unbreakable", 3), ["unbreakable"]);
        assert_eq!(labelled("lacks", &["a".into(), "b".into()]), ["  lacks     a", "            b"]);
    }

    #[test]
    fn a_table_is_as_wide_as_its_widest_cells() {
        let mut table = Table::new(&["NAME", ">SIZE"]);
        assert!(table.lines().is_empty());
        table.row(["a".to_owned(), "1 B".to_owned()]);
        table.row(["long name".to_owned(), "22 kB".to_owned()]);
        assert_eq!(table.lines(), ["NAME        SIZE", "a            1 B", "long name  22 kB"]);
    }
}
