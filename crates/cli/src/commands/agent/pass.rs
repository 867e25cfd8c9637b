//! One look at the phones that are there: which is known, which is due, and how its backup ended.

use std::sync::Arc;

use russet_agent::due::Due;
use russet_agent::hooks::Outbox;
use russet_agent::journal::{Entry, Journal};
use russet_backup::phone::newest_of;
use russet_device::{Attached, DeviceError, Hub};
use russet_repository::Repository;
use russet_repository::format::slot::Rights;

use super::tell::Teller;
use super::upkeep::{Cared, look_after};
use super::{conditions, moment};
use crate::commands::backup::{Done, unattended};
use crate::phones::{name, unique};
use crate::progress::Meter;
use crate::report::{Code, Failure, Result};
use crate::runs::{self, Who};
use crate::session::Session;
use crate::text::age;

/// How long the repository's word on a phone that it does not know is believed, and how often somebody is told that a phone is stale.
const DAY: i64 = 86_400;

/// What came of one look.
pub(super) struct Passed {
    /// Why no phone could be looked for, if none could.
    pub(super) blind: Option<Failure>,
    pub(super) looks: Vec<Look>,
    pub(super) stale: Vec<Stale>,
    pub(super) cared: Option<Cared>,
}

/// What came of one phone.
pub(super) struct Look {
    pub(super) who: Who,
    pub(super) outcome: Outcome,
}

pub(super) enum Outcome {
    /// Nobody ever backed it up.
    Unknown,
    /// It is not backed up by itself.
    Off,
    /// It is not due before then.
    NotDue(i64),
    /// Something has to be otherwise first.
    Conditions(Vec<&'static str>),
    /// Another run is busy with it.
    Busy(Failure),
    /// It was backed up.
    Good(Box<Done>),
    /// Somebody has to do something at the phone.
    Waiting(Failure),
    /// It failed.
    Failed(Failure),
}

/// A phone whose last good backup is too old.
pub(super) struct Stale {
    pub(super) who: Who,
    pub(super) last: Option<i64>,
    pub(super) since: i64,
    /// Whether hooks heard of it now; they do once a day.
    pub(super) told: bool,
    now: i64,
}

impl Passed {
    /// How the run ends: the first failure counts, else that something is stale.
    pub(super) fn code(&self) -> Code {
        let failed = self.looks.iter().find_map(|look| match &look.outcome {
            Outcome::Failed(failure) | Outcome::Waiting(failure) => Some(failure.code),
            _ => None,
        });
        let troubles = self.cared.as_ref().map(Cared::troubles).unwrap_or_default();
        let damaged = troubles.first().map(|failure| failure.code);
        let blind = self.blind.as_ref().map(|failure| failure.code);
        failed.or(damaged).or(blind).unwrap_or(if self.stale.is_empty() { Code::Done } else { Code::Stale })
    }
}

impl Look {
    pub(super) fn called(&self) -> &str {
        if self.who.name.is_empty() { &self.who.udid } else { &self.who.name }
    }
}

impl Outcome {
    pub(super) fn word(&self) -> &'static str {
        match self {
            Outcome::Unknown => "unknown",
            Outcome::Off => "off",
            Outcome::NotDue(_) => "not-due",
            Outcome::Conditions(_) => "conditions",
            Outcome::Busy(_) => "busy",
            Outcome::Good(_) => "good",
            Outcome::Waiting(_) => "waiting",
            Outcome::Failed(_) => "failed",
        }
    }

    pub(super) fn sentence(&self) -> String {
        match self {
            Outcome::Unknown => {
                "it was never backed up here; `russet backup` does it once, and from then on it happens by itself".to_owned()
            }
            Outcome::Off => "it is not backed up by itself, as the configuration says".to_owned(),
            Outcome::NotDue(at) => format!("it is due {}", moment(*at)),
            Outcome::Conditions(missing) => format!("it is due, and waits because {}", missing.join(" and ")),
            Outcome::Busy(failure) => failure.message.clone(),
            Outcome::Good(_) => "it was backed up".to_owned(),
            Outcome::Waiting(failure) => format!("{}; it is tried again later", failure.message),
            Outcome::Failed(failure) => failure.message.clone(),
        }
    }

    pub(super) fn failure(&self) -> Option<&Failure> {
        match self {
            Outcome::Busy(failure) | Outcome::Waiting(failure) | Outcome::Failed(failure) => Some(failure),
            _ => None,
        }
    }

    pub(super) fn is_news(&self) -> bool {
        matches!(self, Outcome::Good(_) | Outcome::Waiting(_) | Outcome::Failed(_))
    }

    fn of(failure: Failure) -> Outcome {
        match runs::is_waiting(&failure) {
            true => Outcome::Waiting(failure),
            false if failure.code == Code::Busy => Outcome::Busy(failure),
            false => Outcome::Failed(failure),
        }
    }
}

impl Stale {
    pub(super) fn sentence(&self) -> String {
        let name = if self.who.name.is_empty() { &self.who.udid } else { &self.who.name };
        match self.last {
            Some(last) => format!("{name} is stale: its last good backup is {} old", age(self.now - last)),
            None => format!("{name} is stale: it was never backed up"),
        }
    }
}

/// One look at what is there.
pub(super) struct Pass<'a> {
    session: &'a Session,
    hub: &'a Hub,
    journal: &'a Journal,
    teller: Teller<'a>,
    /// Opened when it is first wanted: that costs a key derivation.
    repository: Option<Repository>,
}

impl<'a> Pass<'a> {
    pub(super) fn new(session: &'a Session, hub: &'a Hub, journal: &'a Journal) -> Pass<'a> {
        let teller = Teller { session, outbox: Arc::new(Outbox::default()) };
        Pass { session, hub, journal, teller, repository: None }
    }

    pub(super) fn go(mut self) -> Passed {
        let (phones, blind) = match self.hub.phones() {
            Ok(phones) => (unique(phones), None),
            // Some systems start usbmuxd when a phone is plugged in, and end it with the last one.
            Err(DeviceError::NoUsbmuxd { .. } | DeviceError::NoPhone) => (Vec::new(), None),
            // Phones grow stale all the same, and that is told.
            Err(error) => (Vec::new(), Some(error.into())),
        };
        self.note_absent(&phones);
        let looks: Vec<Look> = phones.iter().map(|phone| self.look(phone)).collect();
        let is_new = looks.iter().any(|look| matches!(look.outcome, Outcome::Good(_)));
        // A key that only adds can look after nothing; whoever has the password does that.
        let cared = self.repository.as_ref().filter(|repository| is_new && repository.rights() == Rights::Full);
        let cared = cared.map(|repository| look_after(repository, self.session, self.journal, &self.teller));
        let stale = self.stale();
        for lost in self.teller.outbox.finish() {
            self.session.out.warn(lost);
        }
        Passed { blind, looks, stale, cared }
    }

    /// Writes down which known phones are not there, so that it is noticed when they come.
    fn note_absent(&self, phones: &[Attached]) {
        for mut entry in self.entries() {
            let is_here = phones.iter().any(|phone| phone.udid == entry.udid);
            if !is_here && entry.see(false, Session::now().0) {
                runs::keep(self.journal, &entry, &self.session.out);
            }
        }
    }

    fn entries(&self) -> Vec<Entry> {
        let (entries, damaged) = self.journal.devices().unwrap_or_else(|error| (Vec::new(), vec![error]));
        for error in damaged {
            self.session.out.warn(error.to_string());
        }
        entries
    }

    fn look(&mut self, attached: &Attached) -> Look {
        let mut who = Who { udid: attached.udid.clone(), name: String::new() };
        let mut entry = runs::entry(self.journal, &who, &self.session.out);
        if entry.name.is_empty() {
            // A phone that says nothing yet is called by its id.
            entry.name = self.hub.facts(attached).map_or_else(|_| String::new(), |facts| name(&facts).to_owned());
        }
        who.name.clone_from(&entry.name);
        entry.see(true, Session::now().0);
        let is_due = self.is_due(&mut entry, &who);
        runs::keep(self.journal, &entry, &self.session.out);
        let outcome = match is_due {
            Ok(()) => self.try_phone(attached, &who, &entry),
            Err(outcome) => outcome,
        };
        Look { who, outcome }
    }

    /// Whether a phone is to be backed up now, as far as the journal knows; if not, why.
    fn is_due(&mut self, entry: &mut Entry, who: &Who) -> Result<(), Outcome> {
        if !self.is_known(entry, who) {
            return Err(Outcome::Unknown);
        }
        self.due(entry, who)
    }

    fn due(&self, entry: &Entry, who: &Who) -> Result<(), Outcome> {
        match self.session.config.rules(&who.udid, &who.name).due(&entry.past(), Session::now().0) {
            Due::Now => Ok(()),
            Due::At(at) => Err(Outcome::NotDue(at)),
            Due::Never => Err(Outcome::Off),
        }
    }

    /// Whether somebody wanted it to be backed up: here, or elsewhere into this repository, or by a word in the configuration.
    fn is_known(&mut self, entry: &mut Entry, who: &Who) -> bool {
        if let Some(wanted) = self.session.config.device(&who.udid, &who.name).and_then(|own| own.backup) {
            entry.known |= wanted;
            // Whether it is backed up all the same is for the rules to say.
            return true;
        }
        let now = Session::now().0;
        if entry.known || entry.asked.is_some_and(|asked| (0..DAY).contains(&(now - asked))) {
            return entry.known;
        }
        match self.open() {
            Ok(repository) => {
                entry.known = newest_of(repository, &who.udid).is_ok_and(|newest| newest.is_some());
                entry.asked = Some(now);
            }
            // Where there is no repository, it knows nobody.
            Err(failure) if failure.code == Code::Repository => {}
            Err(failure) => {
                self.session.out.warn(format!("whether the repository knows {} cannot be said: {}", who.udid, failure.message))
            }
        }
        entry.known
    }

    fn open(&mut self) -> Result<&Repository> {
        if self.repository.is_none() {
            let meter = Meter::new(&self.session.out);
            self.repository = Some(self.session.open_to_add(&meter)?);
        }
        self.repository.as_ref().ok_or_else(|| Failure::new(Code::Unexpected, "the repository is not open"))
    }

    /// Backs a phone up that the journal takes to be due.
    fn try_phone(&mut self, attached: &Attached, who: &Who, entry: &Entry) -> Outcome {
        let conditions = self.session.config.conditions(&who.udid, &who.name);
        if !conditions.is_empty() {
            // A phone that does not answer now fails below, where that is told.
            let facts = self.hub.facts(attached).ok();
            let missing = conditions::missing(conditions, facts.as_ref());
            if !missing.is_empty() {
                return Outcome::Conditions(missing);
            }
        }
        let began = Session::now().0;
        if let Err(failure) = self.open() {
            runs::write_failure(self.journal, who, began, &failure, &self.session.out);
            return self.ended(who, began, Err(failure));
        }
        if let Some(outcome) = self.newer(who, entry) {
            return outcome;
        }
        self.teller.begins();
        let outcome = self.back_up(attached, who);
        self.ended(who, began, outcome)
    }

    /// What the repository knows and the journal does not: a newer backup, made by another computer.
    fn newer(&self, who: &Who, entry: &Entry) -> Option<Outcome> {
        let newest = newest_of(self.repository.as_ref()?, &who.udid).ok()??.snapshot.started.0;
        if entry.last_success.is_some_and(|known| known >= newest) {
            return None;
        }
        let mut entry = entry.clone();
        entry.succeeded(newest);
        runs::keep(self.journal, &entry, &self.session.out);
        self.due(&entry, who).err()
    }

    fn back_up(&self, attached: &Attached, who: &Who) -> Result<Done> {
        let repository = self.repository.as_ref().ok_or_else(|| Failure::new(Code::Unexpected, "the repository is not open"))?;
        runs::alone(
            who,
            "russet agent",
            self.session,
            |done: &Done| &done.saved,
            || {
                let phone = self.hub.session(attached)?;
                let outbox = self.teller.desktop();
                let meter = Meter::of_phone(&self.session.out, name(phone.facts())).nudging(move |text| {
                    if let Some(outbox) = &outbox {
                        outbox.show("russet backs up a phone", text);
                    }
                });
                self.session.out.say(format!("backing up {}", name(phone.facts())));
                unattended(&phone, repository, self.session, &meter)
            },
        )
    }

    fn ended(&self, who: &Who, began: i64, outcome: Result<Done>) -> Outcome {
        let seconds = Session::now().0 - began;
        match outcome {
            Ok(done) => {
                self.teller.good(who, &done, seconds);
                Outcome::Good(Box::new(done))
            }
            Err(failure) => {
                let outcome = Outcome::of(failure);
                if let Outcome::Waiting(failure) | Outcome::Failed(failure) = &outcome {
                    self.teller.failed(Some(who), failure);
                }
                outcome
            }
        }
    }

    /// The phones that are stale. Hooks hear of each once a day.
    fn stale(&self) -> Vec<Stale> {
        let now = Session::now().0;
        let mut stale = Vec::new();
        for mut entry in self.entries().into_iter().filter(|entry| entry.known) {
            let rules = self.session.config.rules(&entry.udid, &entry.name);
            let Some(since) = rules.stale_since(&entry.past(), now) else { continue };
            let told = entry.stale_told.is_none_or(|told| !(0..DAY).contains(&(now - told)));
            let who = Who { udid: entry.udid.clone(), name: entry.name.clone() };
            let one = Stale { who, last: entry.last_success, since, told, now };
            if told {
                self.teller.stale(&one);
                entry.stale_told = Some(now);
                runs::keep(self.journal, &entry, &self.session.out);
            }
            stale.push(one);
        }
        stale
    }
}
