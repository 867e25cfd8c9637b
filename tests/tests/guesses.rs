//! What one guess at a password costs on this machine: russet's default slot beside Apple's keybag, restic's and borg's, as a table.
//!
//! Each is timed by itself, on one password at a time, with what its own program uses of the machine's cores. restic's scrypt is left to Python,
//! which brings it along; without Python its row is left out.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::process::Command;
use std::time::{Duration, Instant};

use russet_apple_format::keybag::{Keybag, NewKeybag};
use russet_repository::KdfChoice;
use russet_repository::format::id::RepositoryId;
use russet_repository::format::key::Secrets;
use russet_repository::format::slot::{Slot, SlotKind};

/// So often everything is timed; the quickest counts.
const TIMES: usize = 3;
/// A share of Apple's rounds, so that measuring takes no minutes; rounds cost the same each.
const APPLE_ROUNDS: u32 = 10_000_000;
const MEASURED_ROUNDS: u32 = 1_000_000;

fn quickest(guess: &mut dyn FnMut()) -> Duration {
    let time = |guess: &mut dyn FnMut()| {
        let began = Instant::now();
        guess();
        began.elapsed()
    };
    (0..TIMES).map(|_| time(guess)).min().unwrap()
}

/// A wrong password at a slot.
fn slot(kdf: KdfChoice) -> Duration {
    let secrets = Secrets::random().unwrap();
    let slot = Slot::create(&secrets, b"right", RepositoryId([1; 16]), SlotKind::Password, "", kdf, 1).unwrap();
    quickest(&mut || assert!(slot.open(b"wrong").is_err()))
}

/// A password at a phone's keybag.
fn apple() -> Duration {
    let rounds = |first| {
        let bag = NewKeybag {
            uuid: [0; 16],
            salt: [1; 20],
            iterations: 10_000,
            double_protection: Some(([2; 20], first)),
            classes: &[],
        };
        let bag = Keybag::create(&bag, "right").unwrap();
        quickest(&mut || drop(bag.derive("wrong").unwrap()))
    };
    let (one, many) = (rounds(1), rounds(MEASURED_ROUNDS));
    one + (many - one) * (APPLE_ROUNDS / MEASURED_ROUNDS)
}

/// The rounds of PBKDF2-HMAC-SHA256 that borg 1 uses: a sixth of the least that a slot of ours may have.
fn borg_pbkdf2() -> Duration {
    slot(KdfChoice::Pbkdf2 { rounds: 600_000 }) / 6
}

/// scrypt with N = 2^15, r = 8, p = 1: what restic's calibration takes at least, in seconds, as Python says.
fn restic() -> Option<Duration> {
    let program = "import hashlib,time\nbest=9\nfor _ in range(5):\n t=time.perf_counter()\n hashlib.scrypt(b'wrong',salt=b'3'*64,n=32768,r=8,p=1,maxmem=1<<26,dklen=64)\n best=min(best,time.perf_counter()-t)\nprint(best)";
    let output = Command::new("python3").args(["-c", program]).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok().map(Duration::from_secs_f64)
}

#[test]
#[ignore = "measures for half a minute; docs/RELIABILITY.md has the table"]
fn what_a_guess_costs() {
    let ours = slot(KdfChoice::default());
    let borg = slot(KdfChoice::Argon2id { memory_kib: 64 << 10, passes: 3, lanes: 4 });
    let rows = [
        ("russet: Argon2id, 256 MiB, 3 passes, 4 lanes", "256 MiB", Some(ours)),
        ("russet for those who must: PBKDF2-SHA256, 2,000,000 rounds", "none", Some(slot(KdfChoice::PBKDF2))),
        ("Apple's keybag: PBKDF2-SHA256, 10,000,000 rounds, and 10,000 of SHA1", "none", Some(apple())),
        ("restic: scrypt, N = 32,768, r = 8, p = 1", "32 MiB", restic()),
        ("borg 1.4 `argon2`, borg 2: Argon2id, 64 MiB, 3 passes, 4 lanes", "64 MiB", Some(borg)),
        ("borg 1 `pbkdf2`: PBKDF2-SHA256, 100,000 rounds", "none", Some(borg_pbkdf2())),
    ];
    println!("| slot | memory of a guess | time of a guess | guesses a second | cost, russet's is 1 |");
    println!("|---|---|---|---|---|");
    for (name, memory, time) in rows {
        let Some(seconds) = time.map(|time| time.as_secs_f64()) else { continue };
        let cost = seconds / ours.as_secs_f64();
        println!("| {name} | {memory} | {:.0} ms | {:.1} | {cost:.2} |", seconds * 1000.0, 1.0 / seconds);
    }
}
