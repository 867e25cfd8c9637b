//! The services behind lockdown's ports.

pub(crate) mod afc;
mod diagnostics;
mod heartbeat;
mod installation_proxy;
mod notification_proxy;
mod springboard;

use std::io;

use crate::line::Line;
use crate::ports::Opening;
use crate::tls::Channel;
use crate::{Phone, backup};

/// What can be asked for at lockdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Afc,
    Backup,
    Diagnostics,
    Heartbeat,
    InsecureNotificationProxy,
    InstallationProxy,
    NotificationProxy,
    Springboard,
}

impl Service {
    /// The service of this name, if there is one.
    pub(crate) fn named(name: &str) -> Option<Service> {
        Some(match name {
            "com.apple.afc" => Service::Afc,
            "com.apple.mobile.diagnostics_relay" => Service::Diagnostics,
            "com.apple.mobile.heartbeat" => Service::Heartbeat,
            "com.apple.mobile.insecure_notification_proxy" => Service::InsecureNotificationProxy,
            "com.apple.mobile.installation_proxy" => Service::InstallationProxy,
            "com.apple.mobile.notification_proxy" => Service::NotificationProxy,
            "com.apple.mobilebackup2" => Service::Backup,
            "com.apple.springboardservices" => Service::Springboard,
            _ => return None,
        })
    }

    /// What its threads are called.
    pub(crate) fn short_name(self) -> &'static str {
        match self {
            Service::Afc => "afc",
            Service::Backup => "mobilebackup2",
            Service::Diagnostics => "diagnostics",
            Service::Heartbeat => "heartbeat",
            Service::InsecureNotificationProxy => "insecure notices",
            Service::InstallationProxy => "installation",
            Service::NotificationProxy => "notices",
            Service::Springboard => "springboard",
        }
    }

    /// Whether strangers may ask for it.
    pub(crate) fn is_public(self) -> bool {
        self == Service::InsecureNotificationProxy
    }
}

/// Answers one connection.
pub(crate) fn serve(phone: &Phone, opening: Opening, line: Line) -> io::Result<()> {
    let mut channel = match &opening.host {
        Some(host) => Channel::secure(line, phone.key()?, host)?,
        None => Channel::Clear(line),
    };
    let outcome = match opening.service {
        Service::Afc => afc::serve(phone, &mut channel),
        Service::Backup => {
            let outcome = backup::serve(phone, &mut channel);
            // A backup or restore may have changed the password.
            phone.remember();
            outcome
        }
        Service::Diagnostics => diagnostics::serve(&mut channel),
        Service::Heartbeat => heartbeat::serve(&mut channel),
        Service::InstallationProxy => installation_proxy::serve(phone, &mut channel),
        Service::NotificationProxy | Service::InsecureNotificationProxy => notification_proxy::serve(phone, &mut channel),
        Service::Springboard => springboard::serve(phone, &mut channel),
    };
    channel.finish();
    outcome
}
