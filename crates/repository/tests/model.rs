//! A repository beside a plain map of files: thousands of steps, some of them damage, and never a wrong byte.
//!
//! The steps come out of a seed. A failure prints it with the last steps, and `RUSSET_MODEL_SEED` plays one seed alone. Keys are drawn anew
//! in each run, so the steps are the same again and the bytes that damage hits are only alike.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod dates;
mod model_steps;

use model_steps::Model;

/// Plays so many steps of each seed.
fn play(seeds: std::ops::Range<u64>, steps: u64) {
    let chosen = std::env::var("RUSSET_MODEL_SEED").ok().map(|text| text.parse().unwrap());
    let seeds: Vec<u64> = chosen.map_or_else(|| seeds.collect(), |seed| vec![seed]);
    let mut counted = model_steps::Counted::default();
    for seed in seeds {
        let mut model = Model::new(seed);
        for _ in 0..steps {
            model.step();
        }
        model.end();
        counted.add(&model.counted);
    }
    eprintln!("{counted:?}");
}

#[test]
fn a_few_hundred_random_steps_leave_what_a_plain_map_of_files_says() {
    play(0..4, 90);
}

#[test]
#[ignore = "takes a minute in a release build"]
fn thousands_of_random_steps_leave_what_a_plain_map_of_files_says() {
    play(100..140, 250);
}
