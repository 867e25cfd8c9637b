//! Contacts: the address book, as cards, a table and a page.

mod people;
mod vcard;
mod write;

pub use people::People;

use std::collections::HashMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use russet_apple_format::tables::{Fields, Tables};
use russet_apple_format::well_known::{CONTACT_IMAGES, CONTACTS};

use crate::{Context, Error, Kind, Result, time};

/// Contacts.
pub const KIND: Kind = Kind {
    name: "contacts",
    about: "contacts as vCards, a page, CSV and JSON, with their pictures",
    databases: &[CONTACTS],
    write: write::write,
};

/// A value and what its owner calls it: `mobile`, `work`, or words of his own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labelled {
    /// As the address book has it: `_$!<Mobile>!$_` for those that every phone knows.
    pub label: Option<String>,
    /// The value.
    pub value: String,
}

impl Labelled {
    /// What a person calls it.
    pub fn label(&self) -> String {
        self.label.as_deref().map(plain_label).unwrap_or_default()
    }
}

/// A label without the marks that Apple puts around those that it translates.
fn plain_label(label: &str) -> String {
    match label.strip_prefix("_$!<").and_then(|rest| rest.strip_suffix(">!$_")) {
        Some(known) if known.ends_with("FAX") => {
            format!("{} fax", known.trim_end_matches("FAX").to_lowercase()).trim().to_owned()
        }
        Some(known) => known.to_lowercase(),
        None => label.to_owned(),
    }
}

/// An address: street, city and so on, each possibly empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Address {
    /// What its owner calls it.
    pub label: Option<String>,
    /// Street and number.
    pub street: String,
    /// Part of a town.
    pub district: String,
    /// Town.
    pub city: String,
    /// State or province.
    pub state: String,
    /// Postal code.
    pub zip: String,
    /// Country.
    pub country: String,
}

/// An account with some service: a messenger, or a social network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// The service.
    pub service: String,
    /// Who one is there.
    pub name: String,
    /// Where that can be seen.
    pub url: String,
}

/// One person or firm.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Contact {
    /// The number of its row.
    pub row: i64,
    /// `Dr.`
    pub prefix: Option<String>,
    /// First name.
    pub first: Option<String>,
    /// Names between.
    pub middle: Option<String>,
    /// Last name.
    pub last: Option<String>,
    /// `Jr.`
    pub suffix: Option<String>,
    /// What friends say.
    pub nickname: Option<String>,
    /// How the first name is said.
    pub first_phonetic: Option<String>,
    /// How the last name is said.
    pub last_phonetic: Option<String>,
    /// Firm.
    pub organization: Option<String>,
    /// Part of the firm.
    pub department: Option<String>,
    /// What they do there.
    pub job_title: Option<String>,
    /// Whatever was noted.
    pub note: Option<String>,
    /// Day of birth; without its year if that was left out.
    pub birthday: Option<Birthday>,
    /// Made.
    pub created: Option<Timestamp>,
    /// Changed.
    pub modified: Option<Timestamp>,
    /// Telephone numbers.
    pub phones: Vec<Labelled>,
    /// E-mail addresses.
    pub mails: Vec<Labelled>,
    /// Web pages.
    pub urls: Vec<Labelled>,
    /// Other days to remember, `2019-05-04`.
    pub dates: Vec<Labelled>,
    /// Relatives and the like.
    pub related: Vec<Labelled>,
    /// Addresses.
    pub addresses: Vec<Address>,
    /// Messengers.
    pub messengers: Vec<Account>,
    /// Social networks.
    pub profiles: Vec<Account>,
    /// The groups that it is in.
    pub groups: Vec<String>,
}

/// A day of birth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Birthday {
    /// The year, if it is known.
    pub year: Option<i16>,
    /// The month.
    pub month: i8,
    /// The day.
    pub day: i8,
}

impl std::fmt::Display for Birthday {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.year {
            Some(year) => write!(f, "{year:04}-{:02}-{:02}", self.month, self.day),
            None => write!(f, "--{:02}-{:02}", self.month, self.day),
        }
    }
}

impl Contact {
    /// What one calls it: the name, else the nickname, the firm, a number or an address.
    pub fn name(&self) -> String {
        let parts = [&self.prefix, &self.first, &self.middle, &self.last, &self.suffix];
        let name = parts.into_iter().flatten().map(|part| part.trim()).collect::<Vec<_>>().join(" ");
        let others = [self.nickname.as_ref(), self.organization.as_ref()].into_iter().flatten();
        let values = self.phones.iter().chain(&self.mails).map(|labelled| &labelled.value);
        let first = std::iter::once(&name).chain(others).chain(values).find(|text| !text.trim().is_empty());
        first.cloned().unwrap_or_else(|| "no name".to_owned())
    }

    /// What it is sorted by.
    fn sort_key(&self) -> String {
        let parts = [self.last.as_deref(), self.first.as_deref()];
        let key = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
        if key.trim().is_empty() { self.name().to_lowercase() } else { key.to_lowercase() }
    }
}

/// What the numbers in `ABMultiValue.property` mean.
mod property {
    pub(super) const PHONE: i64 = 3;
    pub(super) const MAIL: i64 = 4;
    pub(super) const ADDRESS: i64 = 5;
    pub(super) const DATE: i64 = 12;
    pub(super) const MESSENGER: i64 = 13;
    pub(super) const URL: i64 = 22;
    pub(super) const RELATED: i64 = 23;
    pub(super) const PROFILE: i64 = 46;
}

/// The year that stands for none.
const NO_YEAR: i16 = 1604;

/// All contacts, by name. None if the backup has no address book.
pub fn read(context: &Context<'_>) -> Result<Vec<Contact>> {
    match context.open(&CONTACTS)? {
        Some(tables) => read_tables(&tables),
        None => Ok(Vec::new()),
    }
}

fn read_tables(tables: &Tables) -> Result<Vec<Contact>> {
    tables.require("ABPerson", &["ROWID", "First", "Last"])?;
    tables.require("ABMultiValue", &["record_id", "property", "value"])?;
    let mut contacts = Vec::new();
    let columns = [
        "ROWID",
        "Prefix",
        "First",
        "Middle",
        "Last",
        "Suffix",
        "Nickname",
        "FirstPhonetic",
        "LastPhonetic",
        "Organization",
        "Department",
        "JobTitle",
        "Note",
        "Birthday",
        "CreationDate",
        "ModificationDate",
    ];
    tables.each("ABPerson", &columns, "", (), |row| {
        contacts.push(person(row));
        Ok::<(), Error>(())
    })?;
    let places: HashMap<i64, usize> = contacts.iter().enumerate().map(|(place, contact)| (contact.row, place)).collect();
    let labels = texts(tables, "ABMultiValueLabel", "value")?;
    let entries = entries(tables)?;
    let columns = ["UID", "record_id", "property", "label", "value"];
    tables.each("ABMultiValue", &columns, "ORDER BY record_id, property, ROWID", (), |row| {
        if let Some(&place) = row.integer("record_id").and_then(|record| places.get(&record)) {
            let label = row.integer("label").and_then(|label| labels.get(&label)).cloned();
            let parts = row.integer("UID").and_then(|uid| entries.get(&uid));
            add_value(&mut contacts[place], row, label, parts);
        }
        Ok::<(), Error>(())
    })?;
    let groups = texts(tables, "ABGroup", "Name")?;
    tables.each("ABGroupMembers", &["group_id", "member_id"], "", (), |row| {
        let group = row.integer("group_id").and_then(|group| groups.get(&group));
        let place = row.integer("member_id").and_then(|member| places.get(&member));
        if let (Some(group), Some(&place)) = (group, place) {
            contacts[place].groups.push(group.clone());
        }
        Ok::<(), Error>(())
    })?;
    contacts.sort_by_cached_key(|contact| (contact.sort_key(), contact.row));
    Ok(contacts)
}

fn person(row: &Fields<'_>) -> Contact {
    Contact {
        row: row.integer("ROWID").unwrap_or_default(),
        prefix: row.words("Prefix"),
        first: row.words("First"),
        middle: row.words("Middle"),
        last: row.words("Last"),
        suffix: row.words("Suffix"),
        nickname: row.words("Nickname"),
        first_phonetic: row.words("FirstPhonetic"),
        last_phonetic: row.words("LastPhonetic"),
        organization: row.words("Organization"),
        department: row.words("Department"),
        job_title: row.words("JobTitle"),
        note: row.words("Note"),
        birthday: row.real("Birthday").and_then(birthday),
        created: row.real("CreationDate").and_then(time::apple),
        modified: row.real("ModificationDate").and_then(time::apple),
        ..Contact::default()
    }
}

/// Days are kept as noon in Greenwich.
fn birthday(seconds: f64) -> Option<Birthday> {
    let date = TimeZone::UTC.to_datetime(time::apple(seconds)?).date();
    Some(Birthday { year: Some(date.year()).filter(|&year| year != NO_YEAR), month: date.month(), day: date.day() })
}

fn add_value(contact: &mut Contact, row: &Fields<'_>, label: Option<String>, parts: Option<&HashMap<String, String>>) {
    let part = |name: &str| parts.and_then(|parts| parts.get(name)).cloned().unwrap_or_default();
    let account = || Account { service: part("service"), name: part("username"), url: part("url") };
    let labelled = || Some(Labelled { label: label.clone(), value: row.words("value")? });
    match row.integer("property") {
        Some(property::PHONE) => contact.phones.extend(labelled()),
        Some(property::MAIL) => contact.mails.extend(labelled()),
        Some(property::URL) => contact.urls.extend(labelled()),
        Some(property::RELATED) => contact.related.extend(labelled()),
        Some(property::DATE) => {
            let day = row.real("value").and_then(birthday);
            contact.dates.extend(day.map(|day| Labelled { label: label.clone(), value: day.to_string() }));
        }
        Some(property::ADDRESS) => contact.addresses.push(Address {
            label,
            street: part("street"),
            district: part("sublocality"),
            city: part("city"),
            state: part("state"),
            zip: part("zip"),
            country: part("country"),
        }),
        Some(property::MESSENGER) => contact.messengers.push(account()),
        Some(property::PROFILE) => contact.profiles.push(account()),
        _ => {}
    }
}

/// A column of a small table, by row.
fn texts(tables: &Tables, table: &str, column: &str) -> Result<HashMap<i64, String>> {
    let mut texts = HashMap::new();
    tables.each(table, &["ROWID", column], "", (), |row| {
        if let (Some(number), Some(text)) = (row.integer("ROWID"), row.words(column)) {
            texts.insert(number, text);
        }
        Ok::<(), Error>(())
    })?;
    Ok(texts)
}

/// The parts of values that have some, such as addresses: by value, then by name in small letters.
fn entries(tables: &Tables) -> Result<HashMap<i64, HashMap<String, String>>> {
    let keys = texts(tables, "ABMultiValueEntryKey", "value")?;
    let mut entries: HashMap<i64, HashMap<String, String>> = HashMap::new();
    tables.each("ABMultiValueEntry", &["parent_id", "key", "value"], "", (), |row| {
        let key = row.integer("key").and_then(|key| keys.get(&key));
        if let (Some(parent), Some(key), Some(value)) = (row.integer("parent_id"), key, row.words("value")) {
            entries.entry(parent).or_default().insert(key.to_lowercase(), value);
        }
        Ok::<(), Error>(())
    })?;
    Ok(entries)
}

/// The pictures of contacts.
struct Portraits(Option<Tables>);

/// A picture's bytes, and the extension of their kind.
struct Portrait {
    bytes: Vec<u8>,
    extension: &'static str,
}

impl Portraits {
    fn open(context: &Context<'_>) -> Result<Portraits> {
        Ok(Portraits(context.open(&CONTACT_IMAGES)?))
    }

    /// The picture of a contact: the whole one, else the largest of the small ones.
    fn of(&self, contact: &Contact) -> Result<Option<Portrait>> {
        let Some(tables) = &self.0 else { return Ok(None) };
        let mut best: Option<Portrait> = None;
        for table in ["ABFullSizeImage", "ABThumbnailImage"] {
            tables.each(table, &["data"], "WHERE record_id = ?1", [contact.row], |row| {
                let bytes = row.bytes("data").unwrap_or_default();
                if let Some(extension) = image_kind(bytes)
                    && best.as_ref().is_none_or(|best| best.bytes.len() < bytes.len())
                {
                    best = Some(Portrait { bytes: bytes.to_vec(), extension });
                }
                Ok::<(), Error>(())
            })?;
            if best.is_some() {
                break;
            }
        }
        Ok(best)
    }
}

/// What kind of picture bytes are, by how they begin; old systems also keep bare pixels, which nothing opens.
fn image_kind(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xff, 0xd8, 0xff, ..] => Some("jpeg"),
        [0x89, b'P', b'N', b'G', ..] => Some("png"),
        [_, _, _, _, b'f', b't', b'y', b'p', b'h', b'e', b'i', ..] => Some("heic"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_lose_the_marks_that_only_a_phone_needs() {
        let check = |label: &str, expected: &str| assert_eq!(plain_label(label), expected);
        check("_$!<Mobile>!$_", "mobile");
        check("_$!<HomeFAX>!$_", "home fax");
        check("summer house", "summer house");
    }

    #[test]
    fn a_birthday_may_lack_its_year() {
        let check = |seconds, expected: &str| assert_eq!(birthday(seconds).unwrap().to_string(), expected);
        check(-207_316_800.0, "1994-06-07");
        check(-12_522_859_200.0, "--03-02");
    }

    #[test]
    fn a_contact_without_a_name_is_called_by_what_it_has() {
        let mut contact = Contact::default();
        assert_eq!(contact.name(), "no name");
        contact.phones.push(Labelled { label: None, value: "+1 555 0100".into() });
        assert_eq!(contact.name(), "+1 555 0100");
        contact.organization = Some("Harbour Office".into());
        assert_eq!(contact.name(), "Harbour Office");
        (contact.first, contact.last) = (Some("Ada".into()), Some("Byron".into()));
        assert_eq!(contact.name(), "Ada Byron");
    }
}
