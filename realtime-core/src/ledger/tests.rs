use super::*;
use std::sync::Arc;

const BUDGET: usize = 1 << 20;

#[test]
fn the_limits_leave_a_part_to_control_frames() {
    let limits = Limits::of(1600);
    assert_eq!((limits.shed, limits.refuse, limits.close), (1275, 1425, 1500));
    let ledger = Ledger::new(1600);
    ledger.add(Class::Control, 1600);
    assert!(!ledger.refuses() && !ledger.is_tight());
    ledger.add(Class::Inbound, 1426);
    assert!(ledger.refuses() && ledger.is_tight());
}

#[test]
fn what_cannot_be_freed_is_not_searched_for_at_each_publication() {
    let ledger = Ledger::new(BUDGET);
    ledger.add(Class::Outcomes, ledger.limits().shed + 1);
    let turn = ledger.begin_freeing().unwrap();
    assert!(ledger.begin_freeing().is_none(), "one thread at a time");
    drop(turn);
    assert!(!ledger.is_tight());
    ledger.add(Class::Outcomes, BUDGET / STEP + 1);
    assert!(ledger.is_tight(), "there is more to free");
    drop(ledger.begin_freeing());
    ledger.look_again();
    assert!(ledger.is_tight(), "time has passed");
}

#[test]
fn an_account_ends_with_its_holder() {
    let ledger = Arc::new(Ledger::new(BUDGET));
    let mut account = Account::new(&ledger, Class::Inbound);
    account.set(100);
    account.set(40);
    assert_eq!((ledger.of(Class::Inbound), ledger.total()), (40, 40));
    drop(account);
    assert_eq!(ledger.total(), 0);
}
