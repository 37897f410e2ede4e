//! Counts of allocations.

use allocation_counter::measure;

/// Returns the allocations of one time, after enough of them to have everything at its size.
pub(crate) fn allocations(mut work: impl FnMut()) -> u64 {
    for _ in 0..ENOUGH {
        work();
    }
    let counted = measure(&mut work);
    assert_eq!(counted.count_current, 0, "what it allocates, it frees");
    counted.count_total
}

/// So many that the log of the feed is full.
const ENOUGH: usize = 128;
