//! A repository is mounted for real, looked at from outside, and ended in every way. Where FUSE is not to be had, this is said and skipped.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod common;

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Place, files_in};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use russet_specimen::Specimen;

/// A mount, which ends with the test however that ends.
struct Mount {
    child: Child,
    at: PathBuf,
}

impl Mount {
    /// Nothing where this system does not let anybody mount.
    fn of(place: &Place) -> Option<Mount> {
        if fs::File::options().read(true).write(true).open("/dev/fuse").is_err() {
            eprintln!("skipped: /dev/fuse cannot be opened here");
            return None;
        }
        let at = place.path("mount");
        fs::create_dir_all(&at).unwrap();
        let mut command = place.command(&["mount", at.to_str().unwrap(), "--json"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // One object, printed once everything is there.
        let mut words = String::new();
        while !words.contains('}') {
            let mut byte = [0];
            if child.stdout.as_mut().unwrap().read(&mut byte).unwrap() == 0 {
                let mut why = String::new();
                child.stderr.unwrap().read_to_string(&mut why).unwrap();
                panic!("{words}{why}");
            }
            words.push(byte[0].into());
        }
        let said: serde_json::Value = serde_json::from_str(&words).unwrap();
        assert_eq!(said["mounted"], at.canonicalize().unwrap().to_str().unwrap(), "{said}");
        Some(Mount { child, at })
    }

    /// The one device's newest date.
    fn latest(&self) -> PathBuf {
        let mut devices = fs::read_dir(&self.at).unwrap();
        let device = devices.next().unwrap().unwrap().path();
        assert!(devices.next().is_none());
        device.join("latest")
    }

    #[track_caller]
    fn ends_well(mut self) {
        let ended = wait_for(|| self.child.try_wait().unwrap());
        assert_eq!(ended.code(), Some(0));
        assert!(!is_mounted(&self.at));
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        if is_mounted(&self.at) {
            Command::new("umount").arg("-l").arg(&self.at).status().unwrap();
        }
    }
}

fn is_mounted(path: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    let parent = path.parent().unwrap().canonicalize().unwrap().join(name);
    mounts.lines().any(|line| line.split(' ').nth(1) == parent.to_str())
}

#[track_caller]
fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "nothing happened");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_mounted_phone_is_what_extract_gives_back_and_apples_folder_bit_for_bit() {
    let mut place = Place::new();
    let phone = Specimen { password: Some("specimen".into()), ..Specimen::default() };
    let written = phone.write(&place.path("Backup"), 1).unwrap();
    let from = written.folder.to_str().unwrap();
    place.set("RUSSET_PHONE_PASSWORD", "specimen");
    place.done(&["backup", "--from", from]);
    let Some(mount) = Mount::of(&place) else { return };

    let latest = mount.latest();
    assert_eq!(names(&latest), ["Camera Roll", "apple-backup", "apps", "domains"]);
    place.done(&["extract", "latest", "--to", "out"]);
    let extracted = files_in(&place.path("out"));
    assert!(files_in(&latest.join("domains")) == extracted, "what is mounted is not what is extracted");
    assert!(files_in(&latest.join("apple-backup")) == files_in(&written.folder), "Apple's folder is not as it came");

    let photos: Vec<_> = files_in(&latest.join("Camera Roll"))
        .into_iter()
        .map(|(path, bytes)| (path.file_name().unwrap().to_owned(), bytes))
        .collect();
    assert!(!photos.is_empty());
    for (name, bytes) in &photos {
        assert!(extracted.iter().any(|(path, same)| path.file_name() == Some(name) && same == bytes), "{name:?}");
    }
    let apps = names(&latest.join("apps"));
    assert!(apps.iter().any(|app| app == "Safari"), "{apps:?}");
    for (path, bytes) in files_in(&latest.join("apps")) {
        assert!(extracted.iter().any(|(_, same)| *same == bytes), "{path:?}");
    }

    // Ciphertext in any order: each block depends on all before it.
    let (path, whole) = files_in(&written.folder).into_iter().max_by_key(|(_, bytes)| bytes.len()).unwrap();
    let file = fs::File::open(latest.join("apple-backup").join(path)).unwrap();
    for offset in [whole.len() / 2, whole.len() - 100, 0, whole.len() / 3] {
        let mut piece = vec![0; 100];
        file.read_exact_at(&mut piece, offset as u64).unwrap();
        assert!(piece == whole[offset..offset + 100], "at {offset}");
    }
    drop(file);

    assert_eq!(fs::metadata(latest.join("domains/NoSuchDomain")).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(fs::write(latest.join("new"), "x").unwrap_err().kind(), ErrorKind::ReadOnlyFilesystem);
    assert_eq!(fs::remove_file(latest.join("apple-backup/Info.plist")).unwrap_err().kind(), ErrorKind::ReadOnlyFilesystem);

    // A new date appears by itself, and `latest` leads to it.
    let before = fs::read_link(&latest).unwrap();
    drop(phone.write(&place.path("Backup"), 2).unwrap());
    place.done(&["backup", "--from", from]);
    wait_for(|| (fs::read_link(&latest).unwrap() != before).then_some(()));
    assert!(files_in(&latest.join("apple-backup")) == files_in(&written.folder), "the new date is not as it came");
    assert!(latest.with_file_name(before).join("domains").is_dir(), "the old date stays");

    mount.signal(Signal::SIGINT);
    mount.ends_well();
}

#[test]
fn a_repository_that_vanishes_comes_back_and_a_broken_pack_spoils_just_its_own_files() {
    let place = Place::new();
    let folder = place.some_files();
    place.done(&["backup", "--from", folder.to_str().unwrap()]);
    let packs: Vec<_> = files_in(&place.path("repo/packs")).into_iter().map(|(name, _)| name).collect();
    let late = vec![7; 100_000];
    place.write("files/late", &late);
    place.done(&["backup", "--from", folder.to_str().unwrap()]);
    let Some(mount) = Mount::of(&place) else { return };
    let files = mount.latest().join("files");
    assert_eq!(names(&files), ["deep", "late", "notes", "picture.jpg"]);

    fs::rename(place.path("repo"), place.path("away")).unwrap();
    assert_eq!(fs::read(files.join("late")).unwrap_err().raw_os_error(), Some(nix::errno::Errno::EIO as i32));
    assert!(names(&mount.at).len() == 1, "what is known is still shown");
    fs::rename(place.path("away"), place.path("repo")).unwrap();
    assert!(fs::read(files.join("late")).unwrap() == late);

    // The packs of the first run hold all contents but the late one.
    for name in &packs {
        let path = place.path("repo/packs").join(name);
        let mut bytes = fs::read(&path).unwrap();
        if bytes.len() > 100_000 {
            bytes.iter_mut().skip(200).step_by(1000).for_each(|byte| *byte ^= 1);
            fs::write(&path, bytes).unwrap();
        }
    }
    let picture = fs::read(files.join("picture.jpg")).unwrap_err();
    assert_eq!(picture.raw_os_error(), Some(nix::errno::Errno::EIO as i32));
    assert!(fs::read(files.join("late")).unwrap() == late);

    place.run(&["mount", mount.at.to_str().unwrap()]).failed(2, &["is not empty", "hint:"]);
    assert!(Command::new("umount").arg(&mount.at).status().unwrap().success());
    mount.ends_well();
    place.run(&["mount", "nowhere"]).failed(2, &["there is no folder", "hint:"]);
}

#[test]
fn a_killed_mount_is_taken_away_and_a_busy_one_ends_on_a_signal() {
    let place = Place::new();
    let folder = place.some_files();
    place.done(&["backup", "--from", folder.to_str().unwrap()]);
    let Some(mount) = Mount::of(&place) else { return };
    mount.signal(Signal::SIGKILL);
    wait_for(|| (!is_mounted(&mount.at)).then_some(()));
    drop(mount);

    let mount = Mount::of(&place).unwrap();
    let file = fs::File::open(mount.latest().join("files/picture.jpg")).unwrap();
    mount.signal(Signal::SIGTERM);
    mount.ends_well();
    drop(file);
}
