//! A recovery key on paper: words in numbered columns, a QR code, a page to print.

use std::fmt::Write as _;
use std::path::Path;

use qrcode::{Color, EcLevel, QrCode};
use zeroize::Zeroizing;

use crate::report::{Code, Failure, Result};

/// Words stand beside each other in so many columns. They are numbered along the lines, so that a copied block keeps its order.
const COLUMNS: usize = 4;
/// Modules of white that a reader wants around a code.
const MARGIN: usize = 4;

/// What is printed.
pub(crate) struct Page<'a> {
    pub(crate) repository: String,
    /// On this computer's clock.
    pub(crate) made: String,
    pub(crate) words: &'a str,
}

const TITLE: &str = "Recovery key of a russet repository";
const WHAT: [&str; 3] = [
    "These words open every backup in the repository when its password is lost. Whoever has them can read everything:",
    "keep this page as you keep a passport, and not beside the repository.",
    "To use them, type them in place of the password, in this order; of each word the first four letters are enough.",
];

impl Page<'_> {
    /// The page in the form that the file's name asks for.
    pub(crate) fn for_file(&self, path: &Path) -> Result<Zeroizing<String>> {
        match path.extension().and_then(|end| end.to_str()).map(str::to_ascii_lowercase).as_deref() {
            Some("html" | "htm") => self.html(),
            Some("svg") => self.svg(),
            _ => Err(Failure::new(Code::Usage, format!("{} is neither .html nor .svg", path.display()))
                .hint("a browser prints both: `russet key recovery --to page.html`")),
        }
    }

    fn html(&self) -> Result<Zeroizing<String>> {
        let (size, modules) = qr_as_path(self.words)?;
        let mut words = Zeroizing::new(String::new());
        for word in self.words.split(' ') {
            write!(words, "<li>{word}</li>").expect("writing to a string cannot fail");
        }
        let Page { repository, made, .. } = self;
        Ok(Zeroizing::new(format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{TITLE}</title>\n<style>\n\
             body {{ font: 11pt/1.5 sans-serif; max-width: 42em; margin: 2em auto; color: #000; background: #fff }}\n\
             ol {{ columns: {COLUMNS}; font: 13pt/1.9 monospace; padding-left: 3em }}\n\
             svg {{ width: 7cm; height: 7cm }}\n</style></head>\n<body><h1>{TITLE}</h1>\n<p>{}</p>\n\
             <ol>{}</ol>\n<svg viewBox=\"0 0 {size} {size}\" shape-rendering=\"crispEdges\"><path d=\"{}\"/></svg>\n\
             <p>Repository {repository}<br>Made {made}</p></body></html>\n",
            WHAT.join(" "),
            *words,
            *modules
        )))
    }

    /// A sheet of A4 in millimetres.
    fn svg(&self) -> Result<Zeroizing<String>> {
        let (size, modules) = qr_as_path(self.words)?;
        let mut text = Zeroizing::new(String::new());
        let mut put = |x: usize, y: usize, height: f32, words: &str| {
            writeln!(text, "<text x=\"{x}\" y=\"{y}\" font-size=\"{height}\">{words}</text>")
                .expect("writing to a string cannot fail");
        };
        put(20, 30, 7.0, TITLE);
        for (line, words) in WHAT.iter().enumerate() {
            put(20, 42 + 6 * line, 3.2, words);
        }
        for (number, word) in self.words.split(' ').enumerate() {
            put(20 + 44 * (number % COLUMNS), 72 + 10 * (number / COLUMNS), 5.0, &format!("{}. {word}", number + 1));
        }
        put(20, 225, 4.0, &format!("Repository {}", self.repository));
        put(20, 232, 4.0, &format!("Made {}", self.made));
        let scale = 75.0 / size as f32;
        Ok(Zeroizing::new(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"210mm\" height=\"297mm\" viewBox=\"0 0 210 297\" font-family=\"sans-serif\">\n\
             <rect width=\"210\" height=\"297\" fill=\"#fff\"/>\n{}<g transform=\"translate(17 138) scale({scale})\" \
             shape-rendering=\"crispEdges\"><path d=\"{}\"/></g>\n</svg>\n",
            *text, *modules
        )))
    }
}

/// The words as lines for a terminal. Keys of letters are one line.
pub(crate) fn columns(key: &str) -> Vec<String> {
    let words: Vec<&str> = key.split(' ').collect();
    let cell = |(number, word): (usize, &&str)| format!("{number:>2} {word:<8}");
    if words.len() == 1 {
        return vec![key.to_owned()];
    }
    let cells: Vec<String> = (1..).zip(&words).map(cell).collect();
    cells.chunks(COLUMNS).map(|row| format!("  {}", row.join("   ")).trim_end().to_owned()).collect()
}

/// A QR code out of half blocks. Terminals are mostly dark, so there the light modules are drawn; on paper the dark ones are.
pub(crate) fn qr_in_text(key: &str, on_terminal: bool) -> Result<Zeroizing<String>> {
    let (width, modules) = qr(key)?;
    let is_drawn = |x: usize, y: usize| {
        let at = |v: usize| v.checked_sub(MARGIN).filter(|&v| v < width);
        let dark = at(x).zip(at(y)).is_some_and(|(x, y)| modules[y * width + x]);
        // The line below an odd last one is not drawn at all.
        dark != on_terminal && y < width + 2 * MARGIN
    };
    let mut text = Zeroizing::new(String::new());
    for y in (0..width + 2 * MARGIN).step_by(2) {
        for x in 0..width + 2 * MARGIN {
            text.push(match (is_drawn(x, y), is_drawn(x, y + 1)) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            });
        }
        text.push('\n');
    }
    text.pop();
    Ok(text)
}

/// The side of the code with its margin, and its dark modules as the path of an SVG.
fn qr_as_path(key: &str) -> Result<(usize, Zeroizing<String>)> {
    let (width, modules) = qr(key)?;
    let mut path = Zeroizing::new(String::new());
    for (at, _) in modules.iter().enumerate().filter(|(_, dark)| **dark) {
        write!(path, "M{} {}h1v1h-1z", at % width + MARGIN, at / width + MARGIN).expect("writing to a string cannot fail");
    }
    Ok((width + 2 * MARGIN, path))
}

/// The modules of a code, row by row. Capitals take fewer of them, and are read as well.
fn qr(key: &str) -> Result<(usize, Zeroizing<Vec<bool>>)> {
    let capitals = Zeroizing::new(key.to_uppercase());
    let code = QrCode::with_error_correction_level(capitals.as_bytes(), EcLevel::M)
        .map_err(|error| Failure::new(Code::Unexpected, format!("no QR code could be made: {error}")))?;
    let width = code.width();
    Ok((width, Zeroizing::new(code.into_colors().into_iter().map(|colour| colour == Color::Dark).collect())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use russet_repository::format::recovery::RecoveryKey;

    #[test]
    fn what_is_printed_is_read_again_when_it_is_typed_or_copied() {
        let key = RecoveryKey::random().unwrap().text();
        let typed = columns(&key).join("\n");
        assert_eq!(columns(&key).len(), 6);
        assert_eq!(RecoveryKey::parse(&typed).unwrap().text(), key);
        let page = Page { repository: "00ff".into(), made: "2026-11-23 21:31".into(), words: &key };
        for file in ["a.html", "a.SVG"] {
            let text = page.for_file(Path::new(file)).unwrap();
            assert!(
                key.split(' ').all(|word| text.contains(word)) && text.contains("00ff") && text.contains("2026-11-23"),
                "{file}"
            );
        }
        assert!(page.for_file(Path::new("a.pdf")).is_err());
    }

    #[test]
    fn the_code_on_a_terminal_is_the_negative_of_the_one_on_paper() {
        let key = "legal winner thank";
        let (terminal, paper) = (qr_in_text(key, true).unwrap(), qr_in_text(key, false).unwrap());
        let first = |text: &str| text.chars().next();
        assert_eq!((first(&terminal), first(&paper)), (Some('█'), Some(' ')));
        let negative = |c| match c {
            '█' => ' ',
            ' ' => '█',
            '▀' => '▄',
            '▄' => '▀',
            other => other,
        };
        let lines = terminal.lines().count();
        let but_last = |text: &str| text.lines().take(lines - 1).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(but_last(&terminal.chars().map(negative).collect::<String>()), but_last(&paper));
    }
}
