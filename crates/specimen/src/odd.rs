//! Rare, damaged and hostile entries. Each says in a few words what it is.

use crate::Layout;
use crate::phone::{Flaw, Phone};

/// The app that they are in.
pub(crate) const DOMAIN: &str = "AppDomain-org.example.odd";
/// A domain whose files have digests.
const DIGESTED: &str = "HomeDomain";

/// Adds all of them. They stay as they are in later generations.
pub(crate) fn first_day(phone: &mut Phone<'_>) {
    lengths(phone);
    names(phone);
    links(phone);
    flaws(phone);
}

fn lengths(phone: &mut Phone<'_>) {
    let noise = |length: usize| phone.specimen.noise(&format!("odd length {length}")).bytes(length);
    let plain = [
        ("empty", Vec::new(), "an empty file"),
        ("1", noise(1), "one byte"),
        ("15", noise(15), "one byte short of a block"),
        ("16", noise(16), "exactly one block"),
        ("64K", noise(65_536), "a whole number of blocks"),
        ("padding", vec![16; 48], "contents that look like padding"),
        ("zeros", vec![0; 4_096], "nothing but zeros"),
    ];
    for (name, plain, why) in plain {
        phone.put(DOMAIN, &format!("Documents/lengths/{name}"), plain).odd = Some(why);
    }
}

fn names(phone: &mut Phone<'_>) {
    let longest = format!("Documents/names/{}", "n".repeat(255));
    let deep = format!("Documents/{}bottom.txt", "deep/".repeat(64));
    for (path, why) in [
        ("Documents/../../../../escape.txt", "a path that leads upwards"),
        ("../escape.txt", "a path that begins upwards"),
        ("/etc/escape.txt", "an absolute path"),
        ("Documents/names/bell\u{7}and\u{1b}[31mred", "control characters"),
        ("Documents/names/two\nlines\ttabbed", "a line break"),
        ("Documents/names/Case.txt", "differs from another in case only"),
        ("Documents/names/case.txt", "differs from another in case only"),
        ("Documents/names/CASE.TXT", "differs from another in case only"),
        ("Documents/names/caf\u{e9}.txt", "differs from another in normalisation only"),
        ("Documents/names/cafe\u{301}.txt", "differs from another in normalisation only"),
        ("Documents/names/\u{1f600} \u{202e}gpj.exe", "emoji and right-to-left"),
        ("Documents/names/con.txt", "a name that Windows keeps for itself"),
        ("Documents/names/back\\slash: *?\"<>|", "characters that Windows forbids"),
        ("Documents/names/trailing dot. ", "ends in a dot and a blank"),
        ("Documents/names/-rf $(reboot);`", "means something to a shell"),
        ("Documents/clash", "a file whose name is also a folder's"),
        ("Documents/clash/inside.txt", "lies in a folder whose name is also a file's"),
        (&longest, "a name of 255 bytes"),
        (&deep, "64 folders deep"),
    ] {
        phone.put(DOMAIN, path, format!("{path}\n")).odd = Some(why);
    }
}

fn links(phone: &mut Phone<'_>) {
    for (name, target, why) in [
        ("upwards", "../../../../../../../../etc/passwd", "a link that leads out"),
        ("absolute", "/private/var/mobile", "a link that leads to an absolute path"),
        ("itself", "itself", "a link to itself"),
        ("nowhere", "no/such/file", "a link to nothing"),
        ("nothing", "", "a link without target"),
    ] {
        phone.link(DOMAIN, &format!("Documents/links/{name}"), target).odd = Some(why);
    }
    phone.put(DOMAIN, "Documents/links/absolute/below.txt", "below a link\n").odd = Some("a file below a link");
}

fn flaws(phone: &mut Phone<'_>) {
    for (domain, name, flaw, why) in [
        (DOMAIN, "missing.bin", Flaw::Missing, "its blob is missing"),
        (DOMAIN, "cut.bin", Flaw::Truncated, "its blob is cut short"),
        (DOMAIN, "more.bin", Flaw::Trailing, "something follows in its blob"),
        (DOMAIN, "small.bin", Flaw::Claims(10), "it is larger than its record claims"),
        (DOMAIN, "large.bin", Flaw::Claims(1 << 40), "it is smaller than its record claims"),
        (DOMAIN, "none.bin", Flaw::Claims(0), "its record claims that it is empty"),
        (DOMAIN, "newer.bin", Flaw::UnknownKeys, "its record has unknown keys"),
        (DOMAIN, "open.bin", Flaw::NoKey, "it has no key and is stored in clear"),
        (DOMAIN, "open2.bin", Flaw::EmptyKey, "it has a key of no bytes and is stored in clear"),
        (DIGESTED, "digest.bin", Flaw::WrongDigest, "its digest is wrong"),
    ] {
        let is_impossible = match flaw {
            Flaw::UnknownKeys => phone.specimen.layout == Layout::Mbdb,
            Flaw::NoKey | Flaw::EmptyKey => !phone.specimen.is_encrypted(),
            _ => false,
        };
        if is_impossible {
            continue;
        }
        let plain = phone.specimen.noise(&format!("odd {name}")).bytes(3_000);
        let entry = phone.put(domain, &format!("Documents/flaws/{name}"), plain);
        (entry.flaw, entry.odd) = (flaw, Some(why));
    }
}
