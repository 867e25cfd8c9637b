//! Names that were made to get out, to be something else, or to fall together: each ends up as one name in the folder it belongs to.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use russet_vfs::target::{Attributes, Options, Target};
use tempfile::TempDir;

/// Every name that has hurt some program, as bytes, because a phone sends bytes.
fn nasty() -> Vec<Vec<u8>> {
    let texts = [
        "..",
        ".",
        "",
        "...",
        "....",
        ".. ",
        " ..",
        "..\\",
        "..\\..\\x",
        "../",
        "../x",
        "../../etc/passwd",
        "/",
        "//",
        "/etc/passwd",
        "//server/share",
        "\\\\server\\share",
        "\\\\?\\C:\\x",
        "C:",
        "C:\\x",
        "C:x",
        "c:/x",
        "~",
        "~root",
        "-rf",
        "--help",
        "$HOME",
        "%00",
        "%2e%2e",
        "%2E%2E%2Fx",
        "..%2fx",
        "..%c0%afx",
        "a/../../b",
        "a\\..\\..\\b",
        "./x",
        "x/.",
        "x/..",
        "CON",
        "con",
        "CON.txt",
        "con .txt",
        "PRN",
        "AUX",
        "NUL",
        "nul.",
        "COM1",
        "COM9.log",
        "COM¹",
        "LPT1",
        "LPT0",
        "CONIN$",
        "CONOUT$",
        "end.",
        "end ",
        "end. . .",
        " lead",
        "a:b",
        "a:b:$DATA",
        "file::$INDEX_ALLOCATION",
        "a*b",
        "a?b",
        "a<b>c|d\"e",
        "new\nline",
        "carriage\rreturn",
        "tab\tx",
        "bell\u{7}",
        "esc\u{1b}[2Jx",
        "del\u{7f}",
        "nul\0byte",
        "\0",
        "\u{1}",
        "\u{202e}gpj.exe",
        "\u{200b}",
        "\u{feff}bom",
        "caf\u{e9}",
        "cafe\u{301}",
        "\u{ff0e}\u{ff0e}\u{ff0f}x",
        "\u{2024}\u{2024}",
        "\u{2215}x",
        "\u{29f8}x",
        "Thumbs.db",
        "desktop.ini",
        ".DS_Store",
        "._x",
        ".git",
        ".ssh",
        ".russet-x.tmp",
        "same",
        "SAME",
        "Same",
        "x~2",
        "x",
        "ſame",
        "K",
        "k",
        "\u{212a}",
        "ß",
        "ss",
        "\u{130}",
        "i\u{307}",
    ];
    let mut names: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    names.extend(
        [&b"\xff"[..], b"\xc0\xaf", b"\xc0\xae\xc0\xae", b"\xed\xa0\x80", b"ok\xfe\xffok", b"\x80\x2f\x80"].map(<[u8]>::to_vec),
    );
    names.extend([255, 256, 257, 300, 4096, 70_000].map(|len| vec![b'n'; len]));
    names.push([vec![b'l'; 250], b".jpeg".to_vec()].concat());
    names.push([vec![b'l'; 251], b".jpeg".to_vec()].concat());
    names.push("é".repeat(200).into_bytes());
    names.push([vec![b'.'; 300]].concat());
    names.push([b"../".repeat(200), b"x".to_vec()].concat());
    names
}

/// Everything below a folder, and whether it is a folder itself.
fn below(folder: &Path) -> BTreeMap<PathBuf, bool> {
    let (mut found, mut left) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(next).unwrap().map(Result::unwrap) {
            let is_folder = entry.file_type().unwrap().is_dir();
            if is_folder {
                left.push(entry.path());
            }
            found.insert(entry.path(), is_folder);
        }
    }
    found
}

fn outside(outer: &Path) -> BTreeSet<PathBuf> {
    below(outer).into_keys().filter(|path| !path.starts_with(outer.join("in"))).collect()
}

fn attributes() -> Attributes {
    Attributes { mode: 0o100644, mtime: (1_600_000_000, 0), ..Attributes::default() }
}

#[test]
fn whatever_a_file_is_called_it_is_written_once_inside_its_folder_and_nothing_else_is() {
    for portable in [false, true] {
        let outer = TempDir::new().unwrap();
        let inside = outer.path().join("in");
        fs::write(outer.path().join("x"), "not ours").unwrap();
        let before = outside(outer.path());
        let target = Target::open(&inside, Options { portable, ..Options::default() }).unwrap();
        let names = nasty();
        for (number, name) in names.iter().enumerate() {
            let text = format!("{number}");
            target.file(&[name], &attributes(), &mut text.as_bytes()).unwrap();
            target.file(&[b"deep", name, name], &attributes(), &mut text.as_bytes()).unwrap();
        }
        let written = target.finish().unwrap();
        assert_eq!(written.files, 2 * names.len() as u64);
        assert_eq!(outside(outer.path()), before);
        assert_eq!(fs::read(outer.path().join("x")).unwrap(), b"not ours");
        // Each is there once, and holds what it held.
        let there = below(&inside);
        let mut contents: Vec<usize> = there
            .iter()
            .filter(|(_, is_folder)| !**is_folder)
            .map(|(path, _)| fs::read_to_string(path).unwrap().parse().unwrap())
            .collect();
        contents.sort();
        assert_eq!(contents, (0..names.len()).flat_map(|number| [number, number]).collect::<Vec<_>>());
        for path in there.keys() {
            let name = path.file_name().unwrap().as_bytes();
            assert!(name.len() <= 255, "{path:?}");
            let text = String::from_utf8_lossy(name);
            let is_bad = |c: char| (c as u32) < 32 || "<>:\"|?*\\".contains(c);
            assert!(!portable || !(text.contains(is_bad) || text.ends_with(['.', ' '])), "{path:?} is not for every system");
        }
    }
}

#[test]
fn a_link_that_leads_out_is_kept_as_a_link_and_no_file_goes_through_it() {
    for name in nasty() {
        let outer = TempDir::new().unwrap();
        let elsewhere = outer.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        let before = outside(outer.path());
        let target = Target::open(&outer.path().join("in"), Options { overwrite: true, ..Options::default() }).unwrap();
        for to in [elsewhere.as_os_str().as_bytes(), b"..", b"../elsewhere", b"/"] {
            target.symlink(&[&name], &attributes(), to).unwrap();
            target.file(&[&name, b"x"], &attributes(), &mut &b"escaped"[..]).unwrap();
            target.directory(&[&name, b"folder"], &attributes()).unwrap();
            target.file(&[&name], &attributes(), &mut &b"escaped"[..]).unwrap();
        }
        target.finish().unwrap();
        assert_eq!(outside(outer.path()), before, "{:?}", OsStr::from_bytes(&name));
    }
}
