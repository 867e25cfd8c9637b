//! usbmuxd's socket: which phones are there, a connection to a port of one, and the pairing records that it keeps.

use std::io::{self, Read};
use std::net::TcpStream;
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use plist::{Dictionary, Value};
use russet_apple_format::property_list::read_value;
use zeroize::Zeroizing;

use crate::record::Record;
use crate::stream::Stream;
use crate::stream::messages::{dictionary, text, wipe};
use crate::{Address, DeviceError, Result};

const HEADER: usize = 16;
const LONGEST_REPLY: usize = 16 << 20;
const VERSION: u32 = 1;
const PLIST: u32 = 8;
const TAG: u32 = 1;
/// usbmuxd answers at once, but for a connection it waits for the phone.
const PATIENCE: Duration = Duration::from_secs(15);

const OK: u64 = 0;
const BAD_DEVICE: u64 = 2;
const REFUSED: u64 = 3;

/// A phone on usbmuxd's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Device {
    pub(crate) id: u64,
    pub(crate) udid: String,
    pub(crate) is_on_network: bool,
}

/// The usbmuxd at an address. Each question is a connection of its own.
#[derive(Debug)]
pub(crate) struct Usbmuxd(Address);

impl Usbmuxd {
    pub(crate) fn at(address: Address) -> Usbmuxd {
        Usbmuxd(address)
    }

    /// The phones that are there.
    pub(crate) fn devices(&self) -> Result<Vec<Device>> {
        let (_, reply) = self.ask("ListDevices", Dictionary::new())?;
        let Some(list) = reply.get("DeviceList").and_then(Value::as_array) else {
            return Err(self.failed(invalid("it gave no list of devices")));
        };
        Ok(list.iter().filter_map(device).collect())
    }

    /// Opens a connection to a port of a phone.
    pub(crate) fn connect(&self, device: u64, port: u16, during: &'static str) -> Result<Box<dyn Stream>> {
        // The two bytes of the port change places.
        let entries = dictionary([("DeviceID", device.into()), ("PortNumber", u64::from(port.swap_bytes()).into())]);
        let (stream, reply) = self.ask("Connect", entries)?;
        match number(&reply) {
            Some(OK) => {
                stream.patience(None).map_err(|source| self.failed(source))?;
                Ok(stream)
            }
            Some(BAD_DEVICE) => Err(DeviceError::Unplugged { during }),
            Some(REFUSED) => {
                Err(DeviceError::Refused { what: format!("a connection to its port {port}"), error: "nobody listens".to_owned() })
            }
            other => Err(self.refused("Connect", other)),
        }
    }

    /// What usbmuxd calls this computer to phones.
    pub(crate) fn buid(&self) -> Result<Option<String>> {
        let (_, reply) = self.ask("ReadBUID", Dictionary::new())?;
        Ok(text(&reply, "BUID").filter(|buid| !buid.is_empty()).map(str::to_owned))
    }

    /// The record of a phone, if usbmuxd has one.
    pub(crate) fn record(&self, udid: &str) -> Result<Option<Record>> {
        let (_, mut reply) = self.ask("ReadPairRecord", dictionary([("PairRecordID", udid.into())]))?;
        match reply.remove("PairRecordData") {
            Some(Value::Data(bytes)) => {
                let place = PathBuf::from(format!("{udid}.plist (kept by usbmuxd)"));
                Record::parse(&place, &Zeroizing::new(bytes)).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Gives usbmuxd a record to keep.
    pub(crate) fn save_record(&self, udid: &str, device: u64, record: &Record) -> Result<()> {
        let entries = dictionary([
            ("PairRecordID", udid.into()),
            ("PairRecordData", Value::Data(record.encode().to_vec())),
            ("DeviceID", device.into()),
        ]);
        let (_, reply) = self.ask("SavePairRecord", entries)?;
        match number(&reply) {
            Some(OK) => Ok(()),
            other => Err(self.refused("SavePairRecord", other)),
        }
    }

    /// Removes the record of a phone.
    pub(crate) fn delete_record(&self, udid: &str) -> Result<()> {
        let (_, reply) = self.ask("DeletePairRecord", dictionary([("PairRecordID", udid.into())]))?;
        match number(&reply) {
            Some(OK | BAD_DEVICE) => Ok(()),
            other => Err(self.refused("DeletePairRecord", other)),
        }
    }

    fn ask(&self, verb: &str, entries: Dictionary) -> Result<(Box<dyn Stream>, Dictionary)> {
        let mut stream = self.dial()?;
        let mut request = dictionary([
            ("MessageType", verb.into()),
            ("ClientVersionString", concat!("russet ", env!("CARGO_PKG_VERSION")).into()),
            ("ProgName", "russet".into()),
            ("kLibUSBMuxVersion", 3_u64.into()),
        ]);
        request.extend(entries);
        let reply = exchange(&mut *stream, request).map_err(|source| self.failed(source))?;
        Ok((stream, reply))
    }

    fn dial(&self) -> Result<Box<dyn Stream>> {
        let stream = match &self.0 {
            #[cfg(unix)]
            Address::Unix(path) => UnixStream::connect(path).map(|stream| Box::new(stream) as Box<dyn Stream>),
            #[cfg(not(unix))]
            Address::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
            Address::Tcp(host, port) => TcpStream::connect((host.as_str(), *port)).and_then(|stream| {
                stream.set_nodelay(true)?;
                Ok(Box::new(stream) as Box<dyn Stream>)
            }),
        };
        let stream = stream.map_err(|source| DeviceError::NoUsbmuxd { address: self.0.to_string(), source })?;
        stream.patience(Some(PATIENCE)).map_err(|source| self.failed(source))?;
        Ok(stream)
    }

    fn failed(&self, source: io::Error) -> DeviceError {
        DeviceError::Io { what: format!("usbmuxd at {}", self.0), source }
    }

    fn refused(&self, verb: &str, number: Option<u64>) -> DeviceError {
        let number = number.map_or_else(|| "nothing".to_owned(), |number| number.to_string());
        self.failed(io::Error::other(format!("it answered {number} to {verb}")))
    }
}

fn exchange(stream: &mut dyn Stream, request: Dictionary) -> io::Result<Dictionary> {
    let mut packet = Zeroizing::new(vec![0; HEADER]);
    let mut request = Value::Dictionary(request);
    request.to_writer_xml(&mut *packet).map_err(io::Error::other)?;
    wipe(&mut request);
    let length = u32::try_from(packet.len()).map_err(io::Error::other)?;
    for (field, value) in packet.chunks_exact_mut(4).zip([length, VERSION, PLIST, TAG]) {
        field.copy_from_slice(&value.to_le_bytes());
    }
    stream.write_all(&packet)?;

    let mut header = [0; HEADER];
    stream.read_exact(&mut header)?;
    let length = reply_length(&header)?;
    let mut body = Zeroizing::new(Vec::new());
    stream.take(length as u64).read_to_end(&mut body)?;
    if body.len() < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    parse_reply(&body)
}

/// How long the reply behind a header is.
fn reply_length(header: &[u8; HEADER]) -> io::Result<usize> {
    let field = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| header[at + i]));
    match (field(0) as usize).checked_sub(HEADER) {
        Some(length) if length <= LONGEST_REPLY && field(8) == PLIST => Ok(length),
        _ => Err(invalid("it answered with what is no reply")),
    }
}

/// Reads a reply of usbmuxd, without its header.
pub fn parse_reply(bytes: &[u8]) -> io::Result<Dictionary> {
    let root = read_value("reply of usbmuxd", bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    root.into_dictionary().ok_or_else(|| invalid("it answered with what is no dictionary"))
}

/// An entry of the list of devices. One that cannot be used is passed over.
fn device(entry: &Value) -> Option<Device> {
    let properties = entry.as_dictionary()?.get("Properties")?.as_dictionary()?;
    let id = entry.as_dictionary()?.get("DeviceID").or_else(|| properties.get("DeviceID"))?.as_unsigned_integer()?;
    let udid = text(properties, "SerialNumber")?;
    let is_on_network = text(properties, "ConnectionType") == Some("Network");
    let has_no_address = || properties.get("NetworkAddress").and_then(Value::as_data).is_none_or(<[u8]>::is_empty);
    if !is_udid(udid) || (is_on_network && has_no_address()) {
        return None;
    }
    Some(Device { id, udid: udid.to_owned(), is_on_network })
}

/// Whether this can be the id of a phone, and so the name of a file.
pub(crate) fn is_udid(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn number(reply: &Dictionary) -> Option<u64> {
    reply.get("Number").and_then(Value::as_unsigned_integer)
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(serial: &str, connection: &str, address: Option<&[u8]>) -> Value {
        let mut properties =
            dictionary([("SerialNumber", serial.into()), ("ConnectionType", connection.into()), ("DeviceID", 7_u64.into())]);
        if let Some(address) = address {
            properties.insert("NetworkAddress".into(), Value::Data(address.to_vec()));
        }
        dictionary([("DeviceID", 7_u64.into()), ("Properties", properties.into())]).into()
    }

    #[test]
    fn entries_that_cannot_be_used_are_passed_over() {
        let udid = "00008120-000A1B2C3D4E5F60";
        assert!(device(&entry(udid, "USB", None)).is_some_and(|device| !device.is_on_network && device.id == 7));
        assert!(device(&entry(udid, "Network", Some(&[1]))).is_some_and(|device| device.is_on_network));
        assert_eq!(device(&entry(udid, "Network", Some(&[]))), None);
        assert_eq!(device(&entry(udid, "Network", None)), None);
        for hostile in ["", "../../etc/passwd", "a/b", "a\0b", &"A".repeat(65)] {
            assert_eq!(device(&entry(hostile, "USB", None)), None, "{hostile}");
        }
        assert_eq!(device(&Value::Boolean(true)), None);
    }

    #[test]
    fn a_header_is_checked_before_it_is_believed() {
        let header = |length: u32, kind: u32| {
            let mut header = [0; HEADER];
            header[..4].copy_from_slice(&length.to_le_bytes());
            header[8..12].copy_from_slice(&kind.to_le_bytes());
            header
        };
        assert_eq!(reply_length(&header(300, PLIST)).unwrap(), 284);
        for (length, kind) in [(0, PLIST), (15, PLIST), (u32::MAX, PLIST), (300, 1)] {
            assert!(reply_length(&header(length, kind)).is_err());
        }
    }
}
