//! What becomes of each pack: it stays, is written again without what nobody needs, is condemned, or goes.

use std::collections::{HashMap, HashSet};

use russet_format::condemned::Condemned;
use russet_format::id::FileName;

use super::{LEAST_GRACE, Options, Report, Tally};
use crate::index::Index;
use crate::look::Look;
use crate::settle::note;

/// What a pack holds, and how much of that is needed: bytes as they are stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Weight {
    pub(crate) stored: u64,
    pub(crate) used: u64,
}

impl Weight {
    fn unused(self) -> u64 {
        self.stored - self.used
    }
}

/// Weighs every pack of the index. A chunk that lies in two packs is needed in the one that lookups find.
pub(crate) fn weigh(index: &Index, used: impl Iterator<Item = usize>) -> Vec<Weight> {
    // Four bytes for each segment: how much of it is needed.
    let mut needed = vec![0u32; index.segments() as usize];
    for chunk in used {
        let at = index.location(chunk);
        needed[at.segment as usize] = needed[at.segment as usize].saturating_add(at.len);
    }
    let mut weights = vec![Weight::default(); index.packs()];
    for (number, needed) in (0..).zip(needed) {
        let segment = index.segment(number);
        let stored = u64::from(segment.stored_len);
        let used = match segment.raw_len {
            0 => 0,
            // At least a byte, because a pack of which anything is needed must not count as unused.
            raw => (stored * u64::from(needed)).div_ceil(u64::from(raw)).clamp(u64::from(needed > 0), stored.max(1)),
        };
        let weight = &mut weights[segment.pack as usize];
        weight.stored += stored.max(used);
        weight.used += used;
    }
    weights
}

/// Chooses the packs to write again, the most wasteful first, until no more than the allowed share is unused.
pub(crate) fn choose(weights: &[Weight], most_unused: f64) -> Vec<usize> {
    let mut candidates: Vec<usize> = (0..weights.len()).filter(|&n| weights[n].used > 0 && weights[n].unused() > 0).collect();
    let share = |weight: Weight| u128::from(weight.unused());
    candidates.sort_by(|&a, &b| {
        let (a, b) = (weights[a], weights[b]);
        (share(b) * u128::from(a.stored)).cmp(&(share(a) * u128::from(b.stored)))
    });
    let used: u64 = weights.iter().map(|weight| weight.used).sum();
    let mut unused: u64 = candidates.iter().map(|&n| weights[n].unused()).sum();
    let mut chosen = Vec::new();
    for number in candidates {
        if unused as f64 <= most_unused * (used + unused) as f64 {
            break;
        }
        unused -= weights[number].unused();
        chosen.push(number);
    }
    chosen
}

/// What is to be done.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Packs to write again: their numbers in the index.
    pub(crate) repack: Vec<usize>,
    /// Packs to condemn now, the repacked among them.
    pub(crate) condemn: Vec<FileName>,
    /// Packs that go.
    pub(crate) remove: HashSet<FileName>,
    /// Lists that say no more than others or nothing; they go last.
    pub(crate) answered: Vec<FileName>,
    /// Lists that are written in their place.
    pub(crate) shorter: Vec<Condemned>,
}

/// Looks at every pack and every list. Also fills in the part of the report that is known by then.
pub(crate) fn plan(look: &Look, index: &Index, weights: &[Weight], options: &Options, now: i64, report: &mut Report) -> Plan {
    let grace = options.grace.seconds();
    let needed: HashSet<FileName> = (0..index.packs()).filter(|&n| weights[n].used > 0).map(|n| index.pack(n).name).collect();
    let mut since = HashMap::new();
    look.lists.iter().for_each(|(_, list)| note(&mut since, list));
    let mut plan = Plan { repack: choose(weights, options.most_unused), ..Plan::default() };
    let rewritten: HashSet<FileName> = plan.repack.iter().map(|&n| index.pack(n).name).collect();

    for (&name, &len) in &look.packs {
        let pack = Tally { packs: 1, bytes: len };
        report.before += pack;
        let time = since.get(&name).copied();
        match (needed.contains(&name), time) {
            (true, time) => {
                if time.is_some() {
                    report.kept_again += pack;
                }
                if rewritten.contains(&name) {
                    report.repacked += pack;
                    plan.condemn.push(name);
                }
            }
            // A list from far in the future was dated by a clock that was wrong. Its grace begins now.
            (false, Some(time)) if time > now.saturating_add(LEAST_GRACE) => {
                report.condemned += pack;
                plan.condemn.push(name);
            }
            (false, Some(time)) if time <= now.saturating_sub(grace) => {
                report.removed += pack;
                plan.remove.insert(name);
            }
            (false, Some(time)) => {
                report.waiting += pack;
                report.goes_at(time.saturating_add(grace));
            }
            (false, None) => {
                report.unused += pack;
                plan.condemn.push(name);
            }
        }
    }
    report.condemned += report.unused + report.repacked;
    plan.condemn.sort();

    let condemned_anew: HashSet<FileName> = plan.condemn.iter().copied().collect();
    for (name, list) in &look.lists {
        let waits = |pack: &&FileName| {
            look.packs.contains_key(pack)
                && !needed.contains(pack)
                && !plan.remove.contains(pack)
                && !condemned_anew.contains(pack)
        };
        let rest: Vec<FileName> = list.packs.iter().filter(waits).copied().collect();
        if rest.is_empty() || rest.len() < list.packs.len() {
            plan.answered.push(*name);
            if !rest.is_empty() {
                plan.shorter.push(Condemned { time: list.time, packs: rest });
            }
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_wasteful_packs_are_chosen_until_little_is_unused() {
        let weight = |used, unused| Weight { stored: used + unused, used };
        let weights = [weight(90, 10), weight(10, 90), weight(100, 0), weight(0, 100), weight(50, 50), weight(99, 1)];
        assert_eq!(choose(&weights, 0.0), [1, 4, 0, 5]);
        assert_eq!(choose(&weights, 0.05), [1, 4]);
        assert_eq!(choose(&weights, 0.20), [1]);
        assert_eq!(choose(&weights, 1.0), [] as [usize; 0]);
    }
}
