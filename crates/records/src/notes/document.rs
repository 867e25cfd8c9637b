//! The text of a note: a gzipped message with the plain text, and runs that say how parts of it look.
//!
//! Runs count in UTF-16 units, as NSString does. A run that claims more than there is ends with the text, and text that no run covers is plain.

use std::io::Read;

use flate2::read::GzDecoder;

use crate::protobuf::{Damaged, Message};

/// A longer note, unpacked with its history, is not taken: the longest that Apple's app still opens are a tenth of it.
pub(super) const LARGEST: u64 = 32 << 20;
/// The longest text that is laid out.
pub(super) const LONGEST_TEXT: usize = 2 << 20;
/// A longer link is none that a person made.
const LONGEST_LINK: usize = 8 << 10;

/// What can be wrong with the text of a note.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum DocumentError {
    #[error("it cannot be unpacked")]
    Packed,
    #[error("it is longer than any note")]
    TooLong,
    #[error(transparent)]
    Damaged(#[from] Damaged),
    #[error("it has no text")]
    NoText,
}

/// Unpacks what a column of the database holds; what is not packed is taken as it is.
pub(super) fn unpack(blob: &[u8]) -> Result<Vec<u8>, DocumentError> {
    if !blob.starts_with(&[0x1f, 0x8b]) {
        return if blob.len() as u64 > LARGEST { Err(DocumentError::TooLong) } else { Ok(blob.to_vec()) };
    }
    let mut bytes = Vec::new();
    GzDecoder::new(blob).take(LARGEST + 1).read_to_end(&mut bytes).map_err(|_| DocumentError::Packed)?;
    if bytes.len() as u64 > LARGEST {
        return Err(DocumentError::TooLong);
    }
    Ok(bytes)
}

/// What kind of paragraph it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Body,
    Title,
    Heading,
    Subheading,
    Monospaced,
    Dotted,
    Dashed,
    Numbered,
    Check { done: bool },
}

impl Style {
    /// Whether it is an item of a list.
    pub(super) fn is_item(self) -> bool {
        matches!(self, Style::Dotted | Style::Dashed | Style::Numbered | Style::Check { .. })
    }
}

/// A paragraph.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Paragraph {
    pub(super) style: Style,
    /// How deep it is indented, or how deep its list lies in others.
    pub(super) indent: usize,
    pub(super) quote: bool,
    pub(super) spans: Vec<Span>,
}

/// Text of one look, or one attachment.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Span {
    pub(super) text: String,
    pub(super) look: Look,
}

/// How text looks.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Look {
    pub(super) bold: bool,
    pub(super) italic: bool,
    pub(super) underlined: bool,
    pub(super) struck: bool,
    pub(super) link: Option<String>,
    /// The identifier of the attachment that stands for the text, and its uniform type identifier.
    pub(super) attachment: Option<(String, String)>,
}

/// A note's text with its runs, read where it lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Document<'a> {
    note: Message<'a>,
    pub(super) text: &'a str,
}

impl<'a> Document<'a> {
    /// Finds the text in an unpacked note.
    pub(super) fn parse(unpacked: &'a [u8]) -> Result<Document<'a>, DocumentError> {
        let document = Message::new(unpacked).message(2)?.ok_or(DocumentError::NoText)?;
        Document::of_note(document.message(3)?.ok_or(DocumentError::NoText)?)
    }

    /// The same for a message that holds text and runs: the cells of a table are such.
    pub(super) fn of_note(note: Message<'a>) -> Result<Document<'a>, DocumentError> {
        let text = note.text(2)?.ok_or(DocumentError::NoText)?;
        if text.len() > LONGEST_TEXT {
            return Err(DocumentError::TooLong);
        }
        Ok(Document { note, text })
    }

    /// The paragraphs, one after the other.
    pub(super) fn paragraphs(self) -> Result<Vec<Paragraph>, DocumentError> {
        let mut paragraphs = Vec::new();
        let mut open: Option<Paragraph> = None;
        let mut rest = self.text;
        let mut runs = self.note.messages(5);
        while !rest.is_empty() {
            let run = runs.next().transpose()?;
            let length = run.map(|run| run.number(1)).transpose()?.flatten();
            // Without any further run the rest of the text is one.
            let length = if run.is_some() { usize::try_from(length.unwrap_or(0)).unwrap_or(0) } else { usize::MAX };
            let (covered, after) = split_utf16(rest, length);
            rest = after;
            let (form, look) = match run {
                Some(run) => (form(run)?, look(run)?),
                None => ((Style::Body, 0, false), Look::default()),
            };
            for (number, part) in covered.split('\n').enumerate() {
                if number > 0 {
                    // The end of a line belongs to the line, so a run of nothing but it says what an empty line is.
                    paragraphs.push(open.take().unwrap_or_else(|| new_paragraph(form)));
                }
                if !part.is_empty() {
                    let paragraph = open.get_or_insert_with(|| new_paragraph(form));
                    paragraph.spans.push(Span { text: part.to_owned(), look: look.clone() });
                }
            }
        }
        paragraphs.extend(open);
        Ok(paragraphs)
    }
}

fn new_paragraph((style, indent, quote): (Style, usize, bool)) -> Paragraph {
    Paragraph { style, indent, quote, spans: Vec::new() }
}

/// Splits after so many UTF-16 units, and never inside a character.
fn split_utf16(text: &str, units: usize) -> (&str, &str) {
    let mut left = units;
    for (at, c) in text.char_indices() {
        if left == 0 {
            return text.split_at(at);
        }
        left = left.saturating_sub(c.len_utf16());
    }
    (text, "")
}

/// No list of Apple's lies deeper.
const DEEPEST: i64 = 16;

/// What a run says of its paragraph.
fn form(run: Message<'_>) -> Result<(Style, usize, bool), Damaged> {
    let Some(paragraph) = run.message(2)? else { return Ok((Style::Body, 0, false)) };
    let style = match paragraph.number(1)? {
        Some(0) => Style::Title,
        Some(1) => Style::Heading,
        Some(2) => Style::Subheading,
        Some(4) => Style::Monospaced,
        Some(100) => Style::Dotted,
        Some(101) => Style::Dashed,
        Some(102) => Style::Numbered,
        Some(103) => {
            let done = paragraph.message(5)?.map(|check| check.number(2)).transpose()?.flatten();
            Style::Check { done: done.unwrap_or(0) != 0 }
        }
        _ => Style::Body,
    };
    let indent = paragraph.number(4)?.unwrap_or(0).clamp(0, DEEPEST) as usize;
    Ok((style, indent, paragraph.number(8)?.unwrap_or(0) != 0))
}

/// What a run says of its text.
fn look(run: Message<'_>) -> Result<Look, Damaged> {
    let is_set = |number| Ok::<_, Damaged>(run.number(number)?.unwrap_or(0) != 0);
    let weight = run.number(5)?.unwrap_or(0);
    // What is repeated for every line of a run has a bound.
    let short = |text: &&str| text.len() <= LONGEST_LINK;
    let attachment = match run.message(12)? {
        Some(info) => {
            let kind = info.text(2)?.filter(short).unwrap_or_default().to_owned();
            info.text(1)?.filter(short).map(|id| (id.to_owned(), kind))
        }
        None => None,
    };
    Ok(Look {
        bold: weight & 1 != 0,
        italic: weight & 2 != 0,
        underlined: is_set(6)?,
        struck: is_set(7)?,
        link: run.text(9)?.filter(short).filter(|link| !link.is_empty()).map(str::to_owned),
        attachment,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;
    use crate::protobuf::write::{bytes, number};

    /// A run of so many units, with a style of the paragraph and further fields.
    fn run(units: u64, style: Option<u64>, more: &[u8]) -> Vec<u8> {
        let style = style.map(|style| bytes(2, number(1, style))).unwrap_or_default();
        bytes(5, [&number(1, units)[..], &style, more].concat())
    }

    pub(crate) fn note(text: &str, runs: &[Vec<u8>]) -> Vec<u8> {
        bytes(2, [number(2, 1), bytes(3, [bytes(2, text), runs.concat()].concat())].concat())
    }

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn styles(paragraphs: &[Paragraph]) -> Vec<(Style, String)> {
        paragraphs.iter().map(|p| (p.style, p.spans.iter().map(|span| &*span.text).collect())).collect()
    }

    #[test]
    fn runs_give_paragraphs_their_styles_and_text_its_looks() {
        let text = "Títle\n\nmilk 🥛 now\nend";
        let check = [number(1, 103), bytes(5, [bytes(1, [7; 16]), number(2, 1)].concat())].concat();
        let runs = [
            run(6, Some(0), &[]),
            run(1, None, &[]),
            bytes(5, [number(1, 8), bytes(2, &check)].concat()),
            bytes(5, [number(1, 4), bytes(2, &check), number(5, 3), number(7, 1), bytes(9, "https://example.org")].concat()),
        ];
        let packed = gzip(&note(text, &runs));
        let unpacked = unpack(&packed).unwrap();
        let paragraphs = Document::parse(&unpacked).unwrap().paragraphs().unwrap();
        assert_eq!(
            styles(&paragraphs),
            [
                (Style::Title, "Títle".to_owned()),
                (Style::Body, String::new()),
                (Style::Check { done: true }, "milk 🥛 now".to_owned()),
                (Style::Body, "end".to_owned()),
            ]
        );
        let last = &paragraphs[2].spans[1];
        assert_eq!(last.text, "now");
        assert!(last.look.bold && last.look.italic && last.look.struck && !last.look.underlined);
        assert_eq!(last.look.link.as_deref(), Some("https://example.org"));
    }

    #[test]
    fn an_empty_line_has_the_style_of_its_end() {
        let unpacked = note("a\n\n", &[run(2, Some(1), &[]), run(1, Some(4), &[])]);
        let paragraphs = Document::parse(&unpacked).unwrap().paragraphs().unwrap();
        assert_eq!(styles(&paragraphs), [(Style::Heading, "a".to_owned()), (Style::Monospaced, String::new())]);
    }

    #[test]
    fn runs_that_claim_too_much_or_end_inside_a_character_lose_no_text() {
        for units in [0, 1, 2, 3, u64::MAX] {
            let unpacked = note("🥛🥛", &[run(units, Some(0), &[]), run(units, None, &[])]);
            let paragraphs = Document::parse(&unpacked).unwrap().paragraphs().unwrap();
            assert_eq!(styles(&paragraphs).into_iter().map(|(_, text)| text).collect::<String>(), "🥛🥛", "{units}");
        }
    }

    #[test]
    fn a_bomb_is_not_unpacked_and_damage_is_an_error() {
        let bomb = gzip(&vec![0; LARGEST as usize + 1]);
        assert!(bomb.len() < 64 << 10);
        assert_eq!(unpack(&bomb), Err(DocumentError::TooLong));
        assert_eq!(unpack(&bomb[..bomb.len() / 2]), Err(DocumentError::Packed));
        assert_eq!(unpack(&[0x1f, 0x8b, 1, 2, 3]), Err(DocumentError::Packed));
        assert_eq!(Document::parse(&[]).unwrap_err(), DocumentError::NoText);
        assert_eq!(Document::parse(&bytes(2, [0xff])).unwrap_err(), DocumentError::Damaged(Damaged));
        let long = note(&"x".repeat(LONGEST_TEXT + 1), &[]);
        assert_eq!(Document::parse(&long).unwrap_err(), DocumentError::TooLong);
    }

    #[test]
    fn no_damage_makes_it_panic() {
        let whole = note("Títle\n🥛\nend", &[run(6, Some(0), &number(5, 3)), run(3, Some(103), &bytes(12, bytes(1, "id")))]);
        for at in 0..whole.len() {
            for value in [0, 0x7f, 0x80, 0xff, whole[at] ^ 1, whole[at] ^ 0x80] {
                let mut bad = whole.clone();
                bad[at] = value;
                for bytes in [&bad[..], &bad[..at]] {
                    if let Ok(document) = Document::parse(bytes) {
                        document.paragraphs().ok();
                    }
                }
            }
        }
    }
}
