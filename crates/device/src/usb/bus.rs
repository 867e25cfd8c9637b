//! The USB bus: finding phones, choosing their configuration, and the two bulk endpoints. The only file that knows libusb.

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rusb::{Context, Device, DeviceHandle, Direction, Error, Speed, TransferType, UsbContext};

use super::mux::Pipe;
use super::{UsbError, UsbPhone};

const APPLE: u16 = 0x05ac;
/// Class, subclass and protocol of the multiplexer's interface. New products keep it, whatever their product id.
const USBMUX: (u8, u8, u8) = (0xff, 0xfe, 0x02);
/// Vendor request to the device, answered.
const VENDOR_IN: u8 = 0xc0;
const GET_MODE: u8 = 0x45;
const SET_MODE: u8 = 0x52;
/// How long a control transfer may take.
const CONTROL_PATIENCE: Duration = Duration::from_secs(1);
/// How long one write may wait before the sender looks whether it is still wanted.
const WRITE_SLICE: Duration = Duration::from_millis(250);
/// How long a phone may take nothing at all.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);

/// A phone on the bus.
#[derive(Debug)]
struct Found {
    device: Device<Context>,
    phone: UsbPhone,
    place: Place,
}

/// Where the multiplexer is in the phone's descriptors.
#[derive(Debug, Clone, Copy)]
struct Place {
    configuration: u8,
    interface: u8,
    output: u8,
    input: u8,
    packet_size: usize,
}

/// The phones on the bus. Nothing is claimed or changed.
pub(super) fn list() -> Result<Vec<UsbPhone>, UsbError> {
    Ok(search()?.into_iter().map(|found| found.phone).collect())
}

/// Claims the multiplexer of a phone.
pub(super) fn claim(udid: &str) -> Result<Arc<dyn Pipe>, UsbError> {
    let found = find(udid)?;
    let handle = open(&found)?;
    let busy_or = |what, error| match error {
        Error::Busy => UsbError::Busy { udid: udid.to_owned() },
        Error::NoDevice => UsbError::Unplugged,
        error => UsbError::Io { what, source: io_error(error) },
    };
    let place = found.place;
    // A phone that was never configured has the configuration 0, or none that can be asked for.
    if handle.active_configuration().unwrap_or(0) != place.configuration {
        detach_drivers(&found.device, &handle);
        handle.set_active_configuration(place.configuration).map_err(|e| busy_or("choosing the phone's configuration", e))?;
    }
    handle.claim_interface(place.interface).map_err(|e| busy_or("claiming the phone", e))?;
    Ok(Arc::new(Bulk { handle, place, closed: AtomicBool::new(false) }))
}

/// The four bytes in which a phone tells its mode. None if it does not know the question, as old ones do not.
pub(super) fn mode(udid: &str) -> Result<Option<[u8; 4]>, UsbError> {
    let mut answer = [0; 4];
    match open(&find(udid)?)?.read_control(VENDOR_IN, GET_MODE, 0, 0, &mut answer, CONTROL_PATIENCE) {
        Ok(4) => Ok(Some(answer)),
        Ok(_) | Err(_) => Ok(None),
    }
}

/// Asks a phone for another mode. If it agrees it leaves the bus and comes back.
pub(super) fn switch_mode(udid: &str, mode: u8) -> Result<bool, UsbError> {
    let mut answer = [0xff];
    let asked = open(&find(udid)?)?.read_control(VENDOR_IN, SET_MODE, 0, u16::from(mode), &mut answer, CONTROL_PATIENCE);
    Ok(asked == Ok(1) && answer == [0])
}

fn search() -> Result<Vec<Found>, UsbError> {
    let list_error = |error| UsbError::Io { what: "looking at the USB bus", source: io_error(error) };
    let devices = match Context::new().and_then(|context| context.devices()) {
        Ok(devices) => devices,
        // A machine without USB.
        Err(Error::Other | Error::NotFound | Error::NoDevice) => return Ok(Vec::new()),
        Err(error) => return Err(list_error(error)),
    };
    let mut found = Vec::new();
    let mut hidden = None;
    for device in devices.iter() {
        let Ok(descriptor) = device.device_descriptor() else { continue };
        if descriptor.vendor_id() != APPLE {
            continue;
        }
        let Some(place) = place(&device, descriptor.num_configurations()) else { continue };
        let serial = match serial_from_kernel(&device) {
            Some(serial) => Ok(serial),
            None => serial_from_phone(&device),
        };
        match serial.map(|serial| udid_of(&serial)) {
            Ok(Some(udid)) => {
                let phone = UsbPhone { udid, speed: bits_per_second(device.speed()), location: location(&device) };
                found.push(Found { device, phone, place });
            }
            // Not a phone that could be told from others, or one that just left.
            Ok(None) => {}
            Err(Error::Access) => hidden = Some(UsbError::Permission { node: node(&device) }),
            Err(_) => {}
        }
    }
    match hidden {
        Some(error) if found.is_empty() => Err(error),
        _ => Ok(found),
    }
}

fn find(udid: &str) -> Result<Found, UsbError> {
    let found = search()?.into_iter().find(|found| found.phone.udid == udid);
    found.ok_or_else(|| UsbError::NotFound { udid: udid.to_owned() })
}

fn open(found: &Found) -> Result<DeviceHandle<Context>, UsbError> {
    found.device.open().map_err(|error| match error {
        Error::Access => UsbError::Permission { node: node(&found.device) },
        Error::NoDevice => UsbError::Unplugged,
        error => UsbError::Io { what: "opening the phone", source: io_error(error) },
    })
}

/// The multiplexer's interface in the highest configuration that has one.
fn place(device: &Device<Context>, configurations: u8) -> Option<Place> {
    (0..configurations).filter_map(|index| place_in(device, index)).max_by_key(|place| place.configuration)
}

fn place_in(device: &Device<Context>, index: u8) -> Option<Place> {
    let configuration = device.config_descriptor(index).ok()?;
    for descriptor in configuration.interfaces().flat_map(|interface| interface.descriptors()) {
        let kind = (descriptor.class_code(), descriptor.sub_class_code(), descriptor.protocol_code());
        if kind != USBMUX || descriptor.setting_number() != 0 || descriptor.num_endpoints() != 2 {
            continue;
        }
        let (mut output, mut input) = (None, None);
        for endpoint in descriptor.endpoint_descriptors().filter(|e| e.transfer_type() == TransferType::Bulk) {
            match endpoint.direction() {
                Direction::Out => output = Some((endpoint.address(), endpoint.max_packet_size())),
                Direction::In => input = Some(endpoint.address()),
            }
        }
        if let (Some((output, packet_size)), Some(input)) = (output, input) {
            // The sizes that there are, from full to super speed; anything else was not read right.
            let packet_size = if [8, 16, 32, 64, 512, 1024].contains(&packet_size) { usize::from(packet_size) } else { 64 };
            let interface = descriptor.interface_number();
            return Some(Place { configuration: configuration.number(), interface, output, input, packet_size });
        }
    }
    None
}

/// The kernel has read the serial number already and shows it to everyone, so that looking needs no permission.
fn serial_from_kernel(device: &Device<Context>) -> Option<String> {
    let ports: Vec<String> = device.port_numbers().ok()?.iter().map(u8::to_string).collect();
    if ports.is_empty() {
        return None;
    }
    fs::read_to_string(format!("/sys/bus/usb/devices/{}-{}/serial", device.bus_number(), ports.join("."))).ok()
}

fn serial_from_phone(device: &Device<Context>) -> Result<String, Error> {
    let handle = device.open()?;
    let language = *handle.read_languages(CONTROL_PATIENCE)?.first().ok_or(Error::NotFound)?;
    handle.read_serial_number_string(language, &device.device_descriptor()?, CONTROL_PATIENCE)
}

/// The phone's name for itself everywhere but on USB: new ones leave out a hyphen there.
fn udid_of(serial: &str) -> Option<String> {
    let serial = serial.trim_matches(|c: char| c == '\0' || c.is_ascii_whitespace());
    let plausible = (8..=64).contains(&serial.len()) && serial.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    plausible.then(|| match serial.len() {
        24 => format!("{}-{}", &serial[..8], &serial[8..]),
        _ => serial.to_owned(),
    })
}

fn detach_drivers(device: &Device<Context>, handle: &DeviceHandle<Context>) {
    let Ok(active) = device.active_config_descriptor() else { return };
    for interface in active.interfaces() {
        if handle.kernel_driver_active(interface.number()) == Ok(true) {
            // If the driver stays, choosing the configuration says so.
            let _ = handle.detach_kernel_driver(interface.number());
        }
    }
}

fn location(device: &Device<Context>) -> u32 {
    u32::from(device.bus_number()) << 16 | u32::from(device.address())
}

fn node(device: &Device<Context>) -> String {
    format!("/dev/bus/usb/{:03}/{:03}", device.bus_number(), device.address())
}

fn bits_per_second(speed: Speed) -> Option<u64> {
    match speed {
        Speed::Low => Some(1_500_000),
        Speed::Full => Some(12_000_000),
        Speed::High => Some(480_000_000),
        Speed::Super => Some(5_000_000_000),
        Speed::SuperPlus => Some(10_000_000_000),
        _ => None,
    }
}

fn io_error(error: Error) -> io::Error {
    let kind = match error {
        Error::Timeout => io::ErrorKind::TimedOut,
        Error::Interrupted => io::ErrorKind::Interrupted,
        Error::NoDevice => io::ErrorKind::NotConnected,
        Error::Access => io::ErrorKind::PermissionDenied,
        Error::Busy => io::ErrorKind::ResourceBusy,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

/// The claimed interface. Dropping it lets go of the phone.
#[derive(Debug)]
struct Bulk {
    handle: DeviceHandle<Context>,
    place: Place,
    closed: AtomicBool,
}

impl Bulk {
    fn check_open(&self) -> io::Result<()> {
        if self.closed.load(Ordering::Relaxed) { Err(io::ErrorKind::NotConnected.into()) } else { Ok(()) }
    }

    /// Writes everything, or nothing but the mark that a transfer is over.
    fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        let mut deadline = Instant::now() + WRITE_PATIENCE;
        loop {
            self.check_open()?;
            match self.handle.write_bulk(self.place.output, bytes, WRITE_SLICE) {
                Ok(written) => {
                    bytes = bytes.get(written..).unwrap_or_default();
                    if bytes.is_empty() {
                        return Ok(());
                    }
                    deadline = Instant::now() + WRITE_PATIENCE;
                }
                Err(Error::Timeout | Error::Interrupted) if Instant::now() < deadline => {}
                Err(error) => return Err(io_error(error)),
            }
        }
    }
}

impl Pipe for Bulk {
    fn send(&self, packet: &[u8]) -> io::Result<()> {
        self.write(packet)?;
        if packet.len().is_multiple_of(self.place.packet_size) { self.write(&[]) } else { Ok(()) }
    }

    fn receive(&self, buffer: &mut [u8], patience: Duration) -> io::Result<usize> {
        self.check_open()?;
        self.handle.read_bulk(self.place.input, buffer, patience).map_err(io_error)
    }

    fn packet_size(&self) -> usize {
        self.place.packet_size
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_number_becomes_a_udid() {
        assert_eq!(udid_of("00008101000A11112222333A\n").as_deref(), Some("00008101-000A11112222333A"));
        let old = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(udid_of(old).as_deref(), Some(old));
        assert_eq!(udid_of("00008101000A11112222333A\0\0").as_deref(), Some("00008101-000A11112222333A"));
        assert_eq!(udid_of("../../../../etc/passwd"), None);
        assert_eq!(udid_of(""), None);
        assert_eq!(udid_of("ééééééééé"), None);
    }
}
