//! The inside of the phone: what is on it, its keys, and what it remembers of a backup that was broken off.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard};

use russet_apple_format::FileKey;
use russet_specimen::{PlainHash, TruthKind};

use crate::backup::Unfinished;
use crate::contents::{self, Body, Contents, Place, Plan, Recipe};
use crate::{Config, Phone};

/// What is true of one place on the phone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Truth {
    /// The domain.
    pub domain: String,
    /// The path inside the domain; empty for the domain's root.
    pub path: String,
    /// What it is, and what is in it.
    pub kind: TruthKind,
    /// When its contents last changed, in Unix seconds.
    pub modified: i64,
    /// Whether only encrypted backups have it.
    pub encrypted_only: bool,
}

/// The inside of a phone.
#[derive(Debug)]
pub(crate) struct Inside {
    pub(crate) plan: Plan,
    pub(crate) contents: Contents,
    /// Every recipe that was ever at a place, by which a restore knows large files again.
    pub(crate) recipes: BTreeMap<Place, Vec<Recipe>>,
    /// What was made out of the plan last, to tell what a day changes.
    planned: Contents,
    /// Keybags made so far; each has salts and file keys of its own.
    pub(crate) bags: u32,
    /// Backups begun so far.
    pub(crate) backups: u32,
    /// What a broken backup left behind.
    pub(crate) unfinished: Option<Unfinished>,
    /// Stored lengths of files that were longer than their records say, by file and time of change.
    pub(crate) longer: BTreeMap<([u8; 20], i64), u64>,
    /// Set when the owner cancels what is running.
    cancel: Arc<AtomicBool>,
}

impl Inside {
    /// The inside on the first day.
    pub(crate) fn new(config: &Config) -> io::Result<Inside> {
        let plan = Plan::new(config);
        let contents = plan.contents(1)?;
        let mut inside = Inside {
            plan,
            planned: contents.clone(),
            contents,
            recipes: BTreeMap::new(),
            bags: 0,
            backups: 0,
            unfinished: None,
            longer: BTreeMap::new(),
            cancel: Arc::default(),
        };
        inside.note_recipes();
        Ok(inside)
    }

    /// Lets another day begin.
    pub(crate) fn begin_day(&mut self, day: u32) -> io::Result<()> {
        let mut today = self.plan.contents(day)?;
        for (place, item) in &mut today {
            // What is equal is kept once.
            if let Some(same) = self.planned.get(place).filter(|before| *before == item) {
                *item = same.clone();
            }
        }
        contents::change(&mut self.contents, &self.planned, today.clone());
        self.planned = today;
        self.note_recipes();
        Ok(())
    }

    /// Makes the running request end as cancelled on the phone.
    pub(crate) fn cancel(&self) {
        self.cancel.store(true, Ordering::Relaxed);
    }

    /// What [`Inside::cancel`] sets; a request clears it when it begins.
    pub(crate) fn cancel_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.cancel)
    }

    /// Bytes out of the seed, for one purpose.
    pub(crate) fn secret<const N: usize>(&self, purpose: &str) -> [u8; N] {
        let mut hasher = blake3::Hasher::new_derive_key("russet virtual phone 2026 secrets");
        hasher.update(&self.plan.specimen().seed.to_le_bytes());
        hasher.update(purpose.as_bytes());
        let mut bytes = [0; N];
        hasher.finalize_xof().fill(&mut bytes);
        bytes
    }

    /// The key of one protection class; it lives as long as the phone.
    pub(crate) fn class_key(&self, class: u32) -> FileKey {
        FileKey::from_bytes(self.secret(&format!("class {class}")))
    }

    fn note_recipes(&mut self) {
        for (place, item) in &self.contents {
            if let Body::File(contents::Content::Recipe(recipe)) = &item.body {
                let known = self.recipes.entry(place.clone()).or_default();
                if !known.contains(recipe) {
                    known.push(*recipe);
                }
            }
        }
    }
}

impl Phone {
    /// The day it is on the phone: 1 is the first.
    pub fn day(&self) -> u32 {
        self.state().day
    }

    /// Lets a day pass: messages come in, pictures are taken, something is deleted.
    pub fn a_day_passes(&self) -> io::Result<()> {
        let day = {
            let mut state = self.state();
            state.day += 1;
            state.day
        };
        self.inside().begin_day(day)?;
        self.remember();
        Ok(())
    }

    /// Everything that is on the phone now, in the order of domain and path.
    pub fn truth(&self) -> io::Result<Vec<Truth>> {
        let contents = self.inside().contents.clone();
        let truth = contents.into_iter().map(|((domain, path), item)| {
            let kind = match &item.body {
                Body::File(content) => TruthKind::File(PlainHash { blake3: content.blake3()?, size: content.size() }),
                Body::Directory => TruthKind::Directory,
                Body::Symlink(target) => TruthKind::Symlink(target.clone()),
            };
            Ok(Truth { domain, path, kind, modified: item.modified, encrypted_only: item.encrypted_only })
        });
        truth.collect()
    }

    pub(crate) fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.inside.lock().unwrap_or_else(|e| e.into_inner())
    }
}
