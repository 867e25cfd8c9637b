//! The way to a phone: where to look for it, which one is meant, and how it comes to trust this computer.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use russet_device::{
    Address, Attached, Connection, DeviceError, Facts, Hub, HubOptions, PairingStep, RawUsb, Route, Session as Phone,
};

use crate::places;
use crate::report::{Code, Failure, Result};
use crate::session::Session;
use crate::text::plural;

/// How often is looked for a phone that is not there yet.
const LOOK: Duration = Duration::from_millis(300);
/// How long a person may take to unlock a phone, tap "Trust" and enter the passcode.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Which phone, and the way to it.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Way {
    /// The phone, if several are connected: its name, or the first digits of its UDID
    #[arg(long, value_name = "NAME|UDID")]
    pub(crate) device: Option<String>,
    #[command(flatten)]
    pub(crate) road: Road,
    /// Waits for the phone to be connected: so many seconds, or as long as it takes
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "31536000", help_heading = "The way to the phone")]
    wait: Option<u64>,
}

/// Where phones are looked for.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Road {
    /// Where usbmuxd answers: UNIX:/path or host:port [default: the system's own]
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "USBMUXD_SOCKET_ADDRESS",
        hide_env_values = true,
        help_heading = "The way to the phone"
    )]
    usbmuxd: Option<String>,
    /// Talks to USB directly, and not to usbmuxd
    #[arg(long, hide = !cfg!(target_os = "linux"), help_heading = "The way to the phone")]
    raw_usb: bool,
}

impl Road {
    /// Opens the way.
    pub(crate) fn hub(&self) -> Result<Hub> {
        let usbmuxd = match &self.usbmuxd {
            None => None,
            Some(text) => Some(text.parse::<Address>().map_err(|error| {
                Failure::new(Code::Usage, error.to_string())
                    .hint("--usbmuxd and USBMUXD_SOCKET_ADDRESS say where usbmuxd answers; without them it is the system's own")
            })?),
        };
        let raw_usb = match (self.raw_usb, &usbmuxd) {
            (true, _) => RawUsb::Only,
            // Whoever names a usbmuxd means that one.
            (false, None) if cfg!(target_os = "linux") => RawUsb::IfNoUsbmuxd,
            _ => RawUsb::Never,
        };
        let records = places::phones()
            .ok_or_else(|| Failure::new(Code::Usage, "there is no home folder to keep pairing records in").hint("set HOME"))?;
        Ok(Hub::open(HubOptions { usbmuxd, raw_usb, records, label: "russet".to_owned(), host_name: places::host() })?)
    }
}

impl Way {
    /// Finds the phone that is meant. Without `--wait` it may take `patience` to appear.
    pub(crate) fn find(&self, hub: &Hub, patience: Duration, session: &Session) -> Result<Attached> {
        let patience = self.wait.map_or(patience, Duration::from_secs);
        let began = Instant::now();
        let mut told = self.wait.is_none();
        loop {
            let outcome = self.choose(hub);
            let is_missing = matches!(&outcome, Err(failure) if failure.code == Code::NoPhone);
            if !is_missing || began.elapsed() >= patience {
                return outcome;
            }
            if !told {
                session.out.say("waiting for the phone to be connected");
                told = true;
            }
            std::thread::sleep(LOOK.min(patience.saturating_sub(began.elapsed())));
        }
    }

    fn choose(&self, hub: &Hub) -> Result<Attached> {
        let phones = unique(hub.phones()?);
        let Some(wanted) = &self.device else {
            return match <[Attached; 1]>::try_from(phones) {
                Ok([phone]) => Ok(phone),
                Err(phones) if phones.is_empty() => Err(DeviceError::NoPhone.into()),
                Err(phones) => Err(DeviceError::SeveralPhones(phones.into_iter().map(|phone| phone.udid).collect()).into()),
            };
        };
        // A phone that does not tell its name is not the one that was named.
        let is_called = |phone: &Attached| hub.facts(phone).is_ok_and(|facts| same_name(&facts.name, wanted));
        let seen = phones.len();
        let meant: Vec<Attached> = phones.into_iter().filter(|phone| is_udid(wanted, &phone.udid) || is_called(phone)).collect();
        match <[Attached; 1]>::try_from(meant) {
            Ok([phone]) => Ok(phone),
            Err(none) if none.is_empty() && seen == 0 => Err(DeviceError::NoPhone.into()),
            Err(none) if none.is_empty() => Err(Failure::new(Code::NoPhone, format!("no connected phone is called {wanted}"))
                .hint("`russet devices` lists those that are connected")),
            Err(several) => {
                let message = format!("{} are called {wanted}", plural(several.len() as u64, "connected phone"));
                Err(Failure::new(Code::NotFound, message).hint("give more of the UDID, as `russet devices` shows it"))
            }
        }
    }
}

/// A phone on the cable and on the network is one phone; the cable comes first.
pub(crate) fn unique(phones: Vec<Attached>) -> Vec<Attached> {
    let mut seen = HashSet::new();
    phones.into_iter().filter(|phone| seen.insert(phone.udid.clone())).collect()
}

/// A session with a phone; one that does not trust this computer is asked first.
pub(crate) fn open(hub: &Hub, attached: &Attached, session: &Session) -> Result<Phone> {
    match hub.session(attached) {
        Err(DeviceError::NotPaired { .. } | DeviceError::TrustLost { .. }) => {
            pair(hub, attached, PATIENCE, session)?;
            let phone = hub.session(attached)?;
            session.out.say(format!("{} trusts this computer now.", name(phone.facts())));
            Ok(phone)
        }
        outcome => Ok(outcome?),
    }
}

/// Makes the phone trust this computer, and says what its owner has to do.
pub(crate) fn pair(hub: &Hub, attached: &Attached, patience: Duration, session: &Session) -> Result<()> {
    let out = session.out;
    let name = hub.facts(attached).map_or_else(|_| "the phone".to_owned(), |facts| name(&facts).to_owned());
    let mut last = None;
    let mut tell = |step: PairingStep| {
        // The phone is asked about once a second; its owner is told once.
        if last == Some(step) {
            return;
        }
        match step {
            PairingStep::UnlockThePhone => out.say(format!("Unlock {name} now.")),
            PairingStep::TapTrust => out.say(format!("Tap “Trust” on {name} now, and enter its passcode there.")),
            _ => {}
        }
        last = Some(step);
    };
    Ok(hub.pair(attached, &mut tell, patience, &|| false)?)
}

/// How a person calls the phone: its name, else its id.
pub(crate) fn name(facts: &Facts) -> &str {
    if facts.name.is_empty() { &facts.udid } else { &facts.name }
}

/// `Robin’s iPhone (iPhone 15, iOS 17.5.1)`
pub(crate) fn title(facts: &Facts) -> String {
    format!("{} ({}, iOS {})", name(facts), facts.product_name.as_deref().unwrap_or(&facts.model), facts.ios)
}

/// How a phone is connected, in a few words.
pub(crate) fn connection(attached: &Attached) -> &'static str {
    match (attached.link, attached.route) {
        (Connection::Usb, Route::Usbmuxd) => "USB, via usbmuxd",
        (Connection::Usb, Route::RawUsb) => "USB, directly",
        (Connection::Network, _) => "Wi-Fi, via usbmuxd",
    }
}

/// Whether two names are the same to somebody who types: phones are named with a curly apostrophe, keyboards have a straight one.
pub(crate) fn same_name(one: &str, other: &str) -> bool {
    let plain = |name: &str| name.trim().replace(['’', '‘'], "'");
    plain(one) == plain(other)
}

/// Whether `text` is a UDID or the beginning of it, long enough to be meant as one. The hyphen may be left out.
pub(crate) fn is_udid(text: &str, udid: &str) -> bool {
    let digits = |text: &str| text.replace('-', "").to_ascii_lowercase();
    let text = digits(text);
    text.len() >= 4 && text.bytes().all(|b| b.is_ascii_hexdigit()) && digits(udid).starts_with(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phone_is_named_by_the_start_of_its_udid_or_by_its_whole_name() {
        let udid = "00008120-000A1B2C3D4E001C";
        for text in ["00008120", "00008120-000a", "00008120000A1B2C3D4E001C", udid] {
            assert!(is_udid(text, udid), "{text}");
        }
        for text in ["", "000", "8120", "00008120-000B", "Robin"] {
            assert!(!is_udid(text, udid), "{text}");
        }
        assert!(same_name("Robin’s iPhone", " Robin's iPhone") && !same_name("Robin’s iPhone", "Robin"));
    }
}
