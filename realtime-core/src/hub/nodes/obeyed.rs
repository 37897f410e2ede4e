//! The revocations of other nodes that are done here.

use super::{
    others::NODES,
    telling::KEPT,
    wire::{Revocation, Revoke},
};
use std::{collections::HashMap, time::Duration};

/// The numbers of the last revocations of other nodes that are done here, by node and life, with the tick at which they were
/// last told. Kept for longer than a node is known: one that comes back after a partition tells all of them again.
#[derive(Debug, Default)]
pub(super) struct Obeyed(HashMap<(u64, u64), (u64, u32)>);

impl Obeyed {
    /// Moves those that are not done yet to `due`, but for those that are older than this node, whose age is `own`: who is
    /// connected here was let in after them. Returns the number up to which all are done then.
    pub(super) fn obey(
        &mut self,
        of: (u64, u64),
        told: Revoke,
        (now, own): (u32, Duration),
        due: &mut Vec<Revocation>,
    ) -> u64 {
        if self.0.len() >= 4 * NODES && !self.0.contains_key(&of) {
            let oldest = self.0.iter().min_by_key(|(_, (_, at))| *at).map(|(of, _)| *of);
            oldest.and_then(|oldest| self.0.remove(&oldest));
        }
        let (done, at) = self.0.entry(of).or_default();
        *at = now;
        // Those before the oldest are told to nobody any more.
        *done = (*done).max(told.oldest.saturating_sub(1));
        for revocation in told.revocations {
            // What is behind a gap is told again, with what is in it.
            if revocation.number != *done + 1 {
                continue;
            }
            *done = revocation.number;
            if Duration::from_millis(revocation.age) <= own.saturating_add(SLACK) {
                due.push(revocation);
            }
        }
        *done
    }

    pub(super) fn expire(&mut self, now: u32) {
        self.0.retain(|_, (_, at)| now.saturating_sub(*at) < KEPT);
    }
}

/// The time by which the clocks of two machines may run apart while a revocation is kept, and more.
const SLACK: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn told(oldest: u64, numbers: impl IntoIterator<Item = u64>) -> Revoke {
        let revocation = |number| Revocation { number, principal: "ann".into(), from: None, age: 0 };
        Revoke { oldest, revocations: numbers.into_iter().map(revocation).collect() }
    }

    #[test]
    fn a_revocation_that_is_older_than_the_node_is_done() {
        for (own, expected) in [(1, vec![2]), (299, vec![2]), (300, vec![1, 2])] {
            let mut told = told(1, [1, 2]);
            told.revocations[0].age = 301_000;
            let (mut obeyed, mut due) = (Obeyed::default(), Vec::new());
            assert_eq!(obeyed.obey((1, 1), told, (2, Duration::from_secs(own)), &mut due), 2);
            assert_eq!(due.iter().map(|revocation| revocation.number).collect::<Vec<_>>(), expected, "{own}");
        }
    }

    /// The messages with the others are lost, or were sent before this node was heard.
    #[test]
    fn a_revocation_before_which_others_are_missing_is_not_done() {
        let (mut obeyed, mut due) = (Obeyed::default(), Vec::new());
        let mut obey = |told| obeyed.obey((1, 1), told, (2, Duration::MAX), &mut due);
        assert_eq!(obey(told(1, [3, 4])), 0);
        assert_eq!(obey(told(1, [1, 2])), 2);
        assert_eq!(obey(told(1, [4])), 2);
        assert_eq!(obey(told(1, [1, 2, 3, 4])), 4);
        // The node keeps those before no longer.
        assert_eq!(obey(told(8, [8])), 8);
        assert_eq!(due.iter().map(|revocation| revocation.number).collect::<Vec<_>>(), [1, 2, 3, 4, 8]);
    }
}
