//! `russet key rotate` and `russet key reseal`: new master secrets, and what is there sealed again under them.

use russet_repository::format::slot::SlotKind;
use russet_repository::{Repository, Resealed};
use serde_json::{Value, json};

use super::NewPassword;
use crate::progress::Meter;
use crate::report::{Code, Failure, Result};
use crate::session::Session;
use crate::terminal;
use crate::text::{plural, short, size};

/// Rotates the keys, once whoever asks for it knows which keys that costs.
pub(super) fn run(
    repository: &mut Repository,
    session: &Session,
    meter: &Meter,
    reseal: bool,
    yes: bool,
    new: &NewPassword,
) -> Result<()> {
    let slots = repository.slots()?.entries;
    let others: Vec<&str> = slots.iter().filter(|entry| !entry.used).map(|entry| entry.slot.label.as_str()).collect();
    let goes = match others[..] {
        [] => "There is no other key to lose.".to_owned(),
        _ => format!("These keys are removed and have to be made again: {}.", others.join(", ")),
    };
    if !yes {
        if !terminal::is_there() {
            return Err(Failure::new(Code::Usage, format!("the master secrets change. {goes}"))
                .hint("--yes says that this is meant, and does not ask"));
        }
        session.out.say(format!("New master secrets are drawn. {goes}"));
        if !terminal::confirm("Rotate the keys?", false)? {
            session.out.say("Nothing was changed.");
            return Ok(());
        }
    }
    let label =
        slots.iter().find(|entry| entry.used && entry.slot.kind == SlotKind::Password).map(|entry| entry.slot.label.as_str());
    let password = session.new_password(&new.source(), new.weak_password_ok)?;
    let rotated = repository.rotate(
        password.as_bytes(),
        SlotKind::Password,
        label.unwrap_or("password"),
        new.kdf.into(),
        Session::unix_now(),
    )?;
    session.out.summary(format!(
        "rotated: generation {} of the keys, which key {} opens; {} removed",
        rotated.generation,
        short(&rotated.slot.hex()),
        plural(rotated.removed.len() as u64, "key slot")
    ))?;
    session.out.say("Make a recovery key and key files again: `russet key recovery`, `russet key add --write-only --to FILE`.");
    let resealed = match reseal {
        true => Some(repository.reseal(meter)),
        false => None,
    };
    meter.end();
    let resealed = resealed.transpose()?;
    if let Some(resealed) = &resealed {
        say(session, resealed)?;
    }
    session.out.object(&json!({
        "generation": rotated.generation,
        "key": rotated.slot.hex(),
        "removed": rotated.removed,
        "resealed": resealed.as_ref().map(object),
    }))
}

/// Seals everything again that is sealed under older secrets.
pub(super) fn reseal(repository: &Repository, session: &Session, meter: &Meter) -> Result<()> {
    let resealed = repository.reseal(meter);
    meter.end();
    let resealed = resealed?;
    say(session, &resealed)?;
    session.out.object(&json!({ "resealed": object(&resealed) }))
}

fn say(session: &Session, resealed: &Resealed) -> Result<()> {
    for file in &resealed.left {
        session.out.warn(format!("{} stays as it was: {}", file.file, file.why));
    }
    session.out.summary(format!(
        "sealed again: {}, {} ({}), {}, {}",
        plural(resealed.snapshots, "snapshot"),
        plural(resealed.packs, "pack"),
        size(resealed.pack_bytes),
        plural(resealed.index_files, "index file"),
        plural(resealed.vault_files, "vault file"),
    ))
}

fn object(resealed: &Resealed) -> Value {
    json!({
        "snapshots": resealed.snapshots,
        "packs": resealed.packs,
        "pack_bytes": resealed.pack_bytes,
        "index_files": resealed.index_files,
        "vault_files": resealed.vault_files,
        "left": resealed.left.iter().map(|file| json!({ "file": file.file, "why": file.why })).collect::<Vec<_>>(),
    })
}
