//! One phone: its state, and the way to its ports.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::thread;

use plist::Value;
use russet_specimen::{App, Identity, Specimen};

use crate::cable::Cable;
use crate::inside::Inside;
use crate::key::DeviceKey;
use crate::line::{Line, Pace};
use crate::notices::Notices;
use crate::pairing::Pairing;
use crate::ports::{Opening, Ports};
use crate::services::afc::Media;
use crate::{Config, Faults, Passcode, Stream, Trust, lockdown, memory, services};

/// The port of lockdown, the phone's front door.
pub const LOCKDOWN: u16 = 62078;

/// How many failed connections are remembered.
const COMPLAINTS: usize = 100;

/// A simulated phone. Clones are the same phone.
#[derive(Clone)]
pub struct Phone(pub(crate) Arc<Inner>);

impl fmt::Debug for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Phone").field(&self.0.udid).finish()
    }
}

/// What the parts of the phone share.
pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) udid: String,
    pub(crate) identity: Identity,
    apps: Vec<App>,
    pub(crate) cable: Cable,
    pub(crate) pace: Pace,
    pub(crate) ports: Ports,
    pub(crate) notices: Notices,
    pub(crate) media: Media,
    pub(crate) inside: Mutex<Inside>,
    pub(crate) state: Mutex<State>,
    key: OnceLock<DeviceKey>,
    folder: Option<PathBuf>,
    complaints: Mutex<Vec<String>>,
}

/// What changes while the phone lives.
pub(crate) struct State {
    /// The backup password in its keychain.
    pub(crate) backup_password: Option<String>,
    /// The day it is: 1 is the first.
    pub(crate) day: u32,
    /// What its owner does about trust.
    pub(crate) trust: Trust,
    /// What its owner does about the passcode.
    pub(crate) passcode: Passcode,
    /// Whether it shows its lock screen.
    pub(crate) locked: bool,
    /// Whether it was unlocked since it was started.
    pub(crate) unlocked_since_boot: bool,
    /// Whether the last backup service was asked for with the right escrow bag, so that locked files can be read.
    pub(crate) escrow: bool,
    /// Who may talk to it.
    pub(crate) pairing: Pairing,
    /// Values that hosts set, by domain and key.
    pub(crate) values: BTreeMap<(String, String), Value>,
}

impl Phone {
    /// A phone that was just unlocked and trusts nobody yet.
    pub fn new(config: Config) -> io::Result<Phone> {
        Phone::build(config, None)
    }

    /// A phone that keeps whom it trusts, its key, its backup password and the day in this folder, and goes on from there.
    pub fn open(config: Config, folder: &Path) -> io::Result<Phone> {
        std::fs::create_dir_all(folder)?;
        let phone = Phone::build(config, Some(folder.to_owned()))?;
        memory::recall(&phone, folder)?;
        Ok(phone)
    }

    fn build(config: Config, folder: Option<PathBuf>) -> io::Result<Phone> {
        let specimen = Specimen { seed: config.seed, ..Specimen::default() };
        let apps = specimen.apps();
        let inside = Inside::new(&config)?;
        let state = State {
            backup_password: config.backup_password.clone(),
            day: 1,
            trust: config.trust,
            passcode: config.passcode,
            locked: false,
            unlocked_since_boot: true,
            escrow: false,
            pairing: Pairing::default(),
            values: BTreeMap::new(),
        };
        Ok(Phone(Arc::new(Inner {
            udid: specimen.udid(),
            identity: specimen.identity(),
            apps,
            cable: Cable::default(),
            pace: Pace::new(config.cable_speed),
            ports: Ports::default(),
            notices: Notices::default(),
            media: Media::new(&config),
            inside: Mutex::new(inside),
            state: Mutex::new(state),
            key: OnceLock::new(),
            folder,
            complaints: Mutex::default(),
            config,
        })))
    }

    /// The id of the phone, with its hyphen.
    pub fn udid(&self) -> &str {
        &self.0.udid
    }

    /// Opens a connection to one of the phone's ports, as the cable would.
    pub fn connect(&self, port: u16) -> io::Result<UnixStream> {
        let (ours, theirs) = UnixStream::pair()?;
        self.serve(port, Box::new(theirs))?;
        Ok(ours)
    }

    /// Answers, on a thread of its own, whoever is at the other end of `stream`. A port where nobody listens is refused.
    pub fn serve(&self, port: u16, stream: Box<dyn Stream>) -> io::Result<()> {
        self.dial(port)?.answer(stream)
    }

    /// Calls a port; it is for whoever asks first. Refused where nobody listens.
    pub(crate) fn dial(&self, port: u16) -> io::Result<Call> {
        if !self.is_plugged() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let opening = match port {
            LOCKDOWN => None,
            port => Some(self.0.ports.take(port).ok_or(io::ErrorKind::ConnectionRefused)?),
        };
        Ok(Call { phone: self.clone(), opening })
    }

    /// Sets what goes wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.0.cable.set_faults(faults);
    }

    /// Pulls the cable: every connection ends, and no new one comes about.
    pub fn pull_cable(&self) {
        self.0.cable.pull();
    }

    /// Plugs the cable in again.
    pub fn plug_cable(&self) {
        self.0.cable.plug();
    }

    /// Whether the cable is plugged in.
    pub fn is_plugged(&self) -> bool {
        self.0.cable.is_plugged()
    }

    /// Messages of the backup conversation since the faults were set.
    pub fn messages(&self) -> u64 {
        self.0.cable.messages()
    }

    /// Bytes of all connections, both ways, since the faults were set.
    pub fn bytes(&self) -> u64 {
        self.0.cable.bytes()
    }

    /// The owner locks the phone: it shows its lock screen, and pairs with nobody.
    pub fn lock(&self) {
        self.state().locked = true;
    }

    /// The owner unlocks the phone.
    pub fn unlock(&self) {
        let mut state = self.state();
        (state.locked, state.unlocked_since_boot) = (false, true);
    }

    /// The phone starts anew: every connection ends, and it is locked until its owner unlocks it.
    pub fn restart(&self) {
        let was_plugged = self.is_plugged();
        self.pull_cable();
        {
            let mut state = self.state();
            (state.locked, state.unlocked_since_boot, state.escrow) = (true, false, false);
        }
        self.0.ports.close();
        if was_plugged {
            self.plug_cable();
        }
    }

    /// Forgets every host that it trusted.
    pub fn erase_trust(&self) {
        self.state().pairing = Pairing::default();
        self.remember();
    }

    /// Sets what the owner does from now on when asked about trust.
    pub fn set_trust(&self, trust: Trust) {
        self.state().trust = trust;
    }

    /// Sets what the owner does from now on when asked for the passcode.
    pub fn set_passcode(&self, passcode: Passcode) {
        self.state().passcode = passcode;
    }

    /// The owner stops the backup at the phone.
    pub fn cancel_from_phone(&self) {
        self.inside().cancel();
        self.0.notices.relay("com.apple.itunes-client.syncCancelRequest");
    }

    /// Whether the phone trusts the host of this id.
    pub fn is_paired(&self, host_id: &str) -> bool {
        self.state().pairing.host(host_id).is_some()
    }

    /// The backup password that is set on the phone.
    pub fn backup_password(&self) -> Option<String> {
        self.state().backup_password.clone()
    }

    /// The names of the notices that hosts posted, in order.
    pub fn posted(&self) -> Vec<String> {
        self.0.notices.posted()
    }

    /// Why connections ended that did not end well, for a person to read.
    pub fn complaints(&self) -> Vec<String> {
        self.0.complaints.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }

    /// What is in a file of its media folder.
    pub fn media(&self, path: &str) -> Option<Vec<u8>> {
        self.0.media.contents(path)
    }

    /// What changes, to look at or to change. Nothing else of the phone may be waited for meanwhile.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The apps that its owner installed.
    pub(crate) fn apps(&self) -> &[App] {
        &self.0.apps
    }

    pub(crate) fn notices(&self) -> &Notices {
        &self.0.notices
    }

    /// The key by which hosts recognise the phone, made when it is first needed.
    pub(crate) fn key(&self) -> io::Result<&DeviceKey> {
        if let Some(key) = self.0.key.get() {
            return Ok(key);
        }
        let key = DeviceKey::find(self.0.folder.as_deref())?;
        Ok(self.0.key.get_or_init(|| key))
    }

    /// Writes down what the phone keeps, if it has a place for it.
    pub(crate) fn remember(&self) {
        if let Some(folder) = &self.0.folder
            && let Err(error) = memory::keep(self, folder)
        {
            self.complain("memory", &error);
        }
    }

    fn complain(&self, who: &str, error: &io::Error) {
        let mut complaints = self.0.complaints.lock().unwrap_or_else(|e| e.into_inner());
        if complaints.len() == COMPLAINTS {
            complaints.remove(0);
        }
        complaints.push(format!("{who}: {error}"));
    }
}

/// A port that was called and has not answered yet.
#[derive(Debug)]
pub(crate) struct Call {
    phone: Phone,
    opening: Option<Opening>,
}

impl Call {
    /// Answers, on a thread of its own, whoever is at the other end of `stream`.
    pub(crate) fn answer(self, stream: Box<dyn Stream>) -> io::Result<()> {
        let Call { phone, opening } = self;
        let line = Line::lay(&phone, stream)?;
        let name = opening.as_ref().map_or("lockdown", |opening| opening.service.short_name());
        let conversation = move || {
            let outcome = match opening {
                None => lockdown::serve(&phone, line),
                Some(opening) => services::serve(&phone, opening, line),
            };
            if let Err(error) = outcome {
                phone.complain(name, &error);
            }
        };
        thread::Builder::new().name(name.to_owned()).spawn(conversation).map(drop)
    }
}
