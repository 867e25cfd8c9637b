//! Calls: who, when, which way and how long, of the telephone, FaceTime and apps.

use jiff::Timestamp;
use russet_apple_format::tables::{Fields, Tables};
use russet_apple_format::well_known::{CALLS, CALLS_IOS7};
use serde_json::{Value, json};

use crate::csv::Csv;
use crate::page::{Page, Table};
use crate::{Context, Count, Folder, Kind, Result, time};

/// Calls.
pub const KIND: Kind = Kind { name: "calls", about: "calls as a page, CSV and JSON", databases: &[CALLS, CALLS_IOS7], write };

/// One call.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// When it began.
    pub date: Option<Timestamp>,
    /// How long it lasted, in seconds.
    pub seconds: f64,
    /// Telephone number or other address; none if it was withheld.
    pub address: Option<String>,
    /// Who that was when the phone noted the call.
    pub name: Option<String>,
    /// Whether the phone's owner called.
    pub outgoing: bool,
    /// Whether it was answered; calls of before iOS 8 that lasted are.
    pub answered: bool,
    /// `Phone`, `FaceTime video`, `FaceTime audio`, or the app's bundle id.
    pub service: String,
    /// Where the number is at home: a country's two letters.
    pub country: Option<String>,
    /// Where the number is at home, as the phone shows it.
    pub location: Option<String>,
}

impl Call {
    /// Which way it went and how, in a word or two.
    pub fn direction(&self) -> &'static str {
        match (self.outgoing, self.answered) {
            (true, true) => "outgoing",
            (true, false) => "outgoing, not answered",
            (false, true) => "incoming",
            (false, false) => "missed",
        }
    }
}

/// All calls, newest first.
pub fn read(context: &Context<'_>, folder: &Folder<'_>) -> Result<Vec<Call>> {
    let mut calls = Vec::new();
    if let Some(tables) = context.open(&CALLS)? {
        calls.extend(read_new(&tables)?);
    }
    if let Some(tables) = context.open(&CALLS_IOS7)? {
        calls.extend(read_old(&tables)?);
    }
    for call in &mut calls {
        // The address book may know by now who it was.
        let known = call.address.as_deref().and_then(|address| context.people(folder).name(address));
        call.name = known.map(str::to_owned).or(call.name.take());
    }
    calls.sort_by_key(|call| std::cmp::Reverse(call.date));
    Ok(calls)
}

/// CallHistory.storedata, since iOS 8.
fn read_new(tables: &Tables) -> Result<Vec<Call>> {
    tables.require("ZCALLRECORD", &["ZDATE", "ZADDRESS"])?;
    let columns = [
        "ZDATE",
        "ZDURATION",
        "ZADDRESS",
        "ZNAME",
        "ZANSWERED",
        "ZORIGINATED",
        "ZCALLTYPE",
        "ZSERVICE_PROVIDER",
        "ZISO_COUNTRY_CODE",
        "ZLOCATION",
    ];
    let mut calls = Vec::new();
    tables.each("ZCALLRECORD", &columns, "", (), |row| {
        calls.push(Call {
            date: row.real("ZDATE").and_then(time::apple),
            seconds: row.real("ZDURATION").unwrap_or(0.0),
            address: row.words("ZADDRESS"),
            name: row.words("ZNAME"),
            outgoing: row.flag("ZORIGINATED"),
            answered: row.flag("ZANSWERED") || row.real("ZDURATION").is_some_and(|seconds| seconds > 0.0),
            service: service(row),
            country: row.words("ZISO_COUNTRY_CODE"),
            location: row.words("ZLOCATION"),
        });
        Ok::<(), crate::Error>(())
    })?;
    Ok(calls)
}

fn service(row: &Fields<'_>) -> String {
    let provider = row.words("ZSERVICE_PROVIDER");
    match (row.integer("ZCALLTYPE"), provider) {
        (Some(8), _) => "FaceTime video".into(),
        (Some(16), _) => "FaceTime audio".into(),
        (Some(1), _) => "Phone".into(),
        (_, Some(provider)) if provider == "com.apple.Telephony" => "Phone".into(),
        (_, Some(provider)) if provider == "com.apple.FaceTime" => "FaceTime".into(),
        (_, Some(provider)) => provider,
        (_, None) => "unknown".into(),
    }
}

/// call_history.db, up to iOS 7.
fn read_old(tables: &Tables) -> Result<Vec<Call>> {
    /// The bit that says that the owner called.
    const OUTGOING: i64 = 1;
    tables.require("call", &["date", "address", "flags"])?;
    let mut calls = Vec::new();
    tables.each("call", &["date", "duration", "address", "flags", "country_code"], "", (), |row| {
        let seconds = row.real("duration").unwrap_or(0.0);
        calls.push(Call {
            date: row.integer("date").and_then(time::unix),
            seconds,
            address: row.words("address"),
            name: None,
            outgoing: row.integer("flags").is_some_and(|flags| flags & OUTGOING != 0),
            answered: seconds > 0.0,
            service: "Phone".into(),
            country: None,
            location: None,
        });
        Ok::<(), crate::Error>(())
    })?;
    Ok(calls)
}

fn write(context: &Context<'_>, folder: &Folder<'_>) -> Result<Vec<Count>> {
    let calls = read(context, folder)?;
    let newest = calls.first().and_then(|call| call.date);
    let shown: Vec<[String; 6]> = calls.iter().map(|call| cells(call, context)).collect();

    let mut csv = Csv::new(&["Date", "Direction", "Name", "Number", "Service", "Duration", "Seconds", "Location"]);
    for (call, [date, direction, name, number, service, duration]) in calls.iter().zip(&shown) {
        let seconds = format!("{:.0}", call.seconds);
        let location = call.location.as_deref().or(call.country.as_deref()).unwrap_or_default();
        csv.row(&[date, direction, name, number, service, duration, &seconds, location]);
    }
    folder.file(&["calls.csv"], csv.bytes(), newest)?;

    let json: Vec<Value> = calls.iter().map(to_json).collect();
    folder.file(&["calls.json"], format!("{:#}\n", json!({ "calls": json })).as_bytes(), newest)?;

    let mut table = Table::new(&["Date", "Direction", "Name", "Number", "Service", ">Duration"]);
    shown.iter().for_each(|cells| table.row(&cells.each_ref().map(String::as_str)));
    let about = format!("{} calls, newest first", calls.len());
    let page = Page { title: "Calls", about: &about, up: None };
    folder.file(&["index.html"], &page.render(&table.finish()), newest)?;
    Ok(vec![Count::of("call", calls.len())])
}

/// What a table shows of a call: date, direction, name, number, service, duration.
fn cells(call: &Call, context: &Context<'_>) -> [String; 6] {
    [
        call.date.map(|date| time::local(date, context.zone)).unwrap_or_default(),
        call.direction().to_owned(),
        call.name.clone().unwrap_or_default(),
        call.address.clone().unwrap_or_else(|| "withheld".to_owned()),
        call.service.clone(),
        if call.answered { time::duration(call.seconds as i64) } else { String::new() },
    ]
}

fn to_json(call: &Call) -> Value {
    json!({
        "date": call.date.map(time::iso),
        "direction": if call.outgoing { "outgoing" } else { "incoming" },
        "answered": call.answered,
        "name": call.name,
        "address": call.address,
        "service": call.service,
        "seconds": call.seconds,
        "country": call.country,
        "location": call.location,
    })
}
