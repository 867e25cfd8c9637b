//! One bit for each chunk of an index.

use std::sync::atomic::{AtomicU64, Ordering};

/// Marks for as many things as it was made for. A million chunks take 125 kB.
pub(crate) struct Marks(Vec<AtomicU64>);

impl Marks {
    pub(crate) fn new(things: usize) -> Marks {
        Marks((0..things.div_ceil(64)).map(|_| AtomicU64::new(0)).collect())
    }

    /// Marks a thing, and says whether it is the first time.
    pub(crate) fn set(&self, thing: usize) -> bool {
        let (word, bit) = (&self.0[thing / 64], 1 << (thing % 64));
        // Most are marked already, and reading does not take the line away from other cores.
        word.load(Ordering::Relaxed) & bit == 0 && word.fetch_or(bit, Ordering::Relaxed) & bit == 0
    }

    /// Everything that is marked, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().flat_map(|(number, word)| {
            let word = word.load(Ordering::Relaxed);
            (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| number * 64 + bit)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_marked_is_told_in_order_and_once() {
        let marks = Marks::new(130);
        for (thing, first) in [(129, true), (0, true), (63, true), (0, false), (64, true)] {
            assert_eq!(marks.set(thing), first, "{thing}");
        }
        assert_eq!(marks.iter().collect::<Vec<_>>(), [0, 63, 64, 129]);
        assert_eq!(Marks::new(0).iter().count(), 0);
    }
}
