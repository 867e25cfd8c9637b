//! springboardservices: the icons of the apps, and how they are arranged.

use std::io;

use plist::Value;

use crate::Phone;
use crate::property_list::{Incoming, dictionary, send};
use crate::tls::Channel;

/// How wide and high an icon is.
const SIDE: u32 = 8;

/// Answers one connection.
pub(crate) fn serve(phone: &Phone, channel: &mut Channel) -> io::Result<()> {
    let mut incoming = Incoming::default();
    while let Some((request, form)) = incoming.next(channel)? {
        let text = |key: &str| request.get(key).and_then(Value::as_string);
        let reply: Value = match text("command") {
            Some("getIconPNGData") => match text("bundleId") {
                Some(id) if phone.apps().iter().any(|app| app.id == id) => {
                    dictionary([("pngData", Value::Data(icon(id)))]).into()
                }
                _ => dictionary([("Error", "ApplicationNotFound".into())]).into(),
            },
            Some("getHomeScreenWallpaperPNGData") => dictionary([("pngData", Value::Data(icon("wallpaper")))]).into(),
            Some("getInterfaceOrientation") => dictionary([("interfaceOrientation", 1_u64.into())]).into(),
            Some("getIconState") => {
                let icon = |id: &str, name: &str| {
                    dictionary([("bundleIdentifier", id.into()), ("displayIdentifier", id.into()), ("displayName", name.into())])
                };
                let page = phone.apps().iter().map(|app| icon(app.id, app.name).into()).collect();
                let dock = vec![icon("com.apple.mobilesafari", "Safari").into()];
                Value::Array(vec![Value::Array(dock), Value::Array(page)])
            }
            // Arranging them is the owner's business, and nothing is said about it.
            Some("setIconState") => continue,
            _ => dictionary([("Error", "UnknownCommand".into())]).into(),
        };
        send(channel, reply, form)?;
    }
    Ok(())
}

/// A PNG of one colour, which depends on the app.
fn icon(id: &str) -> Vec<u8> {
    let [red, green, blue, ..] = *blake3::hash(id.as_bytes()).as_bytes();
    let row: Vec<u8> = std::iter::once(0).chain([red, green, blue].repeat(SIDE as usize)).collect();
    let pixels = row.repeat(SIDE as usize);
    let mut header = Vec::new();
    header.extend(SIDE.to_be_bytes());
    header.extend(SIDE.to_be_bytes());
    // Eight bits of red, green and blue; the usual compression and filter; no interlacing.
    header.extend([8, 2, 0, 0, 0]);
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    for (name, data) in [(b"IHDR", header), (b"IDAT", stored(&pixels)), (b"IEND", Vec::new())] {
        png.extend((data.len() as u32).to_be_bytes());
        let start = png.len();
        png.extend(name);
        png.extend(data);
        let check = crc32(&png[start..]);
        png.extend(check.to_be_bytes());
    }
    png
}

/// A zlib stream that holds these bytes, fewer than 64 KiB, as they are.
fn stored(bytes: &[u8]) -> Vec<u8> {
    let length = bytes.len() as u16;
    let mut stream = vec![0x78, 0x01, 0x01];
    stream.extend(length.to_le_bytes());
    stream.extend((!length).to_le_bytes());
    stream.extend(bytes);
    let (mut low, mut high) = (1_u32, 0_u32);
    for &byte in bytes {
        low = (low + u32::from(byte)) % 65_521;
        high = (high + low) % 65_521;
    }
    stream.extend((high << 16 | low).to_be_bytes());
    stream
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standards() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(stored(b"abc")[10..], [0x02, 0x4d, 0x01, 0x27]);
    }
}
