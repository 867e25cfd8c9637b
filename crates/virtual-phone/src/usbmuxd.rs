//! A stand-in for usbmuxd: the socket on which hosts find phones and call their ports.

mod records;

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use plist::{Dictionary, Value};

use self::records::Records;
use crate::property_list::{Form, decode, dictionary, encode};
use crate::{Phone, Stream};

const HEADER: usize = 16;
const LONGEST_REQUEST: usize = 1 << 20;
const PLIST: u32 = 8;
const RESULT: u32 = 1;
/// How often somebody who listens is told what changed.
const LOOK: Duration = Duration::from_millis(20);
/// The most pairings that those who listen are told of.
const MOST_PAIRED: usize = 10_000;

const OK: u64 = 0;
const BAD_COMMAND: u64 = 1;
const BAD_DEVICE: u64 = 2;
const REFUSED: u64 = 3;
const BAD_VERSION: u64 = 6;
const INVALID: u64 = 22;

/// A running usbmuxd with phones on it. It ends when it is dropped; connections to phones that it made go on.
pub struct UsbmuxdServer {
    shared: Arc<Shared>,
    place: Place,
    doorman: Option<JoinHandle<()>>,
}

impl fmt::Debug for UsbmuxdServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UsbmuxdServer").field("place", &self.place).finish_non_exhaustive()
    }
}

#[derive(Debug)]
enum Place {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

struct Shared {
    ended: AtomicBool,
    state: Mutex<State>,
}

struct State {
    devices: Vec<Device>,
    last_id: u64,
    network_too: bool,
    records: Records,
    paired: Vec<u64>,
    listeners: Vec<(u64, Dictionary)>,
}

/// A phone, and what it is called while it is plugged in.
struct Device {
    phone: Phone,
    id: Option<u64>,
    pulls: u64,
}

/// One entry of the list of devices.
struct Entry {
    id: u64,
    phone: Phone,
    properties: Dictionary,
}

impl UsbmuxdServer {
    /// Listens on a UNIX socket. A socket that nobody answers any more is replaced.
    pub fn unix(path: impl AsRef<Path>, phones: Vec<Phone>) -> io::Result<UsbmuxdServer> {
        let path = path.as_ref().to_owned();
        let listener = match UnixListener::bind(&path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && UnixStream::connect(&path).is_err() => {
                std::fs::remove_file(&path)?;
                UnixListener::bind(&path)?
            }
            other => other?,
        };
        let accept = move || listener.accept().map(|(stream, _)| Box::new(stream) as Box<dyn Stream>);
        UsbmuxdServer::run(Place::Unix(path), phones, accept)
    }

    /// Listens on a TCP port; with port 0, on one that is free.
    pub fn tcp(address: impl ToSocketAddrs, phones: Vec<Phone>) -> io::Result<UsbmuxdServer> {
        let listener = TcpListener::bind(address)?;
        let place = Place::Tcp(listener.local_addr()?);
        let accept = move || {
            let (stream, _) = listener.accept()?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        };
        UsbmuxdServer::run(place, phones, accept)
    }

    fn run<A>(place: Place, phones: Vec<Phone>, accept: A) -> io::Result<UsbmuxdServer>
    where
        A: Fn() -> io::Result<Box<dyn Stream>> + Send + 'static,
    {
        let devices = phones.into_iter().map(|phone| Device { phone, id: None, pulls: 0 }).collect();
        let state = State {
            devices,
            last_id: 0,
            network_too: false,
            records: Records::default(),
            paired: Vec::new(),
            listeners: Vec::new(),
        };
        let shared = Arc::new(Shared { ended: AtomicBool::new(false), state: Mutex::new(state) });
        let doorman = {
            let shared = shared.clone();
            let welcome = move || {
                while !shared.ended.load(Ordering::Acquire) {
                    match accept() {
                        Ok(stream) if !shared.ended.load(Ordering::Acquire) => {
                            let shared = shared.clone();
                            let talk = move || {
                                // A client that breaks off is its own affair.
                                let _ = Client { shared: &shared, stream: Some(stream) }.talk();
                            };
                            // Without a thread the client is hung up on, and may come again.
                            let _ = thread::Builder::new().name("usbmuxd client".into()).spawn(talk);
                        }
                        Ok(_) => {}
                        Err(_) => thread::sleep(LOOK),
                    }
                }
            };
            thread::Builder::new().name("usbmuxd".into()).spawn(welcome)?
        };
        Ok(UsbmuxdServer { shared, place, doorman: Some(doorman) })
    }

    /// The TCP address, if it listens on one.
    pub fn address(&self) -> Option<SocketAddr> {
        match self.place {
            Place::Tcp(address) => Some(address),
            Place::Unix(_) => None,
        }
    }

    /// Keeps pairing records in this folder instead of in memory.
    pub fn keep_records_in(&self, folder: impl AsRef<Path>) -> io::Result<()> {
        let records = Records::in_folder(folder.as_ref())?;
        self.shared.state().records = records;
        Ok(())
    }

    /// Whether every phone is listed a second time, as if it were found over Wi-Fi too.
    pub fn list_over_network(&self, listed: bool) {
        self.shared.state().network_too = listed;
    }
}

impl Drop for UsbmuxdServer {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        // A last caller wakes the doorman.
        let is_awake = match &self.place {
            Place::Unix(path) => UnixStream::connect(path).is_ok(),
            Place::Tcp(address) => TcpStream::connect(address).is_ok(),
        };
        if let (true, Some(doorman)) = (is_awake, self.doorman.take()) {
            // It does not panic, and if it did, nobody would miss it now.
            let _ = doorman.join();
        }
        if let Place::Unix(path) = &self.place {
            // Somebody may have taken it away already.
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl State {
    /// Every phone that is plugged in. One that was pulled meanwhile comes under a new id.
    fn entries(&mut self) -> Vec<Entry> {
        let mut entries = Vec::new();
        for (number, device) in self.devices.iter_mut().enumerate() {
            let (is_plugged, pulls) = (device.phone.is_plugged(), device.phone.0.cable.pulls());
            if !is_plugged || device.pulls != pulls {
                (device.id, device.pulls) = (None, pulls);
            }
            if !is_plugged {
                continue;
            }
            let id = *device.id.get_or_insert_with(|| {
                // The next one is for the network.
                self.last_id += 2;
                self.last_id - 1
            });
            let location = 0x1410_0000 + number as u64;
            let over_usb = dictionary([
                ("ConnectionSpeed", 480_000_000_u64.into()),
                ("ConnectionType", "USB".into()),
                ("DeviceID", id.into()),
                ("LocationID", location.into()),
                ("ProductID", 0x12a8_u64.into()),
                ("SerialNumber", device.phone.udid().into()),
                ("UDID", device.phone.udid().into()),
            ]);
            if self.network_too {
                // An IPv4 address of the range for examples, as the BSDs write it.
                let mut address = vec![16, 2, 0, 0, 192, 0, 2, 1 + number as u8];
                address.resize(16, 0);
                let over_network = dictionary([
                    ("ConnectionType", "Network".into()),
                    ("DeviceID", (id + 1).into()),
                    ("EscapedFullServiceName", "02:00:00:00:00:01@fe80::1._apple-mobdev2._tcp.local.".into()),
                    ("InterfaceIndex", 1_u64.into()),
                    ("NetworkAddress", Value::Data(address)),
                    ("SerialNumber", device.phone.udid().into()),
                ]);
                entries.push(Entry { id: id + 1, phone: device.phone.clone(), properties: over_network });
            }
            entries.push(Entry { id, phone: device.phone.clone(), properties: over_usb });
        }
        entries
    }
}

impl Entry {
    fn attached(self) -> Dictionary {
        dictionary([("MessageType", "Attached".into()), ("DeviceID", self.id.into()), ("Properties", self.properties.into())])
    }
}

/// What a request leads to.
enum Outcome {
    Reply(Dictionary),
    Result(u64),
    /// The client wants to hear what happens.
    Listen,
    /// The rest of the conversation is with the phone.
    Call(crate::phone::Call),
}

struct Client<'a> {
    shared: &'a Shared,
    stream: Option<Box<dyn Stream>>,
}

impl Client<'_> {
    fn stream(&mut self) -> io::Result<&mut Box<dyn Stream>> {
        self.stream.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn talk(&mut self) -> io::Result<()> {
        loop {
            let mut header = [0; HEADER];
            self.stream()?.read_exact(&mut header)?;
            let field = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| header[at + i]));
            let (length, version, kind, tag) = (field(0) as usize, field(4), field(8), field(12));
            let body = match length.checked_sub(HEADER) {
                Some(body) if body <= LONGEST_REQUEST => body,
                _ => return Ok(()),
            };
            let mut request = Vec::new();
            self.stream()?.take(body as u64).read_to_end(&mut request)?;
            if request.len() < body {
                return Ok(());
            }
            if version != 1 {
                // Whoever speaks the old protocol understands an answer in it.
                let mut reply = Vec::new();
                for field in [HEADER as u32 + 4, version, RESULT, tag, BAD_VERSION as u32] {
                    reply.extend(field.to_le_bytes());
                }
                self.stream()?.write_all(&reply)?;
                continue;
            }
            let request = match decode(&request) {
                Ok(Value::Dictionary(request)) if kind == PLIST => request,
                _ => {
                    self.result(tag, BAD_COMMAND)?;
                    continue;
                }
            };
            match self.answer(&request) {
                Outcome::Reply(reply) => self.send(tag, reply)?,
                Outcome::Result(number) => self.result(tag, number)?,
                Outcome::Listen => {
                    self.result(tag, OK)?;
                    return self.listen(request);
                }
                Outcome::Call(call) => {
                    self.result(tag, OK)?;
                    return match self.stream.take() {
                        Some(stream) => call.answer(stream),
                        None => Ok(()),
                    };
                }
            }
        }
    }

    fn answer(&self, request: &Dictionary) -> Outcome {
        let number = |key: &str| request.get(key).and_then(Value::as_unsigned_integer);
        let record_id = request.get("PairRecordID").and_then(Value::as_string);
        let mut state = self.shared.state();
        match request.get("MessageType").and_then(Value::as_string) {
            Some("ListDevices") => {
                let list = state.entries().into_iter().map(|entry| entry.attached().into()).collect();
                Outcome::Reply(dictionary([("DeviceList", Value::Array(list))]))
            }
            Some("ListListeners") => {
                let list = state.listeners.iter().map(|(_, listener)| Value::Dictionary(listener.clone())).collect();
                Outcome::Reply(dictionary([("ListenerList", Value::Array(list))]))
            }
            Some("Listen") => Outcome::Listen,
            Some("Connect") => {
                let Some(id) = number("DeviceID") else { return Outcome::Result(BAD_DEVICE) };
                let Some(port) = number("PortNumber").and_then(|port| u16::try_from(port).ok()) else {
                    return Outcome::Result(BAD_COMMAND);
                };
                let Some(entry) = state.entries().into_iter().find(|entry| entry.id == id) else {
                    return Outcome::Result(BAD_DEVICE);
                };
                match entry.phone.dial(port.swap_bytes()) {
                    Ok(call) => Outcome::Call(call),
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Outcome::Result(REFUSED),
                    Err(_) => Outcome::Result(BAD_DEVICE),
                }
            }
            Some("ReadBUID") => Outcome::Reply(dictionary([("BUID", state.records.buid().into())])),
            Some("ReadPairRecord") => match record_id.map(|id| state.records.read(id)) {
                None => Outcome::Result(INVALID),
                Some(Ok(record)) => Outcome::Reply(dictionary([("PairRecordData", Value::Data(record))])),
                Some(Err(number)) => Outcome::Result(number),
            },
            Some("SavePairRecord") => {
                let (Some(id), Some(record)) = (record_id, request.get("PairRecordData").and_then(Value::as_data)) else {
                    return Outcome::Result(INVALID);
                };
                if let Err(number) = state.records.save(id, record) {
                    return Outcome::Result(number);
                }
                let device = number("DeviceID");
                let is_it = |entry: &Entry| Some(entry.id) == device && entry.phone.udid() == id;
                if let Some(entry) = state.entries().into_iter().find(is_it)
                    && state.paired.len() < MOST_PAIRED
                {
                    state.paired.push(entry.id);
                }
                Outcome::Result(OK)
            }
            Some("DeletePairRecord") => match record_id.map(|id| state.records.delete(id)) {
                None => Outcome::Result(INVALID),
                Some(Ok(())) => Outcome::Result(OK),
                Some(Err(number)) => Outcome::Result(number),
            },
            _ => Outcome::Result(BAD_COMMAND),
        }
    }

    /// Tells the client what happens until it goes away.
    fn listen(&mut self, request: Dictionary) -> io::Result<()> {
        let text = |key: &str| request.get(key).and_then(Value::as_string).unwrap_or_default();
        let listener = dictionary([
            ("Blacklisted", false.into()),
            ("BundleID", text("BundleID").into()),
            ("ConnType", request.get("ConnType").and_then(Value::as_signed_integer).unwrap_or_default().into()),
            (
                "ID String",
                format!(
                    "{}-{}",
                    request.get("ProcessID").and_then(Value::as_signed_integer).unwrap_or_default(),
                    text("ProgName")
                )
                .into(),
            ),
            ("ProgName", text("ProgName").into()),
            ("kLibUSBMuxVersion", 3_u64.into()),
        ]);
        let (number, mut paired) = {
            let mut state = self.shared.state();
            state.last_id += 2;
            let number = state.last_id;
            state.listeners.push((number, listener));
            (number, state.paired.len())
        };
        let outcome = self.report(&mut paired);
        self.shared.state().listeners.retain(|(other, _)| *other != number);
        outcome
    }

    fn report(&mut self, told: &mut usize) -> io::Result<()> {
        self.stream()?.patience(Some(LOOK))?;
        let mut known: Vec<u64> = Vec::new();
        while !self.shared.ended.load(Ordering::Acquire) {
            let (entries, paired) = {
                let mut state = self.shared.state();
                (state.entries(), state.paired[*told..].to_vec())
            };
            *told += paired.len();
            let gone: Vec<u64> = known.iter().copied().filter(|id| entries.iter().all(|entry| entry.id != *id)).collect();
            known.retain(|id| !gone.contains(id));
            for id in gone {
                self.send(0, dictionary([("MessageType", "Detached".into()), ("DeviceID", id.into())]))?;
            }
            for entry in entries {
                if !known.contains(&entry.id) {
                    known.push(entry.id);
                    self.send(0, entry.attached())?;
                }
            }
            for id in paired {
                self.send(0, dictionary([("MessageType", "Paired".into()), ("DeviceID", id.into())]))?;
            }
            let mut header = [0; HEADER];
            match self.stream()?.read(&mut header) {
                Ok(0) => return Ok(()),
                // Who listens has nothing more to say.
                Ok(_) => {
                    let tag = u32::from_le_bytes([header[12], header[13], header[14], header[15]]);
                    return self.result(tag, BAD_COMMAND);
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn result(&mut self, tag: u32, number: u64) -> io::Result<()> {
        self.send(tag, dictionary([("MessageType", "Result".into()), ("Number", number.into())]))
    }

    fn send(&mut self, tag: u32, message: Dictionary) -> io::Result<()> {
        let body = encode(&message.into(), Form::Xml)?;
        let length = u32::try_from(HEADER + body.len()).map_err(io::Error::other)?;
        let mut packet = Vec::with_capacity(HEADER + body.len());
        for field in [length, 1, PLIST, tag] {
            packet.extend(field.to_le_bytes());
        }
        packet.extend(body);
        self.stream()?.write_all(&packet)
    }
}
