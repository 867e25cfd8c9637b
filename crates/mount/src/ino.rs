//! Inode numbers. Each is made of what it stands for, so that nothing has to be remembered of what the kernel has seen, and a date that is
//! closed and looked into again has the same ones.

/// One way to look into one date, as often as it had to be looked at anew because the repository had changed underneath.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BranchId {
    pub(crate) date: u32,
    pub(crate) way: Way,
    pub(crate) generation: u8,
}

/// How one looks into a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Way {
    /// As a person names what is in it.
    Named,
    /// As it was stored.
    Stored,
}

/// What an inode stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The mount point.
    Root,
    /// A device.
    Device(u32),
    /// The link to a device's newest date.
    Latest(u32),
    /// A date.
    Date(u32),
    /// A folder of a branch.
    Directory(BranchId, u32),
    /// A file or link of a branch.
    Item(BranchId, u32),
}

/// Dates that have a number. Two million of them are one an hour for two centuries.
pub(crate) const MOST_DATES: u32 = 1 << 21;
/// A branch is looked at anew less often than that.
pub(crate) const GENERATIONS: u8 = 1 << 7;

impl Place {
    /// From the top: 21 bits date, 7 bits generation, 1 bit way, 3 bits kind, 32 bits number.
    pub(crate) fn ino(self) -> u64 {
        let (kind, branch, number) = match self {
            Place::Root => (0, None, 1),
            Place::Device(number) => (1, None, number),
            Place::Latest(number) => (2, None, number),
            Place::Date(number) => (3, None, number),
            Place::Directory(branch, number) => (4, Some(branch), number),
            Place::Item(branch, number) => (5, Some(branch), number),
        };
        let branch = branch.map_or(0, |branch| {
            u64::from(branch.date) << 8 | u64::from(branch.generation) << 1 | u64::from(branch.way == Way::Stored)
        });
        branch << 35 | kind << 32 | u64::from(number)
    }

    pub(crate) fn of(ino: u64) -> Option<Place> {
        let number = ino as u32;
        let branch = BranchId {
            date: (ino >> 43) as u32,
            generation: (ino >> 36) as u8 & (GENERATIONS - 1),
            way: if ino >> 35 & 1 == 1 { Way::Stored } else { Way::Named },
        };
        Some(match ino >> 32 & 7 {
            0 if number == 1 => Place::Root,
            1 => Place::Device(number),
            2 => Place::Latest(number),
            3 => Place::Date(number),
            4 => Place::Directory(branch, number),
            5 => Place::Item(branch, number),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_says_what_it_stands_for() {
        let branch = BranchId { date: MOST_DATES - 1, way: Way::Stored, generation: GENERATIONS - 1 };
        let first = BranchId { date: 0, way: Way::Named, generation: 0 };
        let numbers = [0, 1, u32::MAX];
        let mut seen = std::collections::HashSet::new();
        for place in numbers.into_iter().flat_map(|n| {
            [
                Place::Device(n),
                Place::Latest(n),
                Place::Date(n),
                Place::Directory(branch, n),
                Place::Item(branch, n),
                Place::Item(first, n),
            ]
        }) {
            assert_eq!(Place::of(place.ino()), Some(place));
            assert!(seen.insert(place.ino()));
        }
        assert_eq!((Place::Root.ino(), Place::of(1)), (1, Some(Place::Root)), "the kernel knows the root as 1");
        assert_eq!((Place::of(0), Place::of(7 << 32)), (None, None));
    }
}
