//! Work that all cores share: each takes the next piece of it as soon as it is done with its last.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Does something for each number below `count`, in order as far as more than one core can keep one. Each core makes itself `tools`
/// first, and keeps them. The first error ends it.
pub fn share_out<T, E: Send>(
    count: usize,
    tools: impl Fn() -> T + Sync,
    work: impl Fn(&mut T, usize) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let (next, is_over, failure) = (AtomicUsize::new(0), AtomicBool::new(false), Mutex::new(None));
    rayon::broadcast(|_| {
        let mut tools = tools();
        loop {
            let turn = next.fetch_add(1, Ordering::Relaxed);
            if turn >= count || is_over.load(Ordering::Relaxed) {
                break;
            }
            if let Err(error) = work(&mut tools, turn) {
                is_over.store(true, Ordering::Relaxed);
                failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
        }
    });
    failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_has_its_turn_once_and_an_error_ends_it() {
        let turns = Mutex::new(vec![0; 10_000]);
        let take = |_: &mut (), turn: usize| {
            turns.lock().unwrap()[turn] += 1;
            if turn == 700 { Err("enough") } else { Ok(()) }
        };
        assert_eq!(share_out(700, || (), take), Ok(()));
        assert_eq!(turns.lock().unwrap()[..], [[1; 700].as_slice(), &[0; 9300]].concat());
        assert_eq!(share_out(10_000, || (), take), Err("enough"));
        assert_eq!(turns.lock().unwrap()[9999], 0, "somebody went on to the end");
    }
}
