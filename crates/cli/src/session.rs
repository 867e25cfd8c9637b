//! What every command needs: the options that all of them share, and the repository opened with a password.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use russet_agent::config::Config;
use russet_backup::Request;
use russet_repository::format::FormatError;
use russet_repository::format::key_file::KeyFile;
use russet_repository::format::parity::Share;
use russet_repository::format::recovery::{Mistyped, RecoveryKey, WORDS};
use russet_repository::format::slot::{Rights, SlotKind};
use russet_repository::{KdfChoice, Phase, Progress, Repository, RepositoryError};
use russet_store::{LocalStore, Store, StoreError};
use zeroize::Zeroizing;

use crate::out::Out;
use crate::progress::Meter;
use crate::report::{Code, Failure, Result};
use crate::secrets::Source;
use crate::strength::{Strength, judge};
use crate::{paper, places, secrets, terminal};

/// How often a person may mistype.
const TRIES: usize = 3;

/// The options that every command takes.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// The repository's folder [else: the configuration, else `russet/repository` in your data folder]
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        env = "RUSSET_REPO",
        hide_env_values = true,
        help_heading = "Options of every command"
    )]
    repo: Option<PathBuf>,
    /// Reads the repository's password from a file; one newline at its end is left out
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        help_heading = "Options of every command",
        conflicts_with = "password_command"
    )]
    password_file: Option<PathBuf>,
    /// Runs a command that prints the repository's password [else: RUSSET_PASSWORD, the configuration, the terminal]
    #[arg(long, global = true, value_name = "COMMAND", help_heading = "Options of every command")]
    password_command: Option<String>,
    /// Opens the repository with a key file, made by `russet key add --write-only` [else: RUSSET_KEY_FILE, the configuration]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        help_heading = "Options of every command",
        conflicts_with_all = ["password_file", "password_command"]
    )]
    key_file: Option<PathBuf>,
    /// Where a key that only adds keeps, sealed, what it must remember [default: `russet/write-only` in your state folder]
    #[arg(
        long,
        global = true,
        value_name = "FOLDER",
        env = "RUSSET_STATE",
        hide_env_values = true,
        hide_short_help = true,
        help_heading = "Options of every command"
    )]
    state: Option<PathBuf>,
    /// The configuration [default: `russet/config.toml` in your configuration folder]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "RUSSET_CONFIG",
        hide_env_values = true,
        help_heading = "Options of every command"
    )]
    config: Option<PathBuf>,
    /// Prints one JSON object on stdout, and errors as JSON on stderr
    #[arg(long, global = true, help_heading = "Options of every command")]
    pub(crate) json: bool,
    /// Prints data and errors only
    #[arg(long, short, global = true, help_heading = "Options of every command")]
    pub(crate) quiet: bool,
    /// Prints on stderr, at the end, where the time went
    #[arg(long, global = true, hide_short_help = true, help_heading = "Options of every command")]
    pub(crate) stats: bool,
}

/// How the password of a new key becomes a key.
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
pub(crate) enum Kdf {
    /// Argon2id with 256 MiB of memory
    #[default]
    Argon2id,
    /// PBKDF2-HMAC-SHA256 with 2,000,000 rounds, for those who must
    Pbkdf2,
}

impl From<Kdf> for KdfChoice {
    fn from(kdf: Kdf) -> KdfChoice {
        match kdf {
            Kdf::Argon2id => KdfChoice::default(),
            Kdf::Pbkdf2 => KdfChoice::PBKDF2,
        }
    }
}

/// One run of the program.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) out: Out,
    pub(crate) config: Config,
    options: Options,
}

impl Session {
    /// A run that heeds the configuration.
    pub(crate) fn new(options: Options) -> Result<Session> {
        let mut session = Session::without_config(options);
        session.config = session.read_config()?;
        Ok(session)
    }

    /// A run that goes without.
    pub(crate) fn without_config(options: Options) -> Session {
        let out = Out { json: options.json, quiet: options.quiet, mute: false };
        Session { out, config: Config::default(), options }
    }

    /// Reads the configuration. That there is none is an error only if one was named.
    pub(crate) fn read_config(&self) -> Result<Config> {
        let path = self.config_path()?;
        match self.options.config.is_none() && !path.exists() {
            true => Ok(Config::default()),
            false => Ok(Config::read(&path, places::home().as_deref())?),
        }
    }

    /// Where the configuration is, or would be.
    pub(crate) fn config_path(&self) -> Result<PathBuf> {
        self.options.config.clone().or_else(places::config).ok_or_else(|| {
            Failure::new(Code::Usage, "there is no home folder to keep a configuration in").hint("say where with --config")
        })
    }

    /// The options of this run that a run without this terminal needs too, with whole paths.
    pub(crate) fn lasting_options(&self) -> Result<Vec<String>> {
        let mut words = Vec::new();
        let Options { repo, password_file, password_command, key_file, state, config, .. } = &self.options;
        for (option, path) in [
            ("--config", config),
            ("--repo", repo),
            ("--password-file", password_file),
            ("--key-file", key_file),
            ("--state", state),
        ] {
            let Some(path) = path else { continue };
            let whole = std::path::absolute(path).ok().and_then(|path| path.into_os_string().into_string().ok());
            let whole = whole.ok_or_else(|| {
                Failure::new(Code::Usage, format!("{} cannot be named in a schedule", path.display()))
                    .hint("choose a path that is Unicode text")
            })?;
            words.extend([option.to_owned(), whole]);
        }
        if let Some(command) = password_command {
            words.extend(["--password-command".to_owned(), command.clone()]);
        }
        Ok(words)
    }

    /// Whether a run that nobody sits at, and that does not get this run's environment, finds the password.
    pub(crate) fn has_lasting_password(&self) -> bool {
        let (options, config) = (&self.options, &self.config);
        options.password_file.is_some()
            || options.password_command.is_some()
            || options.key_file.is_some()
            || config.password_file.is_some()
            || config.password_command.is_some()
            || config.key_file.is_some()
    }

    /// The same, but nothing is printed besides warnings and errors.
    pub(crate) fn muted(self) -> Session {
        Session { out: Out { mute: true, ..self.out }, ..self }
    }

    /// Unix seconds and nanoseconds.
    pub(crate) fn now() -> (i64, u32) {
        let now = jiff::Timestamp::now();
        // A clock before 1970 gives a negative rest, which is not worth keeping.
        (now.as_second(), now.subsec_nanosecond().try_into().unwrap_or(0))
    }

    pub(crate) fn unix_now() -> u64 {
        Session::now().0.try_into().unwrap_or(0)
    }

    /// The folder of the repository.
    pub(crate) fn place(&self) -> Result<PathBuf> {
        match self.options.repo.as_ref().or(self.config.repo.as_ref()) {
            Some(path) => Ok(path.clone()),
            None => places::default_repository().ok_or_else(|| {
                Failure::new(Code::Usage, "there is no home folder to keep a repository in")
                    .hint("say where with --repo, RUSSET_REPO or the configuration")
            }),
        }
    }

    /// The store of a repository that is there.
    pub(crate) fn store(&self) -> Result<Arc<dyn Store>> {
        let place = self.place()?;
        match LocalStore::open(&place) {
            Ok(store) => Ok(Arc::new(store)),
            Err(StoreError::NotFound { .. }) => Err(RepositoryError::NoRepository { place: place.display().to_string() }.into()),
            Err(error) => Err(error.into()),
        }
    }

    /// The password that exists already.
    pub(crate) fn password_source(&self) -> Source {
        let mut source = Source {
            what: "repository's password".into(),
            file: self.options.password_file.clone(),
            command: self.options.password_command.clone(),
            variable: "RUSSET_PASSWORD",
            options: ("--password-file", "--password-command"),
            code: Code::Password,
        };
        if !source.is_given() {
            source.file.clone_from(&self.config.password_file);
            source.command.clone_from(&self.config.password_command);
        }
        source
    }

    /// Where a key that only adds keeps what it must remember.
    pub(crate) fn write_only_state(&self) -> Option<PathBuf> {
        self.options.state.clone().or_else(places::write_only)
    }

    /// The key file that opens the repository, if one does.
    fn key_file(&self) -> Result<Option<KeyFile>> {
        let Options { key_file, password_file, password_command, .. } = &self.options;
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        // What this run is told itself goes before what it was told by whoever started it, and that before the configuration.
        let is_option = password_file.is_some() || password_command.is_some();
        let from_variable = || if is_option { None } else { variable("RUSSET_KEY_FILE").map(PathBuf::from) };
        let is_password = is_option || variable("RUSSET_PASSWORD").is_some();
        let from_config = || if is_password { None } else { self.config.key_file.clone() };
        match key_file.clone().or_else(from_variable).or_else(from_config) {
            Some(path) => secrets::read_key_file(&path, &self.out).map(Some),
            None => Ok(None),
        }
    }

    /// Opens the repository to read it, or to change it: a key that only adds is turned away.
    pub(crate) fn open(&self, meter: &Meter) -> Result<Repository> {
        let repository = self.open_to_add(meter)?;
        match repository.rights() {
            Rights::Full => Ok(repository),
            Rights::BackupOnly => Err(FormatError::WriteOnly { what: "snapshot" }.into()),
        }
    }

    /// Opens the repository, perhaps with a key that only adds.
    pub(crate) fn open_to_add(&self, meter: &Meter) -> Result<Repository> {
        let store = self.store()?;
        // Nobody should type a password for a folder that holds no repository.
        if !Repository::exists(&*store)? {
            return Err(RepositoryError::NoRepository { place: store.describe() }.into());
        }
        self.open_store(store, &self.password_source(), meter)
    }

    fn open_store(&self, store: Arc<dyn Store>, source: &Source, meter: &Meter) -> Result<Repository> {
        self.open_with_any_key(store, source, meter).map(remembering)
    }

    fn open_with_any_key(&self, store: Arc<dyn Store>, source: &Source, meter: &Meter) -> Result<Repository> {
        let cache = places::cache();
        if let Some(file) = self.key_file()? {
            let state = self.write_only_state();
            let repository = Repository::open_with_key_file(store, &file, cache.as_deref(), state.as_deref())?;
            if !repository.remembers() {
                let place = state.map_or_else(|| "there is none".to_owned(), |state| state.display().to_string());
                self.out.warn(format!("the state folder cannot be used ({place}), so everything is read and sent again"));
            }
            return Ok(repository);
        }
        let try_password = |password: &str| {
            meter.phase(Phase::DerivingKey, 0, 0);
            let opened = Repository::open(store.clone(), password.as_bytes(), cache.as_deref());
            meter.end();
            opened
        };
        if let Some(password) = source.read()? {
            let opened = try_password(&password).map_err(|error| explained(error, &password))?;
            return Ok(self.strengthened(opened, &password));
        }
        for left in (0..TRIES).rev() {
            let password = source.read_or_ask()?;
            match try_password(&password) {
                Err(error @ RepositoryError::WrongPassword { .. }) if left > 0 => {
                    let why = explained(error, &password).message;
                    self.out.warn(if RecoveryKey::mistyped(&password).is_some() {
                        &why
                    } else {
                        "that is not the password; try again"
                    });
                }
                outcome => {
                    let opened = outcome.map_err(|error| explained(error, &password))?;
                    return Ok(self.strengthened(opened, &password));
                }
            }
        }
        Err(source.missing())
    }

    /// A key that is easier to guess than a new one would be is made as hard, now that its password is at hand.
    fn strengthened(&self, mut repository: Repository, password: &str) -> Repository {
        // A store that only lets itself be read keeps the key as it is.
        if let Ok(Some(label)) = repository.strengthen_slot(password.as_bytes()) {
            self.out.say(format!("the key “{label}” was made as hard to guess as a new one is; its password stays"));
        }
        repository
    }

    /// Opens the repository, or makes it if there is none. The recovery key is given once, if one was wanted.
    pub(crate) fn open_or_create(&self, first: &FirstUse, meter: &Meter) -> Result<(Repository, Option<Zeroizing<String>>)> {
        self.open_or_create_in(&self.place()?, &self.password_source(), first, meter)
    }

    /// The same with another repository, which has a password of its own.
    pub(crate) fn open_or_create_in(
        &self,
        place: &Path,
        source: &Source,
        first: &FirstUse,
        meter: &Meter,
    ) -> Result<(Repository, Option<Zeroizing<String>>)> {
        match LocalStore::open(place) {
            Ok(store) if Repository::exists(&store)? => return Ok((self.open_store(Arc::new(store), source, meter)?, None)),
            Ok(store) => refuse_foreign_folder(store.root())?,
            Err(StoreError::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        if self.key_file()?.is_some() {
            return Err(RepositoryError::NoRepository { place: place.display().to_string() }.into());
        }
        self.out.say(format!("making a new repository in {}", place.display()));
        let password = self.new_password(source, first.weak_password_ok)?;
        let wants_recovery = first.recovery_key
            || (terminal::is_there()
                && !self.out.json
                && terminal::confirm(
                    "Without the password nothing can be read again. Make a recovery key to print and keep?",
                    true,
                )?);
        let store = Arc::new(LocalStore::create(place).map_err(|error| {
            match error {
                StoreError::NotFound { .. } => Failure::new(Code::Disk, format!("{} cannot be made", place.display()))
                    .hint("choose another folder with --repo or RUSSET_REPO"),
                other => other.into(),
            }
        })?);
        meter.phase(Phase::DerivingKey, 0, 0);
        let (kdf, now) = (first.kdf.into(), Session::unix_now());
        let mut repository = Repository::create(store, password.as_bytes(), kdf, now, places::cache().as_deref())?;
        if let Some(share) = first.parity {
            repository.set_parity(share)?;
        }
        let recovery = match wants_recovery {
            true => Some(repository.add_recovery_key(kdf, now)?.1),
            false => None,
        };
        meter.end();
        Ok((remembering(repository), recovery))
    }

    /// A password that is to be set: twice if it is typed, and judged.
    pub(crate) fn new_password(&self, source: &Source, weak_ok: bool) -> Result<Zeroizing<String>> {
        if let Some(password) = source.read()? {
            let judgement = judge(&password);
            if judgement.strength == Strength::None && !weak_ok {
                return Err(Failure::new(Code::Usage, format!("this password protects nothing: {}", judgement.why))
                    .hint("several unrelated words make a good one; --weak-password-ok takes it as it is"));
            }
            if judgement.strength < Strength::Good && !weak_ok {
                self.out.warn(format!("this password is weak: {}", judgement.why));
            }
            return Ok(password);
        }
        if !terminal::is_there() {
            return Err(source.missing());
        }
        loop {
            let password = terminal::secret("New password: ")?;
            if password.is_empty() {
                self.out.warn("an empty password protects nothing");
                continue;
            }
            let judgement = judge(&password);
            if judgement.strength < Strength::Good && !weak_ok {
                self.out.warn(format!("this password is weak: {}; several unrelated words make a good one", judgement.why));
                if judgement.strength == Strength::None || !terminal::confirm("Take it all the same?", false)? {
                    continue;
                }
            }
            if *terminal::secret("The same again: ")? == *password {
                return Ok(password);
            }
            self.out.warn("the two differ; try again");
        }
    }

    /// What work on a phone or a folder is told of this run.
    pub(crate) fn request(&self) -> Request<'static> {
        Request {
            started: Session::now(),
            clock: &|| Session::now().0,
            host: places::host(),
            facts: BTreeMap::from([("russet.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned())]),
            exclude: Vec::new(),
        }
    }

    /// Shows a phone's new backup password, the one time that it is shown.
    pub(crate) fn show_phone_password(&self, phone: &str, password: &str) -> Result<()> {
        self.out.say(format!(
            "Backups of {phone} are encrypted from now on. This is their password; it is kept sealed in the repository and"
        ));
        self.out.say("not shown again. Finder, iTunes or a restore without this repository would ask for it:");
        self.out.line(password)
    }

    /// Shows a recovery key, the one time that it can be shown.
    pub(crate) fn show_recovery_key(&self, key: &str) -> Result<()> {
        self.out.say("This recovery key opens everything when the password is lost. It is kept nowhere and never shown again:");
        self.out.say("print it or write the words down in their order, and keep them away from the repository.");
        for line in paper::columns(key) {
            self.out.line(line)?;
        }
        Ok(())
    }
}

/// Has this computer remember which dates it sees in a repository.
fn remembering(mut repository: Repository) -> Repository {
    if let Some(folder) = places::seen() {
        repository.remember_below(&folder);
    }
    repository
}

/// What the first run says about the repository that it makes.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(crate) struct FirstUse {
    /// First use: how the password becomes a key
    #[arg(long, value_enum, default_value_t, help_heading = "When the repository is made")]
    kdf: Kdf,
    /// First use: makes a recovery key too, and prints it once
    #[arg(long, help_heading = "When the repository is made")]
    recovery_key: bool,
    /// First use: how much parity packs get, in percent, 0 to 20 [default: 3]; `russet parity` changes it
    #[arg(long, value_name = "PERCENT", value_parser = share, help_heading = "When the repository is made")]
    parity: Option<Share>,
    /// Takes a password that is easy to guess
    #[arg(long, help_heading = "When the repository is made")]
    pub(crate) weak_password_ok: bool,
}

/// Reads a share of parity.
pub(crate) fn share(text: &str) -> std::result::Result<Share, String> {
    let number = text.trim_end_matches('%').parse().ok();
    number.and_then(|number| Share::new(number).ok()).ok_or_else(|| "a share of parity is a whole number from 0 to 20".to_owned())
}

/// What is wrong with a recovery key that does not open anything, if it was meant as one. Its words are not said again.
fn explained(error: RepositoryError, typed: &str) -> Failure {
    let why = match (&error, RecoveryKey::mistyped(typed)) {
        (RepositoryError::WrongPassword { .. }, Some(why)) => why,
        _ => return error.into(),
    };
    let message = match why {
        Mistyped::Count { found } => format!("this is no recovery key: it has {found} words, and a recovery key has {WORDS}"),
        Mistyped::Word { number } => format!("this is no recovery key: word {number} is not in the list of words"),
        Mistyped::Check => "this is no recovery key: a word is another than was printed, or two changed places".to_owned(),
    };
    Failure::new(Code::Password, message).hint("of each word the first four letters count, and the order of the words does")
}

/// A repository is not strewn over a folder in which somebody keeps other things.
fn refuse_foreign_folder(folder: &Path) -> Result<()> {
    let empty = std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
    // What a run that was killed before its config leaves behind.
    let ours = ["mirror", "keys"].iter().any(|name| folder.join(name).is_dir());
    if empty || ours {
        return Ok(());
    }
    Err(Failure::new(Code::Repository, format!("{} is neither empty nor a repository", folder.display()))
        .hint("name an empty folder, or one that does not exist yet"))
}

/// What opens a slot, in a word.
pub(crate) fn slot_word(kind: SlotKind) -> &'static str {
    match kind {
        SlotKind::Password => "password",
        SlotKind::Recovery => "recovery key",
        SlotKind::KeyFile => "key file",
    }
}
