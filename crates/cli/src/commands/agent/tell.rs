//! Who is told how it ended: hooks, the desktop and the webhook, as the configuration says.

use std::sync::Arc;
use std::time::Duration;

use russet_agent::Span;
use russet_agent::hooks::{Call, Event, Kind, Outbox, run};
use serde_json::{Map, Value, json};

use super::pass::Stale;
use crate::commands::backup::Done;
use crate::report::Failure;
use crate::runs::{self, Who};
use crate::session::Session;
use crate::text::timestamp;
use crate::{remarks, secrets};

pub(super) struct Teller<'a> {
    pub(super) session: &'a Session,
    /// What goes its own way, and is waited for only at the very end.
    pub(super) outbox: Arc<Outbox>,
}

impl Teller<'_> {
    /// Where notifications go, if they are wanted.
    pub(super) fn desktop(&self) -> Option<Arc<Outbox>> {
        self.session.config.hooks.desktop.then(|| self.outbox.clone())
    }

    /// A backup begins.
    pub(super) fn begins(&self) {
        if self.session.config.hooks.webhook.start {
            self.call(Call::Start);
        }
    }

    /// There is a new snapshot.
    pub(super) fn good(&self, who: &Who, done: &Done, seconds: i64) {
        self.call(Call::Good);
        let alarms: Vec<String> = done.remarks.iter().filter(|r| remarks::is_alarm(r)).map(remarks::sentence).collect();
        if !alarms.is_empty() {
            self.show(&format!("{} was backed up, but", who.name), &alarms.join("; "));
        }
        let snapshot = &done.saved.snapshot;
        self.event(
            Kind::Success,
            &json!({
                "device": who.name,
                "udid": who.udid,
                "message": format!("{} was backed up", who.name),
                "snapshot": done.saved.name.hex(),
                "bytes": snapshot.bytes,
                "new_bytes": snapshot.new_bytes,
                "stored_bytes": snapshot.stored_bytes,
                "whole": snapshot.whole,
                "seconds": seconds,
                "alarms": alarms,
            }),
        );
    }

    /// A backup failed or waits for somebody; or something is wrong with the repository, which is of no phone.
    pub(super) fn failed(&self, who: Option<&Who>, failure: &Failure) {
        if self.session.config.hooks.webhook.fail {
            self.call(Call::Fail);
        }
        let is_waiting = runs::is_waiting(failure);
        let title = match (who, is_waiting) {
            (Some(who), true) => format!("{} waits for you", who.name),
            (Some(who), false) => format!("{} was not backed up", who.name),
            (None, _) => "russet's repository needs you".to_owned(),
        };
        self.show(&title, &failure.message);
        self.event(
            Kind::Failure,
            &json!({
                "device": who.map(|who| &who.name),
                "udid": who.map(|who| &who.udid),
                "message": failure.message,
                "hint": failure.hint,
                "code": failure.code.number(),
                "waiting": is_waiting,
            }),
        );
    }

    /// The last good backup of a phone is too old.
    pub(super) fn stale(&self, stale: &Stale) {
        if self.session.config.hooks.webhook.fail {
            self.call(Call::Fail);
        }
        self.show(&format!("{} is stale", stale.who.name), &stale.sentence());
        self.event(
            Kind::Stale,
            &json!({
                "device": stale.who.name,
                "udid": stale.who.udid,
                "message": stale.sentence(),
                "last_success": stale.last.and_then(timestamp),
                "since": timestamp(stale.since),
            }),
        );
    }

    fn call(&self, which: Call) {
        let webhook = &self.session.config.hooks.webhook;
        if let Some(url) = &webhook.url {
            self.outbox.call(url, which, limit(webhook.time_limit));
        }
    }

    fn show(&self, title: &str, text: &str) {
        if let Some(outbox) = self.desktop() {
            outbox.show(title, text);
        }
    }

    fn event(&self, kind: Kind, facts: &Value) {
        let hooks = &self.session.config.hooks;
        let (option, command) = match kind {
            Kind::Success => ("on_success", &hooks.on_success),
            Kind::Failure => ("on_failure", &hooks.on_failure),
            Kind::Stale => ("on_stale", &hooks.on_stale),
        };
        let Some(command) = command else { return };
        let facts = facts.as_object().cloned().unwrap_or_else(Map::new);
        let event = Event { kind, facts };
        if let Err(error) = run(command, &event, &secrets::VARIABLES, limit(hooks.time_limit)) {
            self.session.out.warn(format!("the command of {option}: {error}"));
        }
    }
}

/// No call and no command may take for ever.
fn limit(span: Span) -> Duration {
    Duration::from_secs(span.as_seconds().unwrap_or(3_600).clamp(1, 3_600))
}
