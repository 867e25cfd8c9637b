//! Which damage heals: kind by amount, many trials each, as the table of docs/RELIABILITY.md. `just healing` prints it.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::ops::Range;

use russet_format::parity::{Shape, Share, heal};

const SECTOR: usize = 4096;
const TRIALS: u64 = 20;

/// Random numbers that a trial has every time.
struct Dice(blake3::OutputReader);

impl Dice {
    fn of(trial: u64) -> Dice {
        Dice(blake3::Hasher::new().update(b"healing").update(&trial.to_le_bytes()).finalize_xof())
    }

    fn below(&mut self, most: usize) -> usize {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        (u64::from_le_bytes(bytes) % most as u64) as usize
    }

    fn sectors(&mut self, within: Range<usize>, count: usize) -> Vec<usize> {
        let mut sectors: Vec<usize> = Vec::new();
        while sectors.len() < count.min(within.len()) {
            let sector = within.start + self.below(within.len());
            if !sectors.contains(&sector) {
                sectors.push(sector);
            }
        }
        sectors
    }
}

/// A pack of random bytes with its parity, and its name.
struct Pack {
    shape: Shape,
    file: Vec<u8>,
    name: blake3::Hash,
}

impl Pack {
    /// A header is not told apart from the rest here: what it says is in the parity's records, too.
    fn new(covered: usize, percent: u8) -> Pack {
        let mut file = vec![0; covered];
        blake3::Hasher::new().update(b"pack").finalize_xof().fill(&mut file);
        let shape = Shape::of_share(covered, Share::new(percent).unwrap()).unwrap();
        file.extend(shape.encode(&file));
        let name = blake3::hash(&file);
        Pack { shape, file, name }
    }

    fn sectors(&self) -> usize {
        self.file.len().div_ceil(SECTOR)
    }

    /// The share of trials after which the pack is whole again, in percent.
    fn healed(&self, kind: Kind, amount: usize, trials: u64) -> u64 {
        let is_healed = |trial: &u64| {
            let mut damaged = self.file.clone();
            kind.strike(self, &mut damaged, amount, &mut Dice::of(*trial));
            let healed = heal(&damaged, &|bytes| blake3::hash(bytes) == self.name);
            healed.is_some_and(|healed| healed.bytes == self.file)
        };
        (0..trials).filter(is_healed).count() as u64 * 100 / trials
    }
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Flips,
    Sectors,
    Head,
    Burst,
    Tail,
    TailAndSectors,
}

impl Kind {
    fn words(self) -> &'static str {
        match self {
            Kind::Flips => "flipped bits, each anywhere",
            Kind::Sectors => "sectors of zeros, anywhere",
            Kind::Head => "the first sector, and others anywhere",
            Kind::Burst => "a burst of noise, anywhere",
            Kind::Tail => "a torn tail",
            Kind::TailAndSectors => "half the parity torn off, and sectors of zeros",
        }
    }

    /// Whether an amount is a length in sectors, or a number of places.
    fn is_length(self) -> bool {
        matches!(self, Kind::Burst | Kind::Tail)
    }

    fn strike(self, pack: &Pack, file: &mut Vec<u8>, amount: usize, dice: &mut Dice) {
        let zero = |file: &mut Vec<u8>, sectors: Vec<usize>| {
            for sector in sectors {
                let end = file.len().min((sector + 1) * SECTOR);
                file[sector * SECTOR..end].fill(0);
            }
        };
        match self {
            Kind::Flips => (0..amount).for_each(|_| {
                let at = dice.below(file.len());
                file[at] ^= 1 << dice.below(8);
            }),
            Kind::Sectors => zero(file, dice.sectors(0..pack.sectors(), amount)),
            Kind::Head => {
                zero(file, vec![0]);
                zero(file, dice.sectors(1..pack.sectors(), amount - 1));
            }
            Kind::Burst => {
                let len = (amount * SECTOR).min(file.len());
                let start = dice.below(file.len() - len + 1);
                dice.0.fill(&mut file[start..start + len]);
            }
            Kind::Tail => file.truncate(file.len().saturating_sub(amount * SECTOR)),
            Kind::TailAndSectors => {
                file.truncate(pack.file.len() - pack.shape.parity_len() / 2);
                zero(file, dice.sectors(0..pack.shape.covered() / SECTOR, amount));
            }
        }
    }
}

const KINDS: [Kind; 6] = [Kind::Flips, Kind::Sectors, Kind::Head, Kind::Burst, Kind::Tail, Kind::TailAndSectors];

fn table(title: &str, covered: usize, percent: u8, amounts: &[usize], trials: u64) {
    let pack = Pack::new(covered, percent);
    println!(
        "\n{title}: {} bytes, {percent} %, {} recovery shards; parity is {} bytes, {:.2} % of what it covers\n",
        covered,
        pack.shape.recovery_shards(),
        pack.shape.parity_len(),
        100.0 * pack.shape.parity_len() as f64 / covered as f64
    );
    let columns: Vec<String> = amounts.iter().map(usize::to_string).collect();
    println!("| damage | {} |", columns.join(" | "));
    println!("|---|{}", "---|".repeat(amounts.len()));
    for kind in KINDS {
        let cells: Vec<String> = amounts.iter().map(|&amount| format!("{} %", pack.healed(kind, amount, trials))).collect();
        let unit = if kind.is_length() { ", sectors long" } else { "" };
        println!("| {}{unit} | {} |", kind.words(), cells.join(" | "));
    }
}

#[test]
#[ignore = "it takes minutes, and prints a table"]
fn what_share_of_damage_heals() {
    let full = 256 * 65_552 + 112;
    table("A full pack", full, 3, &[1, 10, 100, 123, 130, 250], TRIALS);
    table("A full pack", full, 10, &[100, 411, 450], TRIALS / 4);
    table("The smallest pack", 65_552 + 112, 3, &[1, 2, 3, 4], 5 * TRIALS);
}

#[test]
fn damage_within_the_parity_heals_whatever_its_kind() {
    let pack = Pack::new(32 * 65_552 + 112, 3);
    let most = pack.shape.recovery_shards();
    for kind in [Kind::Flips, Kind::Tail] {
        assert_eq!(pack.healed(kind, most, 3), 100, "{kind:?}");
    }
    for kind in [Kind::Sectors, Kind::Head] {
        // Recovery shards do not begin where sectors do, so a lost sector among them costs two.
        assert_eq!(pack.healed(kind, most * 3 / 4, 3), 100, "{kind:?}");
    }
    assert_eq!(pack.healed(Kind::Burst, most - 1, 3), 100, "a burst begins and ends within a sector");
    assert_eq!(pack.healed(Kind::TailAndSectors, most / 2 - 1, 3), 100);
    assert_eq!(pack.healed(Kind::Sectors, 2 * most + 20, 3), 0);
}
