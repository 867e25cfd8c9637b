//! vCard 3.0 (RFC 2426), in UTF-8 with folded lines.
//!
//! 4.0 is newer, and what address books import is 3.0: Google's and Outlook's know no other, and Apple's own writes it. Labels that a card has
//! no word for stand beside the value, as Apple writes them and others have learnt to read.

use super::{Account, Contact, Labelled, Portrait, plain_label};
use crate::encode::base64;
use crate::time;

/// The longest line, in bytes, without its end.
const LINE: usize = 75;
/// Larger pictures are refused by most who would import the card.
const LARGEST_PORTRAIT: usize = 512 << 10;

/// A card under construction.
struct Card {
    text: String,
    items: usize,
}

/// One contact as a card.
pub(super) fn card(contact: &Contact, portrait: Option<&Portrait>) -> String {
    let mut card = Card { text: String::new(), items: 0 };
    let of = |part: &Option<String>| escaped(part.as_deref().unwrap_or_default());
    card.line("BEGIN:VCARD");
    card.line("VERSION:3.0");
    card.line("PRODID:-//russet//EN");
    let names = [&contact.last, &contact.first, &contact.middle, &contact.prefix, &contact.suffix].map(of);
    card.line(&format!("N:{}", names.join(";")));
    card.line(&format!("FN:{}", escaped(&contact.name())));
    card.optional("NICKNAME", contact.nickname.as_deref());
    card.optional("X-PHONETIC-FIRST-NAME", contact.first_phonetic.as_deref());
    card.optional("X-PHONETIC-LAST-NAME", contact.last_phonetic.as_deref());
    if contact.organization.is_some() || contact.department.is_some() {
        card.line(&format!("ORG:{};{}", of(&contact.organization), of(&contact.department)));
    }
    card.optional("TITLE", contact.job_title.as_deref());
    for phone in &contact.phones {
        card.labelled("TEL", phone);
    }
    for mail in &contact.mails {
        card.labelled("EMAIL", mail);
    }
    for address in &contact.addresses {
        let parts = [&address.district, &address.street, &address.city, &address.state, &address.zip, &address.country];
        let value = format!(";{}", parts.map(|part| escaped(part)).join(";"));
        card.written("ADR", address.label.as_deref(), &value);
    }
    for url in &contact.urls {
        card.labelled("URL", url);
    }
    for related in &contact.related {
        card.item("X-ABRELATEDNAMES", related.label.as_deref(), &escaped(&related.value));
    }
    for date in &contact.dates {
        card.item("X-ABDATE", date.label.as_deref(), &date.value);
    }
    for Account { service, name, url } in &contact.messengers {
        let address = if name.is_empty() { url } else { name };
        card.line(&format!("IMPP;X-SERVICE-TYPE={}:x-apple:{}", word(service), escaped(address)));
    }
    for Account { service, name, url } in &contact.profiles {
        card.line(&format!("X-SOCIALPROFILE;TYPE={};X-USER={}:{}", word(service), word(name), escaped(url)));
    }
    if let Some(birthday) = contact.birthday {
        match birthday.year {
            Some(_) => card.line(&format!("BDAY:{birthday}")),
            None => {
                card.line(&format!("BDAY;X-APPLE-OMIT-YEAR=1604:1604-{:02}-{:02}", birthday.month, birthday.day));
            }
        }
    }
    card.optional("NOTE", contact.note.as_deref());
    if !contact.groups.is_empty() {
        card.line(&format!("CATEGORIES:{}", contact.groups.iter().map(|g| escaped(g)).collect::<Vec<_>>().join(",")));
    }
    if let Some(portrait) = portrait.filter(|portrait| portrait.bytes.len() <= LARGEST_PORTRAIT) {
        let kind = portrait.extension.to_uppercase();
        card.line(&format!("PHOTO;ENCODING=b;TYPE={kind}:{}", base64(&portrait.bytes)));
    }
    if let Some(modified) = contact.modified {
        card.line(&format!("REV:{}", time::iso(modified)));
    }
    card.line("END:VCARD");
    card.text
}

impl Card {
    /// Adds a line, folded so that no part is too long and no character is cut.
    fn line(&mut self, line: &str) {
        let mut room = LINE;
        for c in line.chars() {
            if c.len_utf8() > room {
                self.text.push_str("\r\n ");
                room = LINE - 1;
            }
            self.text.push(c);
            room -= c.len_utf8();
        }
        self.text.push_str("\r\n");
    }

    fn optional(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.line(&format!("{name}:{}", escaped(value)));
        }
    }

    fn labelled(&mut self, name: &str, labelled: &Labelled) {
        self.written(name, labelled.label.as_deref(), &escaped(&labelled.value));
    }

    /// A value whose label a card has a word for, or one with its label beside it.
    fn written(&mut self, name: &str, label: Option<&str>, value: &str) {
        match (label, types(name, label)) {
            (None, _) => self.line(&format!("{name}:{value}")),
            (_, Some(types)) => self.line(&format!("{name};TYPE={types}:{value}")),
            (label, None) => self.item(name, label, value),
        }
    }

    /// A value in a group of its own, so that its label can be named.
    fn item(&mut self, name: &str, label: Option<&str>, value: &str) {
        self.items += 1;
        self.line(&format!("item{}.{name}:{value}", self.items));
        if let Some(label) = label {
            self.line(&format!("item{}.X-ABLabel:{}", self.items, escaped(label)));
        }
    }
}

/// The card's own words for a label.
fn types(name: &str, label: Option<&str>) -> Option<&'static str> {
    Some(match (name, &*plain_label(label?)) {
        ("TEL", "mobile") => "CELL",
        ("TEL", "iphone") => "IPHONE,CELL",
        ("TEL", "main") => "MAIN",
        ("TEL", "pager") => "PAGER",
        ("TEL", "home fax") => "HOME,FAX",
        ("TEL", "work fax") => "WORK,FAX",
        ("TEL", "home") => "HOME,VOICE",
        ("TEL", "work") => "WORK,VOICE",
        ("EMAIL", "home") => "INTERNET,HOME",
        ("EMAIL", "work") => "INTERNET,WORK",
        (_, "home") => "HOME",
        (_, "work") => "WORK",
        _ => return None,
    })
}

/// A value in which nothing ends it.
fn escaped(text: &str) -> String {
    let mut value = String::with_capacity(text.len());
    for c in text.replace("\r\n", "\n").chars() {
        match c {
            '\\' | ',' | ';' => value.extend(['\\', c]),
            '\n' | '\r' => value.push_str("\\n"),
            c if c.is_control() && c != '\t' => value.push('\u{fffd}'),
            c => value.push(c),
        }
    }
    value
}

/// The value of a parameter: letters and digits of any script.
fn word(text: &str) -> String {
    let word: String = text.chars().filter(|c| c.is_alphanumeric() || "-_. @".contains(*c)).collect();
    if word.is_empty() { "other".to_owned() } else { word }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contacts::{Address, Birthday};

    fn labelled(label: &str, value: &str) -> Labelled {
        Labelled { label: Some(label.into()), value: value.into() }
    }

    #[test]
    fn a_card_says_all_that_is_known() {
        let contact = Contact {
            first: Some("Zoë".into()),
            last: Some("O;Neil, \\ Jr".into()),
            organization: Some("Harbour".into()),
            note: Some("two\nlines\u{1b}".into()),
            birthday: Some(Birthday { year: None, month: 3, day: 2 }),
            phones: vec![labelled("_$!<Mobile>!$_", "+1 555"), labelled("boat", "+1 556")],
            mails: vec![labelled("_$!<Home>!$_", "z@example.org")],
            addresses: vec![Address { street: "1 Quay".into(), city: "Port".into(), ..Address::default() }],
            groups: vec!["Crew".into()],
            ..Contact::default()
        };
        let portrait = Portrait { bytes: vec![0xff, 0xd8, 0xff], extension: "jpeg" };
        let expected = "BEGIN:VCARD\r\nVERSION:3.0\r\nPRODID:-//russet//EN\r\nN:O\\;Neil\\, \\\\ Jr;Zoë;;;\r\n\
                        FN:Zoë O\\;Neil\\, \\\\ Jr\r\nORG:Harbour;\r\nTEL;TYPE=CELL:+1 555\r\nitem1.TEL:+1 556\r\n\
                        item1.X-ABLabel:boat\r\nEMAIL;TYPE=INTERNET,HOME:z@example.org\r\nADR:;;1 Quay;Port;;;\r\n\
                        BDAY;X-APPLE-OMIT-YEAR=1604:1604-03-02\r\nNOTE:two\\nlines\u{fffd}\r\nCATEGORIES:Crew\r\n\
                        PHOTO;ENCODING=b;TYPE=JPEG:/9j/\r\nEND:VCARD\r\n";
        assert_eq!(card(&contact, Some(&portrait)), expected);
    }

    #[test]
    fn lines_are_folded_between_characters() {
        let text = "é".repeat(300);
        let card = card(&Contact { note: Some(text.clone()), ..Contact::default() }, None);
        assert!(card.lines().all(|line| line.len() <= LINE));
        assert!(card.replace("\r\n ", "").contains(&text));
    }

    #[test]
    fn a_value_cannot_end_its_card() {
        let hostile = "x\r\nEND:VCARD\r\nBEGIN:VCARD\rTEL:1";
        let contact = Contact {
            first: Some(hostile.into()),
            phones: vec![labelled(hostile, hostile)],
            profiles: vec![Account { service: hostile.into(), name: hostile.into(), url: hostile.into() }],
            ..Contact::default()
        };
        let card = card(&contact, None);
        assert_eq!(card.matches("\r\nEND:VCARD").count(), 1);
        assert!(!card.replace("\r\n", "").contains(['\r', '\n']));
        assert!(card.lines().all(|line| !line.starts_with("TEL:1")));
    }
}
