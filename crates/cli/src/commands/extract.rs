//! `russet extract`: files come out again, under human names, as Apple's own folder, or as what people mean by them.

mod records;

use std::path::PathBuf;
use std::time::Instant;

use russet_vfs::apple_backup::{Form, export, export_apps};
use russet_vfs::extract::{Extracted, Selection, extract};
use russet_vfs::target::Options;
use russet_vfs::{VfsError, View};
use serde_json::{Value, json};

use crate::facts;
use crate::progress::Meter;
use crate::report::{Code, Result};
use crate::session::Session;
use crate::text::{count, labelled, plural, short, size, took};
use crate::wanted::Which;

/// Examples of a kind that are shown; `--json` has all of them.
const EXAMPLES: usize = 5;

/// Writes files of a snapshot into a folder; the snapshot itself is kept as it is
///
/// Files come out decrypted and under human names, or with --as-apple-backup as the folder that Finder, iTunes and Apple Devices
/// restore from, bit for bit as it came. Nothing is written outside the folder, and nothing that is there is overwritten unless asked.
/// Several of --app, --domain and --path must all hold; with none of them everything comes out. Apple's folder can be made with
/// nothing but some apps in it. --messages and the like write what one can open in a browser, a spreadsheet or an address book, each
/// into a folder of its own.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  russet extract latest --app net.whatsapp.WhatsApp --to ~/whatsapp\n  russet extract 2026-11 --path 'Media/DCIM/**' --to ~/photos\n  russet extract latest --calls --to ~/from-my-phone\n  russet extract latest --as-apple-backup --to ~/restore/00008130-000A1B2C3D4E001C\n  russet extract latest --app net.whatsapp.WhatsApp --as-apple-backup --to ~/whatsapp-only"
)]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,
    /// The folder to write into; it is made if it is not there
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
    /// One app: its bundle id, or its name; several times for several
    #[arg(long, value_name = "ID")]
    app: Vec<String>,
    /// One domain, as `russet usage` shows them
    #[arg(long, value_name = "DOMAIN", conflicts_with = "as_apple_backup")]
    domain: Option<String>,
    /// Paths that fit a pattern, with or without the domain before them; `*` stops at a slash, `**` does not
    #[arg(long, value_name = "GLOB", conflicts_with = "as_apple_backup")]
    path: Option<String>,
    #[command(flatten)]
    kinds: records::Kinds,
    /// Makes Apple's own folder again, exactly as it came; with --app one that holds nothing else
    #[arg(long)]
    as_apple_backup: bool,
    /// Makes Apple's own folder without Apple's encryption: whoever has the folder can read everything in it
    #[arg(long, requires = "as_apple_backup")]
    plain: bool,
    /// Overwrites files that are there already
    #[arg(long)]
    overwrite: bool,
    /// Gives files their old owner and group, as far as this user may
    #[arg(long)]
    owners: bool,
    /// Makes names that Windows can hold too
    #[arg(long)]
    portable_names: bool,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<Code> {
    let meter = Meter::new(&session.out);
    let repository = session.open(&meter)?;
    let entry = args.which.find(&repository, &session.out)?;
    let defaults = Options::default();
    let options = Options { overwrite: args.overwrite, owners: args.owners, portable: args.portable_names || defaults.portable };
    if let Some(kinds) = args.kinds.wanted() {
        return records::run(kinds, &repository, &entry, &args.to, options, session, &meter);
    }
    let began = Instant::now();
    let extracted = if args.as_apple_backup {
        let form = if args.plain { Form::Plain } else { Form::AsItCame };
        match args.app.is_empty() {
            true => export(&repository, &entry.snapshot, &args.to, form, options, &meter)?,
            false => export_apps(&repository, &entry.snapshot, &args.app, &args.to, form, options, &meter)?,
        }
    } else {
        let by_name = !args.app.is_empty() || args.domain.is_some();
        if by_name && facts::is_locked(&entry.snapshot) {
            return Err(VfsError::Locked.into());
        }
        facts::warn_if_locked(&entry.snapshot, &session.out);
        let view = View::open(repository.reader()?, &entry.snapshot)?;
        let selection = Selection { apps: args.app.clone(), domain: args.domain.clone(), path: args.path.clone() };
        extract(&view, &selection, &args.to, options, &meter)?
    };
    meter.end();

    let Extracted { written, failed, missing } = &extracted;
    session.out.summary(format!(
        "wrote {}, {}, of snapshot {} to {} in {}",
        plural(written.files, "file"),
        size(written.bytes),
        short(&entry.name.hex()),
        args.to.display(),
        took(began.elapsed()),
    ))?;
    for line in trouble(&extracted) {
        session.out.line(line)?;
    }
    session.out.object(&json!({
        "snapshot": entry.name.hex(),
        "to": args.to.display().to_string(),
        "files": written.files,
        "bytes": written.bytes,
        "directories": written.directories,
        "links": written.links,
        "renamed": pairs(&written.renamed, "name"),
        "skipped": pairs(&written.skipped, "why"),
        "failed": pairs(failed, "why"),
        "missing": missing,
        "seconds": began.elapsed().as_secs_f64(),
    }))?;
    Ok(match () {
        () if !failed.is_empty() => Code::Damage,
        () if !missing.is_empty() || !written.skipped.is_empty() => Code::SourceDamaged,
        () => Code::Done,
    })
}

fn pairs(pairs: &[(String, String)], second: &str) -> Vec<Value> {
    pairs.iter().map(|(path, other)| json!({ "path": path, second: other })).collect()
}

/// What did not come out as it was.
fn trouble(extracted: &Extracted) -> Vec<String> {
    let Extracted { written, failed, missing } = extracted;
    let some = |label: &str, sentence: String, examples: Vec<String>, number: usize| {
        if number == 0 {
            return Vec::new();
        }
        let rest = number.saturating_sub(EXAMPLES);
        let more = (rest > 0).then(|| format!("  and {} more; --json lists all", count(rest as u64)));
        let lines: Vec<String> =
            std::iter::once(sentence).chain(examples.into_iter().map(|e| format!("  {e}"))).chain(more).collect();
        labelled(label, &lines)
    };
    let is_there = written.skipped.iter().any(|(_, why)| why.contains("there already"));
    let files = |number: usize| plural(number as u64, "file");
    let shown = |pairs: &[(String, String)], between: &str| -> Vec<String> {
        pairs.iter().take(EXAMPLES).map(|(path, other)| format!("{path}{between}{other}")).collect()
    };
    [
        some("failed", format!("{} cannot be given back whole:", files(failed.len())), shown(failed, ": "), failed.len()),
        some(
            "missing",
            format!("{} that the backup names and never had:", files(missing.len())),
            missing.iter().take(EXAMPLES).cloned().collect(),
            missing.len(),
        ),
        some(
            "skipped",
            format!(
                "{} left out{}:",
                files(written.skipped.len()),
                if is_there { "; --overwrite replaces what is there" } else { "" }
            ),
            shown(&written.skipped, ": "),
            written.skipped.len(),
        ),
        some(
            "renamed",
            format!("{} whose names this disk cannot hold:", files(written.renamed.len())),
            shown(&written.renamed, " is now "),
            written.renamed.len(),
        ),
    ]
    .concat()
}
