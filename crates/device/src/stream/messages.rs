//! Property lists with their length before them: how lockdown and most services are spoken to.

use std::fmt;
use std::time::{Duration, Instant};

use plist::{Dictionary, Value};
use russet_apple_format::property_list::read_value;
use zeroize::{Zeroize, Zeroizing};

use super::{Link, read_some, write_all};
use crate::{DeviceError, Result};

/// No message is longer, and no answer that comes in several messages.
const LONGEST: usize = 64 << 20;
const PIECE: usize = 64 << 10;
/// How long a phone may take over a small thing.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// One conversation in property lists.
pub(crate) struct Messages<L> {
    link: L,
    /// What has arrived of the next message.
    arrived: Vec<u8>,
    /// Bytes of messages since the last one of ours.
    since_send: usize,
}

impl<L> fmt::Debug for Messages<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages").finish_non_exhaustive()
    }
}

impl<L: Link> Messages<L> {
    pub(crate) fn new(link: L) -> Messages<L> {
        Messages { link, arrived: Vec::new(), since_send: 0 }
    }

    /// The connection itself, for whatever is spoken next on it. Nothing may have arrived beyond the last message.
    pub(crate) fn into_link(self, during: &'static str) -> Result<L> {
        match self.arrived.is_empty() {
            true => Ok(self.link),
            false => Err(DeviceError::Lied { what: format!("it spoke out of turn while {during}") }),
        }
    }

    /// Sends a message.
    pub(crate) fn send(&mut self, message: Dictionary, during: &'static str) -> Result<()> {
        let bytes = encode(message);
        self.since_send = 0;
        write_all(&mut self.link, &bytes, Instant::now() + PATIENCE, during)
    }

    /// The next message; nothing if it has not come before `until`. What came of it by then is kept.
    pub(crate) fn receive(&mut self, until: Instant, during: &'static str) -> Result<Option<Dictionary>> {
        loop {
            if let Some(message) = self.take()? {
                return Ok(Some(message));
            }
            // Grows with what really comes, whatever length was announced.
            let start = self.arrived.len();
            self.arrived.resize(start + PIECE, 0);
            let outcome = read_some(&mut self.link, &mut self.arrived[start..], until, during);
            let read = outcome.as_ref().ok().and_then(|read| *read).unwrap_or(0);
            self.arrived.truncate(start + read);
            if outcome?.is_none() {
                return Ok(None);
            }
        }
    }

    /// Sends a message and waits for what is said to it.
    pub(crate) fn ask(&mut self, message: Dictionary, during: &'static str) -> Result<Dictionary> {
        self.send(message, during)?;
        self.receive(Instant::now() + PATIENCE, during)?.ok_or(DeviceError::Silent { during })
    }

    /// A message that has arrived whole.
    fn take(&mut self) -> Result<Option<Dictionary>> {
        let Some((length, rest)) = self.arrived.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*length) as usize;
        if length > LONGEST.saturating_sub(self.since_send) {
            return Err(DeviceError::Lied { what: format!("it announced a message of {length} bytes") });
        }
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let message = parse_message(body)?;
        self.since_send += 4 + length;
        self.arrived.drain(..4 + length);
        Ok(Some(message))
    }
}

/// Reads a message of lockdown or a small service, without its length.
pub fn parse_message(bytes: &[u8]) -> Result<Dictionary> {
    let lied = |what: String| DeviceError::Lied { what };
    // Phones put control characters into names as they are, which XML forbids.
    let is_stray = |byte: &u8| *byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r');
    let outcome = match bytes.starts_with(b"bplist") || !bytes.iter().any(is_stray) {
        true => read_value("message of the phone", bytes),
        false => {
            let cleaned: Vec<u8> = bytes.iter().map(|byte| if is_stray(byte) { b' ' } else { *byte }).collect();
            read_value("message of the phone", &cleaned)
        }
    };
    match outcome {
        Ok(Value::Dictionary(message)) => Ok(message),
        Ok(_) => Err(lied("a message of it is no dictionary".to_owned())),
        Err(error) => Err(lied(error.to_string())),
    }
}

/// A message with its length before it.
fn encode(message: Dictionary) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(vec![0; 4]);
    let mut message = Value::Dictionary(message);
    message.to_writer_xml(&mut *bytes).expect("writing to memory cannot fail");
    wipe(&mut message);
    let length = u32::try_from(bytes.len() - 4).expect("no message of ours is that long");
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    bytes
}

/// Wipes the texts and data in a message that was encoded: some of it is secret.
pub(crate) fn wipe(message: &mut Value) {
    match message {
        Value::Dictionary(entries) => entries.values_mut().for_each(wipe),
        Value::Array(entries) => entries.iter_mut().for_each(wipe),
        Value::Data(bytes) => bytes.zeroize(),
        Value::String(text) => text.zeroize(),
        _ => {}
    }
}

/// A dictionary of these keys and values.
pub(crate) fn dictionary<const N: usize>(entries: [(&str, Value); N]) -> Dictionary {
    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// The text under a key.
pub(crate) fn text<'a>(dictionary: &'a Dictionary, key: &str) -> Option<&'a str> {
    dictionary.get(key)?.as_string()
}

#[cfg(all(test, unix))]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::stream::Socket;

    const DURING: &str = "it was tested";

    fn pair() -> (Messages<Socket>, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Messages::new(Socket::new(Box::new(ours))), theirs)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(20)
    }

    #[test]
    fn a_message_in_pieces_survives_the_end_of_patience() {
        let (mut messages, mut phone) = pair();
        let bytes = encode(dictionary([("Command", "Marco".into())]));
        let (first, second) = bytes.split_at(11);
        phone.write_all(first).unwrap();
        assert!(messages.receive(soon(), DURING).unwrap().is_none());
        phone.write_all(second).unwrap();
        phone.write_all(&bytes).unwrap();
        for _ in 0..2 {
            let message = messages.receive(Instant::now() + PATIENCE, DURING).unwrap().unwrap();
            assert_eq!(text(&message, "Command"), Some("Marco"));
        }
    }

    #[test]
    fn an_absurd_length_is_refused_before_anything_is_allocated() {
        let (mut messages, mut phone) = pair();
        phone.write_all(&u32::MAX.to_be_bytes()).unwrap();
        assert!(matches!(messages.receive(soon(), DURING), Err(DeviceError::Lied { .. })));
    }

    #[test]
    fn a_phone_that_hangs_up_is_noticed() {
        let (mut messages, phone) = pair();
        drop(phone);
        assert!(matches!(messages.receive(soon(), DURING), Err(DeviceError::Unplugged { during: DURING })));
    }

    #[test]
    fn control_characters_in_a_name_are_no_obstacle() {
        let xml = b"<?xml version=\"1.0\"?><plist><dict><key>Name</key><string>a\x07b</string></dict></plist>";
        assert_eq!(text(&parse_message(xml).unwrap(), "Name"), Some("a b"));
    }

    #[test]
    fn a_wiped_message_has_neither_text_nor_data_at_any_depth() {
        let secrets = || Value::Array(vec!["secret".into(), Value::Data(vec![7; 9]), 5.into()]);
        let inner = dictionary([("Password", "secret".into()), ("List", secrets())]);
        let mut message = Value::Array(vec!["name".into(), dictionary([("Options", inner.into())]).into()]);
        wipe(&mut message);
        let list = Value::Array(vec!["".into(), Value::Data(Vec::new()), 5.into()]);
        let inner = dictionary([("Password", "".into()), ("List", list)]);
        assert_eq!(message, Value::Array(vec!["".into(), dictionary([("Options", inner.into())]).into()]));
    }

    #[test]
    fn nonsense_is_the_phones_fault() {
        for nonsense in [&b""[..], b"bplist00", b"<plist><array/></plist>", b"hello"] {
            assert!(matches!(parse_message(nonsense), Err(DeviceError::Lied { .. })), "{nonsense:?}");
        }
    }
}
