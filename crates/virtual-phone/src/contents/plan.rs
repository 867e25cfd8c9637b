//! What is on the phone on which day, as its owner uses it.

use std::io;

use russet_specimen::{ItemBody, Layout, Size, Specimen, date};

use super::recipe::mix;
use super::table::Table;
use super::{Body, Content, Contents, Item, Recipe, add_directories};
use crate::config::{Config, Contents as Amount};

const CAMERA: &str = "CameraRollDomain";
const DIARY: &str = "AppDomain-org.example.diary";
/// The app that is left where there is little.
const FEW: &str = DIARY;
const MEDIUM: u64 = 40_000_000;
const MB: u64 = 1_000_000;
const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;

/// Everything the contents depend on.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    specimen: Specimen,
    /// How many bytes beyond those of the specimen.
    more: u64,
    /// The length of a frame of an upload: some files fill frames exactly.
    frame: u64,
    /// Whether most of the specimen is left out.
    is_few: bool,
}

impl Plan {
    pub(crate) fn new(config: &Config) -> Plan {
        let (size, more) = match config.contents {
            Amount::Few | Amount::Small => (Size::Small, 0),
            Amount::Medium => (Size::Medium, 0),
            Amount::Bytes(bytes) => (Size::Medium, bytes.saturating_sub(MEDIUM)),
        };
        let specimen = Specimen {
            seed: config.seed,
            layout: Layout::Database,
            // With a password it has everything; what only encrypted backups have is marked.
            password: Some("any".to_owned()),
            rounds: 1,
            size,
            odd: false,
        };
        Plan { specimen, more, frame: config.manners.frame.max(1) as u64, is_few: config.contents == Amount::Few }
    }

    pub(crate) fn specimen(&self) -> &Specimen {
        &self.specimen
    }

    /// Everything that is on the phone on this day.
    pub(crate) fn contents(&self, day: u32) -> io::Result<Contents> {
        let mut contents = Contents::new();
        for item in self.specimen.contents(day)? {
            let (body, mode) = match item.body {
                ItemBody::File(plain) => (Body::File(Content::bytes(plain)), 0o100_644),
                ItemBody::Directory => (Body::Directory, 0o040_755),
                ItemBody::Symlink(target) => (Body::Symlink(target), 0o120_755),
            };
            let (modified, born, class) = (item.modified, item.born, item.class);
            let (attributes, encrypted_only) = (item.attributes, item.encrypted_only);
            if self.is_few && item.domain != FEW && !item.encrypted_only {
                continue;
            }
            contents.insert((item.domain, item.path), Item { body, modified, born, mode, class, attributes, encrypted_only });
        }
        self.add_edges(&mut contents);
        if self.more > 0 {
            self.add_more(&mut contents, day);
        }
        add_directories(&mut contents, date(1) - 400 * DAY);
        Ok(contents)
    }

    /// Files whose lengths lie at the edges of frames and blocks.
    fn add_edges(&self, contents: &mut Contents) {
        // The last one fills its frames once it is encrypted and padded.
        for (name, size) in [("empty", 0), ("frames", 2 * self.frame), ("padded frames", 2 * self.frame - 1)] {
            let content = match size {
                0 => Content::bytes([]),
                _ => Content::Recipe(Recipe::Noise { seed: self.seed(size), size }),
            };
            contents.insert((DIARY.into(), format!("Documents/lengths/{name}")), Item::file(content, date(1) - 300 * DAY, 3));
        }
    }

    /// Databases, films and photos: about a tenth, four tenths and a half of the bytes.
    fn add_more(&self, contents: &mut Contents, day: u32) {
        let mut put = |domain: &str, path: String, recipe, modified| {
            contents.insert((domain.to_owned(), path), Item::file(Content::Recipe(recipe), modified, 3));
        };
        let long_ago = |number: u64| date(1) - DAY - (self.seed(number) % (700 * DAY as u64)) as i64;

        let mut left = self.more / 10;
        for number in 0.. {
            if left < MB {
                break;
            }
            let seed = self.seed(1 << 32 | number);
            let size = (5 * MB + seed % (35 * MB)).min(left);
            left -= size;
            let (mut table, mut modified) = (Table::of_about(seed, size), long_ago(number));
            if number == 0 && day > 1 {
                // The one that is written to, every day.
                table.leaves += u64::from(day - 1) * (table.leaves / 50 + 1);
                modified = date(day) - HOUR;
            }
            put(DIARY, format!("Library/Application Support/archive/{number}.sqlite"), Recipe::Table(table), modified);
        }

        let mut left = self.more / 10 * 4;
        for number in 0.. {
            if left < MB {
                break;
            }
            let seed = self.seed(2 << 32 | number);
            let size = (50 * MB + seed % (250 * MB)).min(left);
            left -= size;
            put(CAMERA, format!("Media/DCIM/200APPLE/IMG_{number:05}.MOV"), Recipe::Noise { seed, size }, long_ago(number));
        }

        let (mut number, mut left) = (0, self.more / 2);
        while left >= MB {
            let (recipe, size) = self.photo(number, left);
            left -= size;
            // One of the first is deleted every day.
            if number + 1 >= u64::from(day) {
                put(CAMERA, photo_path(number), recipe, long_ago(number));
            }
            number += 1;
        }
        for later in 2..=day {
            let mut left = (self.more / 200).max(MB);
            for index in 0.. {
                if left < MB {
                    break;
                }
                let number = 100_000 * u64::from(later) + index;
                let (recipe, size) = self.photo(number, left);
                left -= size;
                put(CAMERA, photo_path(number), recipe, date(later) - 2 * HOUR - index as i64);
            }
        }
    }

    fn photo(&self, number: u64, left: u64) -> (Recipe, u64) {
        let seed = self.seed(3 << 32 | number);
        let size = (MB + seed % (3 * MB)).min(left);
        (Recipe::Noise { seed, size }, size)
    }

    fn seed(&self, purpose: u64) -> u64 {
        mix(mix(self.specimen.seed) ^ purpose)
    }
}

fn photo_path(number: u64) -> String {
    format!("Media/DCIM/{}APPLE/IMG_{number:05}.HEIC", 201 + number / 1_000 % 700)
}
