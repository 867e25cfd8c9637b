//! iCalendar (RFC 5545), written: lines of at most 75 bytes, texts with their commas and ends of lines escaped, parameters quoted.

use std::fmt::Write as _;

/// No line is longer, its end not counted (RFC 5545, 3.1).
const LONGEST_LINE: usize = 75;

/// A file that is being written.
#[derive(Debug, Default)]
pub(super) struct Lines(String);

impl Lines {
    /// A component and what is in it.
    pub(super) fn component(&mut self, name: &str, inner: impl FnOnce(&mut Lines)) {
        self.value("BEGIN", name);
        inner(self);
        self.value("END", name);
    }

    /// A property whose value is no text: a date, a number, a rule, an address. Ends of lines cannot come into it.
    pub(super) fn value(&mut self, property: &str, value: &str) {
        self.fold(&format!("{property}:{}", value.replace(char::is_control, "")));
    }

    /// A property whose value is text.
    pub(super) fn text(&mut self, property: &str, text: &str) {
        self.fold(&format!("{property}:{}", escaped(text)));
    }

    /// A property whose value is text, if there is any.
    pub(super) fn text_if(&mut self, property: &str, text: Option<&str>) {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            self.text(property, text);
        }
    }

    fn fold(&mut self, line: &str) {
        let (mut length, out) = (0, &mut self.0);
        for c in line.chars() {
            if length + c.len_utf8() > LONGEST_LINE {
                out.push_str("\r\n ");
                length = 1;
            }
            out.push(c);
            length += c.len_utf8();
        }
        out.push_str("\r\n");
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

fn escaped(text: &str) -> String {
    let mut value = String::with_capacity(text.len() + 8);
    for c in text.replace("\r\n", "\n").chars() {
        match c {
            '\n' | '\r' | '\u{2028}' | '\u{2029}' => value.push_str("\\n"),
            '\\' | ';' | ',' => value.extend(['\\', c]),
            '\t' => value.push(c),
            c if c.is_control() => {}
            c => value.push(c),
        }
    }
    value
}

/// A parameter in quotes, `;CN="…"`; what cannot stand in quotes is written as RFC 6868 has it.
pub(super) fn parameter(name: &str, value: &str) -> String {
    let mut text = format!(";{name}=\"");
    for c in value.chars() {
        match c {
            '"' => text.push_str("^'"),
            '^' => text.push_str("^^"),
            '\n' => text.push_str("^n"),
            c if c.is_control() => {}
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

/// A length of time before or after something: `-PT15M`, `P1D`, `PT0S`.
pub(super) fn duration(seconds: i64) -> String {
    let mut text = if seconds < 0 { "-P" } else { "P" }.to_owned();
    let length = seconds.unsigned_abs();
    let (days, rest) = (length / 86_400, length % 86_400);
    if days > 0 {
        write!(text, "{days}D").ok();
    }
    if rest > 0 || days == 0 {
        text.push('T');
        for (count, unit) in [(rest / 3600, 'H'), (rest / 60 % 60, 'M'), (rest % 60, 'S')] {
            if count > 0 {
                write!(text, "{count}{unit}").ok();
            }
        }
        if rest == 0 {
            text.push_str("0S");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(write: impl FnOnce(&mut Lines)) -> String {
        let mut lines = Lines::default();
        write(&mut lines);
        lines.finish()
    }

    #[test]
    fn texts_are_escaped_and_cannot_begin_a_line_of_their_own() {
        let hostile = "a,b;c\\d\r\nEND:VEVENT\rx\ny\u{2028}z\u{0}\u{85}";
        assert_eq!(lines(|l| l.text("SUMMARY", hostile)), "SUMMARY:a\\,b\\;c\\\\d\\nEND:VEVENT\\nx\\ny\\nz\r\n");
        assert_eq!(lines(|l| l.value("URL", "https://x\r\nEND:VEVENT")), "URL:https://xEND:VEVENT\r\n");
        assert_eq!(parameter("CN", "Robin \"R\"; ^x,\ny\r"), ";CN=\"Robin ^'R^'; ^^x,^ny\"");
    }

    #[test]
    fn long_lines_are_folded_between_characters() {
        let text = "ü".repeat(200);
        let folded = lines(|l| l.text("DESCRIPTION", &text));
        for line in folded.split_terminator("\r\n") {
            assert!(line.len() <= LONGEST_LINE, "{line}");
        }
        assert_eq!(folded.replace("\r\n ", ""), format!("DESCRIPTION:{text}\r\n"));
    }

    #[test]
    fn durations_are_written_as_the_standard_has_them() {
        let check = |seconds, expected: &str| assert_eq!(duration(seconds), expected);
        check(0, "PT0S");
        check(-900, "-PT15M");
        check(-86_400, "-P1D");
        check(9 * 3600, "PT9H");
        check(-(86_400 + 3_661), "-P1DT1H1M1S");
        check(i64::MIN, "-P106751991167300DT15H30M8S");
    }
}
