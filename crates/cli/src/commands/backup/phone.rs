//! A phone goes into the repository: found, paired with, asked to encrypt, and taken in while its owner is told what to do.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use russet_backup::BackupError;
use russet_backup::phone::{self, Encryption, Options, Remark, before_backup, new_password};
use russet_device::{Attached, Hub, Session as Phone};
use russet_repository::Repository;
use zeroize::Zeroizing;

use super::{Args, Done, LARGEST_LIBRARY, Shown, WITHOUT, report, request};
use crate::commands::info::coverage;
use crate::phone_password::{Asking, unlocking};
use crate::progress::Meter;
use crate::report::{Code, Failure, Result};
use crate::runs::Who;
use crate::session::Session;
use crate::{phones, places, remarks, runs, terminal};

/// A phone that was just plugged in takes a moment to be seen.
const MOMENT: Duration = Duration::from_secs(2);

const WHY: &str = "This phone encrypts its backups. The password is the one that Finder, iTunes or Apple Devices asked for when that was \
                   turned on, not the passcode; it is kept sealed in the repository.";

pub(super) fn run(args: &Args, session: &Session) -> Result<Code> {
    let hub = args.way.road.hub()?;
    let attached = args.way.find(&hub, MOMENT, session)?;
    let phone = phones::open(&hub, &attached, session)?;
    session.out.say(format!("{}, by {}", phones::title(phone.facts()), phones::connection(&attached)));
    let meter = Meter::of_phone(&session.out, phones::name(phone.facts()));
    for remark in before_backup(phone.facts()).iter().filter(|remark| **remark != Remark::NotEncrypted) {
        session.out.warn(format!("{}: {}", phones::name(phone.facts()), remarks::sentence(remark)));
    }

    let (repository, recovery_key) = session.open_or_create(&args.first, &meter)?;
    if let Some(key) = &recovery_key {
        session.show_recovery_key(key)?;
    }
    let who = Who { udid: attached.udid.clone(), name: phones::name(phone.facts()).to_owned() };
    let (done, shown) = runs::alone(
        &who,
        "russet backup",
        session,
        |(done, _): &(Done, Shown)| &done.saved,
        || {
            let run = Run { args, session, repository: &repository, meter: &meter };
            let (phone, phone_password) = run.encrypted(&hub, &attached, phone)?;
            Ok((run.take(&phone)?, Shown { recovery_key, phone_password }))
        },
    )?;
    report(session, &repository, &[done], &shown, None)
}

/// Takes a phone in as it is.
pub(super) fn take(args: &Args, phone: &Phone, repository: &Repository, session: &Session, meter: &Meter) -> Result<Done> {
    Run { args, session, repository, meter }.take(phone)
}

struct Run<'a> {
    args: &'a Args,
    session: &'a Session,
    repository: &'a Repository,
    meter: &'a Meter,
}

impl Run<'_> {
    /// Sees to it that the phone encrypts its backups, if its owner wants that.
    fn encrypted(&self, hub: &Hub, attached: &Attached, phone: Phone) -> Result<(Phone, Option<Zeroizing<String>>)> {
        let out = &self.session.out;
        if phone.facts().will_encrypt != Some(false) || self.args.no_encrypt {
            return Ok((phone, None));
        }
        let wanted = self.args.encrypt
            || (terminal::is_there()
                && !out.json
                && {
                    out.say(remarks::LOST);
                    out.say("With encryption, the password is kept in the repository and shown once; the phone asks for its passcode twice.");
                    terminal::confirm("Switch the encryption of this phone's backups on?", true)?
                });
        if !wanted {
            out.warn(format!("{}: {}", phones::name(phone.facts()), remarks::sentence(&Remark::NotEncrypted)));
            return Ok((phone, None));
        }
        let password = new_password()?;
        let wanted = Encryption::On { password: password.clone() };
        let outcome = phone::set_encryption(self.repository, &phone, &wanted, Session::now().0, self.meter);
        self.meter.end();
        outcome?;
        self.session.show_phone_password(phones::name(phone.facts()), &password)?;
        // What a session knows of its phone is as old as the session.
        drop(phone);
        Ok((phones::open(hub, attached, self.session)?, Some(password)))
    }

    fn take(&self, phone: &Phone) -> Result<Done> {
        let facts = phone.facts();
        let spool = self.spool(&facts.udid)?;
        let options = Options { volumes: vec![self.session.place()?, spool.clone()], spool, full: self.args.full };
        let began = Instant::now();
        let mut asking = Asking::new(self.args.phone.source(phones::name(facts)), self.meter, self.session.out, WHY, WITHOUT);
        let outcome = unlocking(&mut asking, self.args.without_phone_password, |unlock| {
            let taken = phone::back_up(self.repository, phone, &options, unlock, &request(self.session), self.meter);
            taken.map_err(|error| whose(error, phones::name(facts), &options.spool))
        });
        self.meter.end();
        let taken = outcome?;
        let time = began.elapsed();
        let coverage = coverage(self.repository, &taken.saved.snapshot, LARGEST_LIBRARY).ok();
        Ok(Done { saved: taken.saved, time, coverage, wire: Some(taken.wire), remarks: taken.remarks })
    }

    /// A folder for this phone alone.
    fn spool(&self, udid: &str) -> Result<PathBuf> {
        // A phone says itself what its id is.
        if udid.is_empty() || !udid.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(Failure::new(Code::Lied, format!("the phone says that its id is {udid:?}, which no phone's is")));
        }
        let spools = self.args.spool.clone().or_else(places::spool).ok_or_else(|| {
            Failure::new(Code::Usage, "there is no home folder in which what the phone sends could wait")
                .hint("say where with --spool")
        })?;
        Ok(spools.join(udid))
    }
}

/// Says whose fault an error is that names a file: what a phone describes is the phone's, and the spool is this computer's.
fn whose(error: BackupError, device: &str, spool: &Path) -> BackupError {
    match error {
        BackupError::Apple { .. } | BackupError::TooLarge { .. } => {
            BackupError::PhoneChanged { device: device.to_owned(), what: error.to_string() }
        }
        BackupError::Io { path, source } if path.starts_with(spool) => BackupError::Host { source: Box::new(source) },
        other => other,
    }
}
