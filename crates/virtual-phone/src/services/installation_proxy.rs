//! installation_proxy: which apps are on the phone, and what a host keeps of them to have them installed again.

use std::io;

use plist::{Dictionary, Value};
use russet_specimen::App;

use crate::Phone;
use crate::property_list::{Form, Incoming, dictionary, encode, send};
use crate::tls::Channel;

/// How many apps are told at once.
const BATCH: usize = 4;

/// Answers one connection.
pub(crate) fn serve(phone: &Phone, channel: &mut Channel) -> io::Result<()> {
    let mut incoming = Incoming::default();
    while let Some((request, form)) = incoming.next(channel)? {
        let options = request.get("ClientOptions").and_then(Value::as_dictionary).cloned().unwrap_or_default();
        match request.get("Command").and_then(Value::as_string) {
            Some("Browse") => browse(phone, channel, &options, form)?,
            Some("Lookup") => send(channel, lookup(phone, &options)?.into(), form)?,
            Some(_) => send(channel, failure("UnknownCommand", "the command is not known").into(), form)?,
            None => send(channel, failure("MissingCommand", "there is no command").into(), form)?,
        }
    }
    Ok(())
}

fn browse(phone: &Phone, channel: &mut Channel, options: &Dictionary, form: Form) -> io::Result<()> {
    let kind = options.get("ApplicationType").and_then(Value::as_string).unwrap_or("Any");
    let apps: Vec<Dictionary> = match kind {
        "User" | "Any" => phone.apps().iter().map(|app| Ok(chosen(&attributes(app)?, options))).collect::<io::Result<_>>()?,
        _ => Vec::new(),
    };
    for (number, batch) in apps.chunks(BATCH).enumerate() {
        let list = batch.iter().cloned().map(Value::Dictionary).collect();
        let message = dictionary([
            ("CurrentList", Value::Array(list)),
            ("CurrentIndex", ((number * BATCH) as u64).into()),
            ("CurrentAmount", (batch.len() as u64).into()),
            ("Total", (apps.len() as u64).into()),
            ("Status", "BrowsingApplications".into()),
        ]);
        send(channel, message.into(), form)?;
    }
    send(channel, dictionary([("Status", "Complete".into())]).into(), form)
}

fn lookup(phone: &Phone, options: &Dictionary) -> io::Result<Dictionary> {
    let wanted = options.get("BundleIDs").and_then(Value::as_array);
    let mut found = Dictionary::new();
    for app in phone.apps() {
        if wanted.is_none_or(|wanted| wanted.iter().any(|id| id.as_string() == Some(app.id))) {
            found.insert(app.id.to_owned(), chosen(&attributes(app)?, options).into());
        }
    }
    Ok(dictionary([("LookupResult", found.into()), ("Status", "Complete".into())]))
}

/// Those attributes that the host wants; all if it does not say.
fn chosen(attributes: &Dictionary, options: &Dictionary) -> Dictionary {
    let Some(wanted) = options.get("ReturnAttributes").and_then(Value::as_array) else { return attributes.clone() };
    let is_wanted = |key: &str| wanted.iter().any(|wanted| wanted.as_string() == Some(key));
    attributes.iter().filter(|(key, _)| is_wanted(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn attributes(app: &App) -> io::Result<Dictionary> {
    let mut hasher = blake3::Hasher::new_derive_key("russet virtual phone 2026 app");
    hasher.update(app.id.as_bytes());
    let mut noise = hasher.finalize_xof();
    let (mut number, mut sinf, mut container) = ([0; 4], [0; 1_024], [0; 16]);
    noise.fill(&mut number);
    noise.fill(&mut sinf);
    noise.fill(&mut container);
    let container = uuid::Uuid::from_bytes(container).to_string().to_uppercase();
    let item = u64::from(u32::from_le_bytes(number));
    let metadata = dictionary([
        ("artistName", "Nobody at All".into()),
        ("bundleShortVersionString", app.version.into()),
        ("itemId", item.into()),
        ("itemName", app.name.into()),
        ("kind", "software".into()),
        ("softwareVersionBundleId", app.id.into()),
    ]);
    Ok(dictionary([
        ("CFBundleIdentifier", app.id.into()),
        ("CFBundleDisplayName", app.name.into()),
        ("CFBundleName", app.name.into()),
        ("CFBundleVersion", app.version.into()),
        ("CFBundleShortVersionString", app.version.into()),
        ("ApplicationType", "User".into()),
        ("Path", format!("/private/var/containers/Bundle/Application/{container}/{}.app", app.name.replace(' ', "")).into()),
        ("Container", format!("/private/var/mobile/Containers/Data/Application/{container}").into()),
        ("StaticDiskUsage", (20_000_000 + item % 50_000_000).into()),
        ("DynamicDiskUsage", (item % 5_000_000).into()),
        ("ApplicationSINF", Value::Data(sinf.to_vec())),
        ("iTunesMetadata", Value::Data(encode(&metadata.into(), Form::Binary)?)),
        ("UIFileSharingEnabled", item.is_multiple_of(2).into()),
        ("IsDemotedApp", false.into()),
        ("SignerIdentity", "Apple iPhone OS Application Signing".into()),
    ]))
}

fn failure(error: &str, description: &str) -> Dictionary {
    dictionary([("Error", error.into()), ("ErrorDescription", description.into()), ("ErrorDetail", 0.into())])
}
