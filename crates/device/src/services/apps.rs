//! The apps that the owner of a phone installed (`com.apple.mobile.installation_proxy`), and their icons
//! (`com.apple.springboardservices`).

use std::time::{Duration, Instant};

use plist::{Dictionary, Value};

use crate::facts::{LONGEST_TEXT, clean};
use crate::stream::Link;
use crate::stream::messages::{Messages, dictionary, text};
use crate::{DeviceError, Result};

/// Nobody has more apps.
const MOST_APPS: usize = 10_000;
const LONGEST_ID: usize = 255;
const LONGEST_ICON: usize = 4 << 20;
/// All icons together are no longer: they go into an Info.plist, which has to stay readable.
const ICONS: usize = 24 << 20;
/// How long the list, or all icons, may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// An app that the owner of the phone installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// Its bundle id.
    pub id: String,
    /// What the phone needs to install it again: the licence.
    pub sinf: Option<Vec<u8>>,
    /// And what the shop says about it.
    pub metadata: Option<Vec<u8>>,
    /// Its icon, as PNG.
    pub icon: Option<Vec<u8>>,
    /// Whether only its data is on the phone.
    pub is_demoted: bool,
}

/// Lists the apps.
pub(crate) fn browse(link: Box<dyn Link>) -> Result<Vec<App>> {
    const DURING: &str = "its apps were listed";
    let mut messages = Messages::new(link);
    let wanted = ["CFBundleIdentifier", "ApplicationSINF", "iTunesMetadata", "IsDemotedApp"].map(Value::from).to_vec();
    let options = dictionary([("ApplicationType", "User".into()), ("ReturnAttributes", Value::Array(wanted))]);
    messages.send(dictionary([("Command", "Browse".into()), ("ClientOptions", options.into())]), DURING)?;
    let until = Instant::now() + PATIENCE;
    let mut apps = Vec::new();
    loop {
        let mut message = messages.receive(until, DURING)?.ok_or(DeviceError::Silent { during: DURING })?;
        if let Some(error) = text(&message, "Error") {
            return Err(DeviceError::Refused { what: "a list of its apps".to_owned(), error: clean(error, LONGEST_TEXT) });
        }
        if let Some(Value::Array(list)) = message.remove("CurrentList") {
            apps.extend(list.into_iter().filter_map(|entry| app(entry.into_dictionary()?)));
        }
        if apps.len() > MOST_APPS {
            return Err(DeviceError::Lied { what: format!("it has more than {MOST_APPS} apps") });
        }
        if text(&message, "Status") == Some("Complete") {
            return Ok(apps);
        }
    }
}

fn app(mut entry: Dictionary) -> Option<App> {
    let id = text(&entry, "CFBundleIdentifier").filter(|id| !id.is_empty() && id.len() <= LONGEST_ID)?.to_owned();
    let is_demoted = entry.get("IsDemotedApp").and_then(Value::as_boolean).unwrap_or(false);
    let mut data = |key: &str| entry.remove(key).and_then(Value::into_data);
    Some(App { id, sinf: data("ApplicationSINF"), metadata: data("iTunesMetadata"), icon: None, is_demoted })
}

/// Fetches their icons. An app without one stays without.
pub(crate) fn add_icons(link: Box<dyn Link>, apps: &mut [App]) -> Result<()> {
    const DURING: &str = "the icons of its apps were read";
    let mut messages = Messages::new(link);
    let until = Instant::now() + PATIENCE;
    let mut left = ICONS;
    for app in apps {
        // A backup is worth as much without the rest.
        if Instant::now() > until {
            return Ok(());
        }
        let request = dictionary([("command", "getIconPNGData".into()), ("bundleId", app.id.clone().into())]);
        let mut reply = messages.ask(request, DURING)?;
        app.icon = match reply.remove("pngData") {
            Some(Value::Data(icon)) if icon.len() <= LONGEST_ICON.min(left) => Some(icon),
            _ => None,
        };
        left -= app.icon.as_ref().map_or(0, Vec::len);
    }
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::stream::Socket;

    #[test]
    fn icons_beyond_what_an_info_plist_takes_are_left_out() {
        const HAVE: usize = 8;
        let (ours, mut phone) = UnixStream::pair().unwrap();
        let icon = Value::Data(vec![7; LONGEST_ICON]);
        let mut reply = vec![0; 4];
        Value::Dictionary(dictionary([("pngData", icon)])).to_writer_binary(&mut reply).unwrap();
        let len = reply.len() as u32 - 4;
        reply[..4].copy_from_slice(&len.to_be_bytes());
        let phone = std::thread::spawn(move || {
            for _ in 0..HAVE {
                let mut len = [0; 4];
                phone.read_exact(&mut len).unwrap();
                phone.read_exact(&mut vec![0; u32::from_be_bytes(len) as usize]).unwrap();
                phone.write_all(&reply).unwrap();
            }
        });
        let app = |n| App { id: format!("app.{n}"), sinf: None, metadata: None, icon: None, is_demoted: false };
        let mut apps: Vec<App> = (0..HAVE).map(app).collect();
        add_icons(Box::new(Socket::new(Box::new(ours))), &mut apps).unwrap();
        phone.join().unwrap();
        let kept: Vec<bool> = apps.iter().map(|app| app.icon.is_some()).collect();
        assert_eq!(kept, [true, true, true, true, true, true, false, false]);
    }
}
