//! The phone on the kernel's virtual USB bus (vhci-hcd): it answers USB/IP requests on a socket that the kernel reads.
//!
//! Pulling the cable is closing the socket.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use super::descriptors::{Answer, Control, MUX_IN, MUX_OUT};
use super::mux::Mux;
use super::packet::be32;

const CONTROLLER: &str = "/sys/devices/platform/vhci_hcd.0";
const HEADER_LEN: usize = 48;
const SUBMIT: u32 = 1;
const UNLINK: u32 = 2;
const SUBMITTED: u32 = 3;
const UNLINKED: u32 = 4;
const HIGH_SPEED: u32 = 3;
/// A port of the bus to which nothing is attached.
const PORT_IS_FREE: &str = "004";
/// The longest transfer that is read from the kernel.
const MAX_TRANSFER: usize = 16 << 20;
/// Linux numbers for a stalled endpoint and a request taken back.
const STALLED: i32 = -32;
const TAKEN_BACK: i32 = -104;
/// How often the cable is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// How the phone left the bus.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// The cable was pulled, or the kernel let go.
    Unplugged,
    /// It comes back at once, in another mode.
    Switching,
}

/// Holds the phone on the bus until it leaves.
pub(super) fn hold(control: &mut Control, mux: &Mux, is_plugged: &(dyn Fn() -> bool + Sync)) -> io::Result<Left> {
    let device = attach(Path::new(CONTROLLER))?;
    let bus = Bus {
        mux,
        writer: Mutex::new(device.try_clone()?),
        waiting: Mutex::default(),
        changed: Condvar::new(),
        left: AtomicBool::new(false),
    };
    thread::scope(|scope| {
        scope.spawn(|| bus.feed());
        scope.spawn(|| bus.watch(is_plugged));
        let outcome = bus.serve(&device, control);
        bus.leave();
        outcome
    })
}

/// Gives one end of a pair of sockets to the kernel, and the other one to the phone.
fn attach(controller: &Path) -> io::Result<UnixStream> {
    let explain = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e} (is vhci-hcd loaded?)", controller.display()));
    let status = fs::read_to_string(controller.join("status")).map_err(explain)?;
    let port = free_port(&status).ok_or_else(|| io::Error::other("every port of the virtual USB bus is taken"))?;
    let (kernel, device) = UnixStream::pair()?;
    let line = format!("{port} {} {} {HIGH_SPEED}", kernel.as_raw_fd(), 0x1_0001 + port);
    fs::write(controller.join("attach"), line).map_err(explain)?;
    Ok(device)
}

/// The first free port for high speed in the controller's table.
fn free_port(status: &str) -> Option<u32> {
    status.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let (hub, port, state) = (words.next()?, words.next()?, words.next()?);
        (hub == "hs" && state == PORT_IS_FREE).then(|| port.parse().ok())?
    })
}

struct Bus<'a> {
    mux: &'a Mux,
    writer: Mutex<UnixStream>,
    /// Requests of the host for data: number and most bytes.
    waiting: Mutex<VecDeque<(u32, usize)>>,
    changed: Condvar,
    left: AtomicBool,
}

impl Bus<'_> {
    fn writer(&self) -> MutexGuard<'_, UnixStream> {
        self.writer.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<(u32, usize)>> {
        self.waiting.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn has_left(&self) -> bool {
        self.left.load(Ordering::Relaxed)
    }

    fn leave(&self) {
        self.left.store(true, Ordering::Relaxed);
        // The kernel may have closed it before.
        let _ = self.writer().shutdown(Shutdown::Both);
        self.changed.notify_all();
    }

    /// Pulls the device off the bus when the cable is out.
    fn watch(&self, is_plugged: &(dyn Fn() -> bool + Sync)) {
        while !self.has_left() {
            if !is_plugged() || self.mux.is_closed() {
                self.leave();
            }
            thread::sleep(LOOK);
        }
    }

    /// Answers the host's requests for data as there is some.
    fn feed(&self) {
        while !self.has_left() {
            let nothing_asked = |waiting: &mut VecDeque<_>| waiting.is_empty() && !self.has_left();
            let asked = self.changed.wait_timeout_while(self.waiting(), LOOK, nothing_asked);
            if asked.unwrap_or_else(|e| e.into_inner()).0.is_empty() || !self.mux.wait(LOOK) {
                continue;
            }
            let mut waiting = self.waiting();
            while let Some((number, max)) = waiting.front().copied()
                && let Some(data) = self.mux.transfer_in(max)
            {
                waiting.pop_front();
                // Under the lock, so that a request is not taken back while it is answered.
                if self.submitted(number, 0, data.len(), &data).is_err() {
                    return;
                }
            }
        }
    }

    fn submitted(&self, number: u32, status: i32, len: usize, data: &[u8]) -> io::Result<()> {
        let words = [SUBMITTED, number, 0, 0, 0, status as u32, len as u32, 0, 0, 0, 0, 0];
        let mut reply: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        reply.extend_from_slice(data);
        self.writer().write_all(&reply)
    }

    fn unlinked(&self, number: u32, status: i32) -> io::Result<()> {
        let words = [UNLINKED, number, 0, 0, 0, status as u32, 0, 0, 0, 0, 0, 0];
        let reply: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        self.writer().write_all(&reply)
    }

    /// Reads requests until the socket is closed.
    fn serve(&self, mut device: &UnixStream, control: &mut Control) -> io::Result<Left> {
        let mut data = Vec::new();
        loop {
            let mut header = [0; HEADER_LEN];
            if device.read_exact(&mut header).is_err() {
                return Ok(Left::Unplugged);
            }
            let field = |at| be32(&header, at).unwrap_or_default();
            let (command, number, from_phone, endpoint) = (field(0), field(4), field(12) == 1, field(16));
            match command {
                SUBMIT => {
                    let len = field(24) as usize;
                    if len > MAX_TRANSFER {
                        return Err(io::Error::other(format!("the kernel asks for a transfer of {len} bytes")));
                    }
                    data.resize(if from_phone { 0 } else { len }, 0);
                    if device.read_exact(&mut data).is_err() {
                        return Ok(Left::Unplugged);
                    }
                    let answered = match (endpoint, from_phone) {
                        (0, _) => {
                            let mut setup = [0; 8];
                            setup.copy_from_slice(&header[40..]);
                            match control.answer(setup) {
                                Answer::Done(bytes) => self.control_done(number, from_phone, len, &bytes),
                                Answer::Stall => self.submitted(number, STALLED, 0, &[]),
                                Answer::Switch(bytes) => {
                                    // The answer has to be read before the phone is gone.
                                    self.control_done(number, from_phone, len, &bytes)?;
                                    thread::sleep(LOOK);
                                    return Ok(Left::Switching);
                                }
                            }
                        }
                        (MUX_OUT, false) if control.has_mux() => {
                            self.mux.transfer_out(&data);
                            self.submitted(number, 0, len, &[])
                        }
                        (MUX_IN, true) if control.has_mux() => {
                            self.waiting().push_back((number, len));
                            self.changed.notify_all();
                            Ok(())
                        }
                        _ => self.submitted(number, STALLED, 0, &[]),
                    };
                    if answered.is_err() {
                        return Ok(Left::Unplugged);
                    }
                }
                UNLINK => {
                    let target = field(20);
                    let mut waiting = self.waiting();
                    let place = waiting.iter().position(|(number, _)| *number == target);
                    let status = if place.and_then(|place| waiting.remove(place)).is_some() { TAKEN_BACK } else { 0 };
                    if self.unlinked(number, status).is_err() {
                        return Ok(Left::Unplugged);
                    }
                }
                other => return Err(io::Error::other(format!("the kernel sent the unknown command {other}"))),
            }
        }
    }

    fn control_done(&self, number: u32, from_phone: bool, len: usize, bytes: &[u8]) -> io::Result<()> {
        let bytes = &bytes[..bytes.len().min(len)];
        if from_phone { self.submitted(number, 0, bytes.len(), bytes) } else { self.submitted(number, 0, len, &[]) }
    }
}
