//! Apps: settings, documents and caches in a container for each.

use std::io;

use plist::{Dictionary, Value};
use rusqlite::{Connection, params};

use crate::noise::Noise;
use crate::owner::{APPLE_EPOCH, times};
use crate::phone::Phone;
use crate::words::{prose, sentence};
use crate::{DAY, FIRST_DAY, Specimen, database, date};

/// The apps that the owner installed: bundle id, name and version. None of them exists.
pub(crate) const APPS: &[(&str, &str, &str)] = &[
    ("org.example.tides", "Tides", "4.2"),
    ("org.example.recipes", "Recipe Box", "11.0.3"),
    ("com.example.mapwalk", "Map Walk", "2.8.1"),
    ("org.example.trains", "Trains", "7.1"),
    ("com.example.chess", "Chess Club", "1.19"),
    ("org.example.diary", "Diary", "3.0"),
];

const SAFARI: &str = "AppDomain-com.apple.mobilesafari";
const HISTORY: &str = "Library/Safari/History.db";
const HISTORY_SCHEMA: &str = "
    CREATE TABLE history_items (id INTEGER PRIMARY KEY AUTOINCREMENT, url TEXT NOT NULL UNIQUE, domain_expansion TEXT,
        visit_count INTEGER NOT NULL);
    CREATE TABLE history_visits (id INTEGER PRIMARY KEY AUTOINCREMENT, history_item INTEGER NOT NULL REFERENCES history_items(id),
        visit_time REAL NOT NULL, title TEXT, redirect_source INTEGER, redirect_destination INTEGER, origin INTEGER NOT NULL DEFAULT 0);
    CREATE INDEX history_visits__item ON history_visits (history_item, visit_time);
";
const SITES: &[&str] = &["tides", "trains", "recipes", "weather", "library", "museum", "news"];

/// All containers, as they were on the first day.
pub(crate) fn first_day(phone: &mut Phone<'_>) -> io::Result<()> {
    let specimen = phone.specimen;
    for &(id, name, version) in APPS {
        let domain = format!("AppDomain-{id}");
        phone.put(&domain, &format!("Library/Preferences/{id}.plist"), preferences(specimen, name, 1));
        phone.put(&domain, "Documents/settings.json", settings(specimen, id, version, 1));
        phone.put(
            &domain,
            "Library/Application Support/sdk/LICENSE.txt",
            prose(&mut specimen.noise("a library's licence"), 6_000),
        );
        for number in 0..specimen.by_size(8, 130) {
            let mut noise = specimen.noise(&format!("cache {id} {number}"));
            let (path, plain) = match number % 3 {
                0 => (format!("Documents/Notes/{number:03}.txt"), prose(&mut noise, 300 + number * 20).into_bytes()),
                1 => (format!("Library/Application Support/cache/{number:03}.json"), cache(&mut noise)),
                _ => (format!("Library/Application Support/cache/{number:03}.bin"), {
                    let length = noise.below(specimen.by_size(6_000, 20_000));
                    noise.bytes(length)
                }),
            };
            phone.put(&domain, &path, plain);
        }
        phone.link(&domain, "Library/Shared", "../Documents");
    }
    phone.put("AppDomainGroup-group.org.example.diary", "Shared/entries.json", cache(&mut specimen.noise("diary")));
    phone.put("AppDomainPlugin-org.example.tides.widget", "Library/Preferences/widget.plist", preferences(specimen, "Widget", 1));
    let history = database::create(HISTORY_SCHEMA, |history| {
        visit(specimen, history, 1, specimen.by_size(200, 4_000), (FIRST_DAY - 365 * DAY, FIRST_DAY - 600))
    })?;
    phone.put(SAFARI, HISTORY, history);
    Ok(())
}

/// What the owner did with the apps since: one file written anew, one deleted, one moved, settings saved, pages visited.
pub(crate) fn later(phone: &mut Phone<'_>) -> io::Result<()> {
    let (specimen, generation) = (phone.specimen, phone.generation);
    for (number, &(id, name, version)) in APPS.iter().enumerate() {
        // On most days most apps are not opened.
        if generation == 2 && number % 3 != 0 {
            continue;
        }
        let domain = format!("AppDomain-{id}");
        phone.put(&domain, &format!("Library/Preferences/{id}.plist"), preferences(specimen, name, generation));
        phone.put(&domain, "Documents/settings.json", settings(specimen, id, version, generation));
        let new = prose(&mut specimen.noise(&format!("note {id} {generation}")), 900);
        phone.put(&domain, &format!("Documents/Notes/new {generation}.txt"), new);
    }
    let tides = format!("AppDomain-{}", APPS[0].0);
    let caches = phone.files(&tides, "Library/Application Support/cache/");
    if let [gone, moved, ..] = caches.as_slice() {
        phone.take(&tides, gone);
        if let Some(plain) = phone.take(&tides, moved) {
            phone.put(&tides, &format!("Documents/kept {generation}.bin"), plain);
        }
    }
    let history = database::edit(phone.plain(SAFARI, HISTORY)?, |history| {
        let count = if generation == 2 { 12 } else { 200 };
        visit(specimen, history, generation, count, (date(generation - 1), date(generation) - 60))
    })?;
    phone.put(SAFARI, HISTORY, history);
    Ok(())
}

fn preferences(specimen: &Specimen, name: &str, generation: u32) -> Vec<u8> {
    let mut noise = specimen.noise(&format!("preferences {name}"));
    let mut root = Dictionary::new();
    root.insert("AppName".into(), name.into());
    root.insert("FirstLaunch".into(), false.into());
    root.insert("InstallID".into(), noise.uuid().into());
    root.insert("Launches".into(), (noise.below(400) as u64 + u64::from(generation)).into());
    root.insert("Token".into(), Value::Data(noise.bytes(48)));
    binary(root)
}

fn settings(specimen: &Specimen, id: &str, version: &str, generation: u32) -> String {
    let mut noise = specimen.noise(&format!("settings {id}"));
    format!(
        "{{\n  \"app\": \"{id}\",\n  \"version\": \"{version}\",\n  \"device\": \"{}\",\n  \"sync\": {},\n  \"revision\": {}\n}}\n",
        noise.uuid(),
        noise.once_in(2),
        noise.below(900) + generation as usize
    )
}

fn cache(noise: &mut Noise) -> Vec<u8> {
    let items = (0..4 + noise.below(12)).map(|id| {
        let text = sentence(noise);
        format!("{{\"id\":{id},\"etag\":\"{:016x}\",\"text\":\"{text}\"}}", noise.next())
    });
    format!("[{}]", items.collect::<Vec<_>>().join(",\n")).into_bytes()
}

fn visit(specimen: &Specimen, history: &Connection, generation: u32, count: usize, span: (i64, i64)) -> rusqlite::Result<()> {
    let mut noise = specimen.noise(&format!("visits {generation}"));
    for time in times(&mut noise, count, span) {
        let (site, page) = (*noise.pick(SITES), noise.below(40));
        let url = format!("https://{site}.example.org/{page}");
        let sql = "INSERT INTO history_items (url, domain_expansion, visit_count) VALUES (?1, ?2, 1) \
                   ON CONFLICT (url) DO UPDATE SET visit_count = visit_count + 1";
        history.execute(sql, params![url, site])?;
        let sql =
            "INSERT INTO history_visits (history_item, visit_time, title) SELECT id, ?2, ?3 FROM history_items WHERE url = ?1";
        history.execute(sql, params![url, (time - APPLE_EPOCH) as f64, format!("{site}, page {page}")])?;
    }
    Ok(())
}

/// A binary property list.
pub(crate) fn binary(root: Dictionary) -> Vec<u8> {
    let mut bytes = Vec::new();
    Value::Dictionary(root).to_writer_binary(&mut bytes).expect("a vector takes every write, and the tree is well-formed");
    bytes
}
