//! Where a usbmuxd is to be found.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The port of usbmuxd where it has no socket file.
const WINDOWS_PORT: u16 = 27015;

/// Where a usbmuxd listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A socket file.
    Unix(PathBuf),
    /// A host, by name or number, and a port.
    Tcp(String, u16),
}

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no address of a usbmuxd: it should be like UNIX:/path, /path, host:port or [::1]:port")]
pub struct BadAddress {
    text: String,
}

impl Address {
    /// Where usbmuxd listens on this system unless somebody moved it.
    pub fn of_this_system() -> Address {
        match cfg!(windows) {
            true => Address::Tcp("127.0.0.1".to_owned(), WINDOWS_PORT),
            false => Address::Unix(PathBuf::from("/var/run/usbmuxd")),
        }
    }
}

impl FromStr for Address {
    type Err = BadAddress;

    /// Reads what people write into `USBMUXD_SOCKET_ADDRESS`.
    fn from_str(text: &str) -> Result<Address, BadAddress> {
        let bad = || BadAddress { text: text.to_owned() };
        for prefix in ["UNIX:", "unix://", "unix:"] {
            match text.strip_prefix(prefix) {
                Some("") => return Err(bad()),
                Some(path) => return Ok(Address::Unix(PathBuf::from(path))),
                None => {}
            }
        }
        if text.starts_with('/') {
            return Ok(Address::Unix(PathBuf::from(text)));
        }
        let rest = text.strip_prefix("tcp://").unwrap_or(text);
        let (host, port) = rest.rsplit_once(':').ok_or_else(bad)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(bad)?;
        let host = match host.strip_prefix('[').map(|host| host.strip_suffix(']')) {
            Some(Some(host)) => host,
            None if !host.contains(':') => host,
            _ => return Err(bad()),
        };
        match host {
            "" => Err(bad()),
            host => Ok(Address::Tcp(host.to_owned(), port)),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Unix(path) => write!(f, "{}", path.display()),
            Address::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Address::Tcp(host, port) => write!(f, "{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<Address>) {
        assert_eq!(text.parse().ok(), expected, "{text}");
    }

    #[test]
    fn addresses_are_read_as_people_write_them() {
        let unix = |path: &str| Some(Address::Unix(PathBuf::from(path)));
        let tcp = |host: &str, port| Some(Address::Tcp(host.to_owned(), port));
        check("UNIX:/run/mux", unix("/run/mux"));
        check("unix:///run/mux", unix("/run/mux"));
        check("/run/mux", unix("/run/mux"));
        check("localhost:27015", tcp("localhost", 27015));
        check("tcp://10.0.0.1:5", tcp("10.0.0.1", 5));
        check("[::1]:27015", tcp("::1", 27015));
        for nonsense in ["", "UNIX:", "localhost", "localhost:", ":5", "::1:5", "[::1:5", "host:0", "host:65536"] {
            check(nonsense, None);
        }
    }

    #[test]
    fn what_is_shown_can_be_read_again() {
        for text in ["/run/mux", "localhost:27015", "[::1]:27015"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }
}
