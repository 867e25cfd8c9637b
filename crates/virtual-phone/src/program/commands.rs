//! The commands that the program takes while it runs.

use std::fmt::Write as _;
use std::fs;
use std::io;

use russet_virtual_phone::{Phone, TruthKind};

use super::words;

/// Does what a line says and gives what there is to answer.
pub(super) fn obey(phone: &Phone, line: &str) -> io::Result<String> {
    let (verb, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    match verb {
        "status" => {
            let plugged = if phone.is_plugged() { "plugged" } else { "unplugged" };
            return Ok(format!("{} day {} {plugged}", phone.udid(), phone.day()));
        }
        "day" => {
            phone.a_day_passes()?;
            return Ok(phone.day().to_string());
        }
        "pull" => phone.pull_cable(),
        "plug" => phone.plug_cable(),
        "lock" => phone.lock(),
        "unlock" => phone.unlock(),
        "restart" => phone.restart(),
        "forget" => phone.erase_trust(),
        "cancel" => phone.cancel_from_phone(),
        "trust" => phone.set_trust(words::trust(rest).map_err(words::usage)?),
        "passcode" => phone.set_passcode(words::passcode(rest).map_err(words::usage)?),
        "faults" => {
            let words: Vec<&str> = rest.split_whitespace().filter(|word| *word != "none").collect();
            phone.set_faults(words::faults(&words).map_err(words::usage)?);
        }
        "messages" => return Ok(phone.messages().to_string()),
        "bytes" => return Ok(phone.bytes().to_string()),
        "posted" => return Ok(phone.posted().join(" ")),
        "complaints" => return Ok(phone.complaints().join("; ")),
        "password" => return Ok(phone.backup_password().unwrap_or_default()),
        "truth" => {
            let truth = truth(phone)?;
            fs::write(named(rest)?, truth)?;
        }
        "media" => {
            let (path, file) = rest.split_once(char::is_whitespace).ok_or_else(|| words::usage("say: media PATH FILE"))?;
            let bytes = phone.media(path).ok_or_else(|| words::usage(format!("{path} is not on the phone")))?;
            fs::write(named(file.trim())?, bytes)?;
        }
        "quit" => {}
        _ => return Err(words::usage(format!("{verb} is no command"))),
    }
    Ok(String::new())
}

fn named(file: &str) -> io::Result<&str> {
    if file.is_empty() { Err(words::usage("the file to write is not named")) } else { Ok(file) }
}

/// Everything on the phone, one line each: kind, BLAKE3, size, time of change, who gets it, domain, path; tabs between.
fn truth(phone: &Phone) -> io::Result<String> {
    let mut lines = String::new();
    for entry in phone.truth()? {
        let (kind, hash, size) = match &entry.kind {
            TruthKind::File(plain) => {
                let hash = plain.blake3.iter().fold(String::new(), |mut text, byte| {
                    // A string takes every write.
                    let _ = write!(text, "{byte:02x}");
                    text
                });
                ("file", hash, plain.size)
            }
            TruthKind::Directory => ("directory", "-".to_owned(), 0),
            TruthKind::Symlink(target) => ("symlink", target.clone(), 0),
        };
        let whose = if entry.encrypted_only { "encrypted" } else { "all" };
        let escaped = |text: &str| text.replace(['\t', '\n'], "?");
        let (domain, path) = (escaped(&entry.domain), escaped(&entry.path));
        lines.push_str(&format!("{kind}\t{hash}\t{size}\t{}\t{whose}\t{domain}\t{path}\n", entry.modified));
    }
    Ok(lines)
}
