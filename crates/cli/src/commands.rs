//! The verbs, one file each.

mod agent;
mod backup;
mod cat;
mod completions;
mod config;
mod copy;
mod demo;
mod device;
mod devices;
mod diff;
mod drill;
mod extract;
mod find;
mod forget;
mod help;
mod info;
mod key;
mod ls;
mod manpages;
#[cfg(unix)]
mod mount;
mod pair;
mod parity;
mod pin;
mod prune;
mod repair;
mod restore;
mod schedule;
mod snapshots;
mod status;
mod usage;
mod verify;

use crate::report::{Code, Result};
use crate::session::Session;

/// What the program can do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Backup(backup::Args),
    Devices(devices::Args),
    Pair(pair::Args),
    Device(device::Args),
    Snapshots(snapshots::Args),
    Ls(ls::Args),
    Usage(usage::Args),
    Info(info::Args),
    Find(find::Args),
    History(find::HistoryArgs),
    Diff(diff::Args),
    Cat(cat::Args),
    Extract(extract::Args),
    #[cfg(unix)]
    Mount(mount::Args),
    Restore(restore::Args),
    Verify(verify::Args),
    Drill(drill::Args),
    Forget(forget::Args),
    Prune(prune::Args),
    Pin(pin::Args),
    Unpin(pin::UnpinArgs),
    Repair(repair::Args),
    Parity(parity::Args),
    Copy(copy::Args),
    Key(key::Args),
    Status(status::Args),
    Agent(agent::Args),
    Schedule(schedule::Args),
    Config(config::Args),
    Demo(demo::Args),
    Completions(completions::Args),
    Manpages(manpages::Args),
    Help(help::Args),
}

impl Command {
    /// Whether a configuration that cannot be read stops it.
    pub(crate) fn heeds_config(&self) -> bool {
        use Command::{Completions, Config, Demo, Help, Manpages};
        !matches!(self, Config(_) | Demo(_) | Completions(_) | Manpages(_) | Help(_))
    }

    pub(crate) fn run(self, session: &Session) -> Result<Code> {
        match self {
            Command::Backup(args) => backup::run(args, session),
            Command::Devices(args) => devices::run(&args, session),
            Command::Pair(args) => pair::run(&args, session),
            Command::Device(args) => device::run(&args, session),
            Command::Snapshots(args) => snapshots::run(&args, session),
            Command::Ls(args) => ls::run(&args, session),
            Command::Usage(args) => usage::run(&args, session),
            Command::Info(args) => info::run(&args, session),
            Command::Find(args) => find::run(&args, session),
            Command::History(args) => find::history(&args, session),
            Command::Diff(args) => diff::run(&args, session),
            Command::Cat(args) => cat::run(&args, session),
            Command::Extract(args) => extract::run(&args, session),
            #[cfg(unix)]
            Command::Mount(args) => mount::run(&args, session),
            Command::Restore(args) => restore::run(&args, session),
            Command::Verify(args) => verify::run(&args, session),
            Command::Drill(args) => drill::run(&args, session),
            Command::Forget(args) => forget::run(&args, session),
            Command::Prune(args) => prune::run(&args, session),
            Command::Pin(args) => pin::pin(&args, session),
            Command::Unpin(args) => pin::unpin(&args, session),
            Command::Repair(args) => repair::run(&args, session),
            Command::Parity(args) => parity::run(&args, session),
            Command::Copy(args) => copy::run(&args, session),
            Command::Key(args) => key::run(args, session),
            Command::Status(args) => status::run(&args, session),
            Command::Agent(args) => agent::run(&args, session),
            Command::Schedule(args) => schedule::run(&args, session),
            Command::Config(args) => config::run(&args, session),
            Command::Demo(args) => demo::run(&args, session),
            Command::Completions(args) => completions::run(&args, session),
            Command::Manpages(args) => manpages::run(&args, session),
            Command::Help(args) => help::run(&args, session),
        }
    }
}
