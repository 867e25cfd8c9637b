//! AFC: hosts read and write the phone's media folder, and lock a file in it while they sync.

mod media;

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use media::Handle;
pub(crate) use media::Media;

use crate::Phone;
use crate::tls::Channel;

const MAGIC: &[u8; 8] = b"CFA6LPAA";
const HEADER: usize = 40;
/// The most that is taken from a host at once, besides what it writes, and what it writes.
const LONGEST_DATA: u64 = 16 << 10;
const LONGEST_PAYLOAD: u64 = 64 << 20;
/// The most that is read at once; a host that wants more asks again.
const LONGEST_READ: u64 = 4 << 20;
const MOST_HANDLES: usize = 256;

/// Why something was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Status {
    Success = 0,
    HeaderInvalid = 2,
    NoResources = 3,
    InvalidArgument = 7,
    NotFound = 8,
    IsDirectory = 9,
    PermissionDenied = 10,
    TooMuchData = 13,
    NotSupported = 15,
    Exists = 16,
    NoSpace = 18,
    WouldBlock = 19,
    NotEmpty = 33,
}

enum Answer {
    Done,
    Data(Vec<u8>),
    Opened(u64),
    Position(u64),
}

struct Packet {
    number: u64,
    operation: u64,
    data: Vec<u8>,
    payload: Vec<u8>,
}

/// Answers one connection.
pub(crate) fn serve(phone: &Phone, channel: &mut Channel) -> io::Result<()> {
    let mut desk = Desk { phone, handles: BTreeMap::new(), last: 0 };
    while let Some(packet) = receive(channel)? {
        let (operation, data, payload) = match desk.answer(&packet) {
            Ok(Answer::Done) => (0x01, (Status::Success as u64).to_le_bytes().to_vec(), Vec::new()),
            Ok(Answer::Data(bytes)) => (0x02, Vec::new(), bytes),
            Ok(Answer::Opened(handle)) => (0x0e, handle.to_le_bytes().to_vec(), Vec::new()),
            Ok(Answer::Position(position)) => (0x13, position.to_le_bytes().to_vec(), Vec::new()),
            Err(status) => (0x01, (status as u64).to_le_bytes().to_vec(), Vec::new()),
        };
        send(channel, packet.number, operation, &data, &payload)?;
    }
    Ok(())
}

fn receive(channel: &mut Channel) -> io::Result<Option<Packet>> {
    let mut header = [0; HEADER];
    match channel.read(&mut header[..1])? {
        0 => return Ok(None),
        _ => channel.read_exact(&mut header[1..])?,
    }
    let field = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| header[at + i]));
    let (whole, part, number, operation) = (field(8), field(16), field(24), field(32));
    let data = part.checked_sub(HEADER as u64);
    let payload = whole.checked_sub(part);
    let (true, Some(data), Some(payload)) = (header.starts_with(MAGIC), data, payload) else {
        send(channel, number, 0x01, &(Status::HeaderInvalid as u64).to_le_bytes(), &[])?;
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a packet has no usable header"));
    };
    if data > LONGEST_DATA || payload > LONGEST_PAYLOAD {
        send(channel, number, 0x01, &(Status::TooMuchData as u64).to_le_bytes(), &[])?;
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a packet is too long"));
    }
    Ok(Some(Packet { number, operation, data: take(channel, data)?, payload: take(channel, payload)? }))
}

/// Reads so many bytes; memory grows with what arrives.
fn take(channel: &mut Channel, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if channel.take(length).read_to_end(&mut bytes)? as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}

fn send(channel: &mut Channel, number: u64, operation: u64, data: &[u8], payload: &[u8]) -> io::Result<()> {
    let part = (HEADER + data.len()) as u64;
    let mut packet = MAGIC.to_vec();
    for field in [part + payload.len() as u64, part, number, operation] {
        packet.extend(field.to_le_bytes());
    }
    packet.extend(data);
    packet.extend(payload);
    channel.write_all(&packet)?;
    channel.flush()
}

/// What one connection holds. Its handles, and their locks, end with it.
struct Desk<'a> {
    phone: &'a Phone,
    handles: BTreeMap<u64, Handle>,
    last: u64,
}

impl Desk<'_> {
    fn answer(&mut self, packet: &Packet) -> Result<Answer, Status> {
        let media = &self.phone.0.media;
        let mut data = Fields(&packet.data);
        match packet.operation {
            0x03 => {
                let names = media.list(data.path()?)?;
                let all = [".", ".."].into_iter().map(str::to_owned).chain(names);
                Ok(Answer::Data(all.flat_map(|name| name.into_bytes().into_iter().chain([0])).collect()))
            }
            0x07 => {
                let size = data.number()?;
                media.resize(data.path()?, size)?;
                Ok(Answer::Done)
            }
            0x08 => media.remove(data.path()?, false).map(|()| Answer::Done),
            0x22 => media.remove(data.path()?, true).map(|()| Answer::Done),
            0x09 => media.make_folder(data.path()?).map(|()| Answer::Done),
            0x0a => Ok(Answer::Data(pairs(&media.facts(data.path()?)?))),
            0x0b => Ok(Answer::Data(pairs(&media.device()))),
            0x0d => {
                let mode = data.number()?;
                if self.handles.len() >= MOST_HANDLES {
                    return Err(Status::NoResources);
                }
                let handle = media.open(data.path()?, mode)?;
                self.last += 1;
                self.handles.insert(self.last, handle);
                Ok(Answer::Opened(self.last))
            }
            0x0f => {
                let handle = self.handle(&mut data)?;
                handle.read(data.number()?.min(LONGEST_READ)).map(Answer::Data)
            }
            0x10 => {
                let handle = self.handle(&mut data)?;
                handle.write(media, &packet.payload).map(|()| Answer::Done)
            }
            0x11 => {
                let handle = self.handle(&mut data)?;
                let whence = data.number()?;
                handle.seek(whence, data.number()?.cast_signed()).map(|()| Answer::Done)
            }
            0x12 => Ok(Answer::Position(self.handle(&mut data)?.position())),
            0x14 => match self.handles.remove(&data.number()?) {
                Some(_) => Ok(Answer::Done),
                None => Err(Status::InvalidArgument),
            },
            0x15 => {
                let handle = self.handle(&mut data)?;
                handle.resize(media, data.number()?).map(|()| Answer::Done)
            }
            0x18 => {
                let from = data.path()?;
                media.rename(from, data.path()?).map(|()| Answer::Done)
            }
            // Sizes of blocks; they matter to nobody.
            0x19 | 0x1a => data.number().map(|_| Answer::Done),
            0x1b => {
                let handle = self.handle(&mut data)?;
                handle.lock(data.number()?).map(|()| Answer::Done)
            }
            // Links are refused, since one could lead out.
            0x1c => match data.number()? {
                2 => Err(Status::PermissionDenied),
                _ => Err(Status::NotSupported),
            },
            0x1e => {
                let time = data.number()?;
                media.set_modified(data.path()?, time).map(|()| Answer::Done)
            }
            _ => Err(Status::NotSupported),
        }
    }

    fn handle(&mut self, data: &mut Fields<'_>) -> Result<&mut Handle, Status> {
        self.handles.get_mut(&data.number()?).ok_or(Status::InvalidArgument)
    }
}

/// Names and values, each with a NUL after it.
fn pairs(facts: &[(&str, String)]) -> Vec<u8> {
    facts.iter().flat_map(|(key, value)| format!("{key}\0{value}\0").into_bytes()).collect()
}

/// The arguments of a request, one after another.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn number(&mut self) -> Result<u64, Status> {
        let (field, rest) = self.0.split_first_chunk().ok_or(Status::InvalidArgument)?;
        self.0 = rest;
        Ok(u64::from_le_bytes(*field))
    }

    /// A path up to its NUL; some hosts leave out the last one.
    fn path(&mut self) -> Result<&'a str, Status> {
        let end = self.0.iter().position(|&byte| byte == 0);
        let (path, rest) = match end {
            Some(end) => (&self.0[..end], &self.0[end + 1..]),
            None => (self.0, &self.0[self.0.len()..]),
        };
        self.0 = rest;
        std::str::from_utf8(path).map_err(|_| Status::InvalidArgument)
    }
}
