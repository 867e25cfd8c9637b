//! Writes a specimen for a look at it: `cargo run -p russet-specimen --example specimen -- FOLDER GENERATION`.

use std::path::Path;

use russet_specimen::{Size, Specimen};

#[allow(clippy::print_stdout)]
fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let root = arguments.next().unwrap_or_else(|| "specimen".to_owned());
    let generation = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(1);
    let size = if arguments.any(|word| word == "medium") { Size::Medium } else { Size::Small };
    let written = Specimen { size, odd: true, ..Specimen::default() }.write(Path::new(&root), generation)?;
    println!("{} with {} rows; the password is `specimen`", written.folder.display(), written.truth.len());
    Ok(())
}
