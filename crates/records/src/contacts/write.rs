//! Contacts as cards, a table, a page, and JSON.

use serde_json::{Value, json};

use super::{Account, Address, Contact, Labelled, Portraits, read, vcard};
use crate::csv::Csv;
use crate::name::{Names, safe};
use crate::page::{Html, Page};
use crate::{Context, Count, Folder, Result, time};

/// The folder of the pictures.
const PICTURES: &str = "pictures";

pub(super) fn write(context: &Context<'_>, folder: &Folder<'_>) -> Result<Vec<Count>> {
    let contacts = read(context)?;
    let portraits = Portraits::open(context).unwrap_or_else(|error| {
        folder.remark(format!("the pictures of contacts are not there: {error}"));
        Portraits(None)
    });
    let newest = contacts.iter().filter_map(|contact| contact.modified).max();
    let (mut cards, mut body, mut csv, mut list) = (String::new(), Html::default(), Csv::new(HEADINGS), Vec::new());
    let (mut names, mut pictures) = (Names::default(), 0);
    for contact in &contacts {
        let portrait = portraits.of(contact)?;
        cards.push_str(&vcard::card(contact, portrait.as_ref()));
        let picture = match &portrait {
            Some(portrait) => {
                pictures += 1;
                let name = names.unique(&format!("{}.{}", safe(&contact.name(), "contact"), portrait.extension));
                Some(folder.file(&[PICTURES, &name], &portrait.bytes, contact.modified)?)
            }
            None => None,
        };
        csv.row(&cells(contact));
        add_card(&mut body, contact, picture.as_deref());
        list.push(to_json(contact, picture.as_deref()));
    }
    folder.file(&["contacts.vcf"], cards.as_bytes(), newest)?;
    folder.file(&["contacts.csv"], csv.bytes(), newest)?;
    folder.file(&["contacts.json"], format!("{:#}\n", json!({ "contacts": list })).as_bytes(), newest)?;
    let about = format!("{} contacts; contacts.vcf has them for an address book", contacts.len());
    let page = Page { title: "Contacts", about: &about, up: None };
    folder.file(&["index.html"], &page.render(&body), newest)?;
    Ok(vec![Count::of("contact", contacts.len()), Count::of("picture", pictures)])
}

const HEADINGS: &[&str] = &[
    "Name",
    "First",
    "Middle",
    "Last",
    "Nickname",
    "Organization",
    "Department",
    "Job title",
    "Phones",
    "E-mails",
    "Addresses",
    "URLs",
    "Birthday",
    "Groups",
    "Note",
];

fn cells(contact: &Contact) -> Vec<String> {
    let of = |part: &Option<String>| part.clone().unwrap_or_default();
    let all = |values: &[Labelled]| {
        let one = |value: &Labelled| match &*value.label() {
            "" => value.value.clone(),
            label => format!("{} ({label})", value.value),
        };
        values.iter().map(one).collect::<Vec<_>>().join("; ")
    };
    vec![
        contact.name(),
        of(&contact.first),
        of(&contact.middle),
        of(&contact.last),
        of(&contact.nickname),
        of(&contact.organization),
        of(&contact.department),
        of(&contact.job_title),
        all(&contact.phones),
        all(&contact.mails),
        contact.addresses.iter().map(|address| in_lines(address).replace('\n', ", ")).collect::<Vec<_>>().join("; "),
        all(&contact.urls),
        contact.birthday.map(|day| day.to_string()).unwrap_or_default(),
        contact.groups.join("; "),
        of(&contact.note),
    ]
}

/// An address as it stands on a letter.
fn in_lines(address: &Address) -> String {
    let town = [&address.zip, &address.city, &address.state].map(String::as_str);
    let town = town.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    let lines = [&address.street, &address.district, &town, &address.country];
    lines.into_iter().filter(|line| !line.is_empty()).map(String::as_str).collect::<Vec<_>>().join("\n")
}

fn add_card(body: &mut Html, contact: &Contact, picture: Option<&str>) {
    body.markup("<section class=\"card\">\n");
    if let Some(picture) = picture {
        body.markup("<img class=\"portrait\" loading=\"lazy\" alt=\"\" src=\"").path(&[PICTURES, picture]).markup("\">\n");
    }
    body.markup("<h2>").name(&contact.name()).markup("</h2>\n");
    let work = [&contact.job_title, &contact.department, &contact.organization];
    let work = work.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(", ");
    if !work.is_empty() {
        body.markup("<p class=\"soft\">").name(&work).markup("</p>\n");
    }
    let mut rows: Vec<(String, String)> = Vec::new();
    let mut add = |values: &[Labelled], otherwise: &str| {
        rows.extend(values.iter().map(|value| match value.label() {
            label if label.is_empty() => (otherwise.to_owned(), value.value.clone()),
            label => (label, value.value.clone()),
        }));
    };
    add(&contact.phones, "phone");
    add(&contact.mails, "e-mail");
    add(&contact.urls, "web page");
    add(&contact.related, "related");
    add(&contact.dates, "date");
    for address in &contact.addresses {
        let label = address.label.as_deref().map(super::plain_label).unwrap_or_else(|| "address".to_owned());
        rows.push((label, in_lines(address)));
    }
    for account in contact.messengers.iter().chain(&contact.profiles) {
        rows.push((account.service.clone(), if account.name.is_empty() { account.url.clone() } else { account.name.clone() }));
    }
    rows.extend(contact.nickname.iter().map(|nickname| ("nickname".to_owned(), nickname.clone())));
    rows.extend(contact.birthday.map(|day| ("birthday".to_owned(), day.to_string())));
    rows.extend((!contact.groups.is_empty()).then(|| ("groups".to_owned(), contact.groups.join(", "))));
    rows.extend(contact.note.iter().map(|note| ("note".to_owned(), note.clone())));
    if !rows.is_empty() {
        body.markup("<dl>\n");
        for (label, value) in &rows {
            body.markup("<dt>").name(label).markup("</dt><dd>").name(value).markup("</dd>\n");
        }
        body.markup("</dl>\n");
    }
    body.markup("</section>\n");
}

fn to_json(contact: &Contact, picture: Option<&str>) -> Value {
    let labelled = |values: &[Labelled]| -> Vec<Value> {
        values.iter().map(|value| json!({ "label": value.label(), "value": value.value })).collect()
    };
    let accounts = |accounts: &[Account]| -> Vec<Value> {
        let one = |account: &Account| json!({ "service": account.service, "name": account.name, "url": account.url });
        accounts.iter().map(one).collect()
    };
    let addresses: Vec<Value> = contact
        .addresses
        .iter()
        .map(|address| {
            json!({
                "label": address.label.as_deref().map(super::plain_label),
                "street": address.street,
                "district": address.district,
                "city": address.city,
                "state": address.state,
                "zip": address.zip,
                "country": address.country,
            })
        })
        .collect();
    json!({
        "name": contact.name(),
        "prefix": contact.prefix,
        "first": contact.first,
        "middle": contact.middle,
        "last": contact.last,
        "suffix": contact.suffix,
        "nickname": contact.nickname,
        "first_phonetic": contact.first_phonetic,
        "last_phonetic": contact.last_phonetic,
        "organization": contact.organization,
        "department": contact.department,
        "job_title": contact.job_title,
        "note": contact.note,
        "birthday": contact.birthday.map(|day| day.to_string()),
        "phones": labelled(&contact.phones),
        "mails": labelled(&contact.mails),
        "urls": labelled(&contact.urls),
        "dates": labelled(&contact.dates),
        "related": labelled(&contact.related),
        "addresses": addresses,
        "messengers": accounts(&contact.messengers),
        "profiles": accounts(&contact.profiles),
        "groups": contact.groups,
        "picture": picture.map(|name| format!("{PICTURES}/{name}")),
        "created": contact.created.map(time::iso),
        "modified": contact.modified.map(time::iso),
    })
}
