//! Tables for spreadsheets (RFC 4180, in UTF-8).
//!
//! A cell that begins like a formula is run as one by spreadsheets, and names come from strangers: such a cell gets an apostrophe before it.
//! Telephone numbers are left as they are.

/// A table under construction.
#[derive(Debug)]
pub struct Csv(String);

impl Csv {
    /// A table with these headings.
    pub fn new(headings: &[&str]) -> Csv {
        // The mark is how Excel knows that it is UTF-8.
        let mut csv = Csv("\u{feff}".to_owned());
        csv.row(headings);
        csv
    }

    /// Adds a row.
    pub fn row<T: AsRef<str>>(&mut self, cells: &[T]) {
        for (at, cell) in cells.iter().enumerate() {
            if at > 0 {
                self.0.push(',');
            }
            self.cell(cell.as_ref());
        }
        self.0.push_str("\r\n");
    }

    /// The file.
    pub fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    fn cell(&mut self, text: &str) {
        let guard = if is_formula(text) { "'" } else { "" };
        if text.contains([',', '"', '\n', '\r']) || text.starts_with(' ') || text.ends_with(' ') {
            self.0.extend(["\"", guard, &text.replace('"', "\"\""), "\""]);
        } else {
            self.0.extend([guard, text]);
        }
    }
}

fn is_formula(text: &str) -> bool {
    match text.chars().next() {
        Some('=' | '@' | '\t' | '\r') => true,
        Some('+' | '-') => !text[1..].chars().all(|c| c.is_ascii_digit() || " ().-/\u{a0}".contains(c)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_stay_cells() {
        let mut csv = Csv::new(&["a", "b"]);
        csv.row(&["one, \"two\"", "three\nfour"]);
        csv.row(&["+1 (555) 010-99", "+cmd|' /C calc'!A0"]);
        csv.row(&["=1+1", "-5.2"]);
        let text = String::from_utf8(csv.bytes().to_vec()).unwrap();
        let expected =
            "\u{feff}a,b\r\n\"one, \"\"two\"\"\",\"three\nfour\"\r\n+1 (555) 010-99,'+cmd|' /C calc'!A0\r\n'=1+1,-5.2\r\n";
        assert_eq!(text, expected);
    }
}
