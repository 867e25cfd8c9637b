//! `russet device`: settings of a phone that matter to its backups.

mod choose;

use std::path::PathBuf;
use std::time::Duration;

use russet_backup::newest_password;
use russet_backup::phone::{Encryption, new_password, set_encryption};
use russet_repository::Repository;
use serde_json::json;
use zeroize::Zeroizing;

use crate::phone_password::PhonePassword;
use crate::phones::{self, Way};
use crate::progress::Meter;
use crate::report::{Code, Failure, Result};
use crate::secrets::Source;
use crate::session::{FirstUse, Session};
use crate::wanted::Device;
use crate::{remarks, terminal};

/// Changes settings of a phone that decide what its backups keep
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  russet device encryption on\n  russet device apps\n  russet device exclude net.whatsapp.WhatsApp"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Switches the encryption of a phone's backups; the password is kept in the repository
    #[command(after_help = "Example:\n  russet device encryption on\n  russet device encryption change-password")]
    Encryption {
        #[command(subcommand)]
        verb: Switch,
    },
    /// Lists the apps of a device, the largest first, and says which are kept in its backups
    #[command(after_help = "Example:\n  russet device apps --device \"Anna's iPhone\"")]
    Apps {
        #[command(flatten)]
        device: Device,
    },
    /// Leaves apps, domains or files out of what is kept of a device from now on
    ///
    /// The phone sends them all the same; this computer does not keep them. Such a backup is not for a full restore, and says so.
    #[command(after_help = "Example:\n  russet device exclude net.whatsapp.WhatsApp\n  russet device exclude '**/*.mov'")]
    Exclude {
        /// An app's bundle id or name, a domain, or a pattern over path or domain and path: `*` stops at a slash, `**` does not
        #[arg(required = true, value_name = "APP|DOMAIN|GLOB")]
        what: Vec<String>,
        #[command(flatten)]
        device: Device,
    },
    /// Takes what was left out into what is kept of a device again
    #[command(after_help = "Example:\n  russet device include net.whatsapp.WhatsApp")]
    Include {
        /// What was given to `russet device exclude`
        #[arg(required = true, value_name = "APP|DOMAIN|GLOB")]
        what: Vec<String>,
        #[command(flatten)]
        device: Device,
    },
}

#[derive(Debug, clap::Subcommand)]
enum Switch {
    /// Encrypts the phone's backups from now on, so that passwords, Health and more are kept in them too
    ///
    /// The password is made here, kept sealed in the repository and shown once, unless another one is given.
    #[command(after_help = "Example:\n  russet device encryption on\n  russet device encryption on --own-password")]
    On {
        #[command(flatten)]
        way: Way,
        #[command(flatten)]
        new: NewPassword,
        #[command(flatten)]
        first: FirstUse,
    },
    /// Ends the encryption of the phone's backups; dates that are kept already stay as they are
    #[command(after_help = "Example:\n  russet device encryption off")]
    Off {
        #[command(flatten)]
        way: Way,
        #[command(flatten)]
        old: PhonePassword,
        /// Does not ask whether that is really wanted
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        first: FirstUse,
    },
    /// Gives the phone's backups another password; dates that are kept already need no other
    #[command(after_help = "Example:\n  russet device encryption change-password")]
    ChangePassword {
        #[command(flatten)]
        way: Way,
        #[command(flatten)]
        old: PhonePassword,
        #[command(flatten)]
        new: NewPassword,
        #[command(flatten)]
        first: FirstUse,
    },
}

/// Where the new password comes from, if it is not to be made here.
#[derive(Debug, clap::Args)]
struct NewPassword {
    /// Reads the new password from a file
    #[arg(long, value_name = "FILE", conflicts_with = "new_phone_password_command")]
    new_phone_password_file: Option<PathBuf>,
    /// Runs a command that prints the new password [else: RUSSET_NEW_PHONE_PASSWORD, else it is made here]
    #[arg(long, value_name = "COMMAND")]
    new_phone_password_command: Option<String>,
    /// Asks for the new password at the terminal
    #[arg(long, conflicts_with_all = ["new_phone_password_file", "new_phone_password_command"])]
    own_password: bool,
}

impl NewPassword {
    /// The password, and whether it was made here.
    fn get(&self, session: &Session, device: &str, first: &FirstUse) -> Result<(Zeroizing<String>, bool)> {
        let source = Source {
            what: format!("new backup password of {device}"),
            file: self.new_phone_password_file.clone(),
            command: self.new_phone_password_command.clone(),
            variable: "RUSSET_NEW_PHONE_PASSWORD",
            options: ("--new-phone-password-file", "--new-phone-password-command"),
            code: Code::PhonePassword,
        };
        match self.own_password || source.read()?.is_some() {
            true => Ok((session.new_password(&source, first.weak_password_ok)?, false)),
            false => Ok((new_password()?, true)),
        }
    }
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<Code> {
    match &args.verb {
        Verb::Encryption { verb } => switch(verb, session),
        Verb::Apps { device } => choose::apps(device, session),
        Verb::Exclude { what, device } => choose::exclude(what, device, session),
        Verb::Include { what, device } => choose::include(what, device, session),
    }
}

fn switch(verb: &Switch, session: &Session) -> Result<Code> {
    let (Switch::On { way, first, .. } | Switch::Off { way, first, .. } | Switch::ChangePassword { way, first, .. }) = verb;
    let hub = way.road.hub()?;
    let attached = way.find(&hub, Duration::ZERO, session)?;
    let phone = phones::open(&hub, &attached, session)?;
    let (name, udid) = (phones::name(phone.facts()).to_owned(), phone.facts().udid.clone());
    check(verb, &name, phone.facts().will_encrypt)?;
    session.out.say(phones::title(phone.facts()));
    if let Switch::Off { yes: false, .. } = verb {
        session.out.say(remarks::LOST);
        if !terminal::is_there() {
            return Err(Failure::new(Code::Usage, "nobody is there to say whether that is really wanted")
                .hint("--yes says so, and does not ask"));
        }
        if !terminal::confirm(&format!("End the encryption of the backups of {name}?"), false)? {
            return Err(Failure::new(Code::Cancelled, format!("the backups of {name} stay encrypted")));
        }
    }

    let meter = Meter::of_phone(&session.out, &name);
    let (repository, recovery_key) = session.open_or_create(first, &meter)?;
    if let Some(key) = &recovery_key {
        session.show_recovery_key(key)?;
    }
    let old = |source: &PhonePassword| old_password(&repository, source, &name, &udid);
    let (wanted, made) = match verb {
        Switch::On { new, .. } => {
            let (password, made) = new.get(session, &name, first)?;
            (Encryption::On { password: password.clone() }, made.then_some(password))
        }
        Switch::Off { old: source, .. } => (Encryption::Off { old: old(source)? }, None),
        Switch::ChangePassword { old: source, new, .. } => {
            let old = old(source)?;
            let (new, made) = new.get(session, &name, first)?;
            (Encryption::Change { old, new: new.clone() }, made.then_some(new))
        }
    };
    let outcome = set_encryption(&repository, &phone, &wanted, Session::now().0, &meter);
    meter.end();
    outcome?;

    let is_on = !matches!(wanted, Encryption::Off { .. });
    match (&made, is_on) {
        (Some(password), _) => session.show_phone_password(&name, password)?,
        (None, true) => session.out.summary(format!(
            "backups of {name} are encrypted with the new password from now on; it is kept sealed in the repository"
        ))?,
        (None, false) => session.out.summary(format!("backups of {name} are not encrypted from now on"))?,
    }
    let mut object = json!({ "udid": udid, "name": name, "encrypted": is_on });
    if let Some(password) = &made {
        object["phone_password"] = json!(password.as_str());
    }
    if let Some(key) = &recovery_key {
        object["recovery_key"] = json!(key.as_str());
    }
    session.out.object(&object)?;
    Ok(Code::Done)
}

/// Nothing is asked of a phone that is as it is wanted already.
fn check(verb: &Switch, name: &str, will_encrypt: Option<bool>) -> Result<()> {
    match (verb, will_encrypt) {
        (Switch::On { .. }, Some(true)) => Err(Failure::new(Code::Usage, format!("backups of {name} are encrypted already"))
            .hint("`russet device encryption change-password` gives them another password")),
        (Switch::Off { .. } | Switch::ChangePassword { .. }, Some(false)) => {
            Err(Failure::new(Code::Usage, format!("backups of {name} are not encrypted"))
                .hint("`russet device encryption on` changes that"))
        }
        _ => Ok(()),
    }
}

/// The password that the phone has: the one of the command line, else the one that is kept, else an answer.
fn old_password(repository: &Repository, source: &PhonePassword, name: &str, udid: &str) -> Result<Zeroizing<String>> {
    if !source.is_given()
        && let Some(kept) = newest_password(repository, udid)?
    {
        return Ok(kept);
    }
    source.source(name).read_or_ask()
}
