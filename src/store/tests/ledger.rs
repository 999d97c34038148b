//! The ledger: never more than was allowed, whoever asks at once.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::support::*;
use crate::domain::{time::SECOND_US, *};
use crate::store::{Ledger, ledger::BudgetClaim};

fn reservation(n: u128, expires_at: Timestamp) -> Reservation {
    Reservation {
        record: Default::default(),
        decision: decision_id(n),
        offer: OFFER,
        channel: CHANNEL,
        at: NOW,
        expires_at,
    }
}

#[test]
fn threads_never_claim_more_than_the_cap() {
    let ledger = Ledger::default();
    let granted = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..8_u128 {
            let (ledger, granted) = (&ledger, &granted);
            scope.spawn(move || {
                for n in 0..200 {
                    let one = reservation(thread * 1_000 + n, NOW.plus_us(SECOND_US));
                    let got = ledger.claim(CustomerKey(7), NOW, |live| {
                        if live.len() < 5 { (vec![one], true) } else { (Vec::new(), false) }
                    });
                    granted.fetch_add(u64::from(got), Relaxed);
                }
            });
        }
    });
    assert_eq!(granted.load(Relaxed), 5);
    let later = NOW.plus_us(2 * SECOND_US);
    assert_eq!(ledger.claim(CustomerKey(7), later, |live| (Vec::new(), live.len())), 0);
}

#[test]
fn threads_never_spend_more_than_the_budget() {
    let ledger = Ledger::default();
    let claim = BudgetClaim { offer: OFFER, max: 100, window_from: NOW };
    let granted = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..8_u128 {
            let (ledger, granted) = (&ledger, &granted);
            scope.spawn(move || {
                for n in 0..50 {
                    let id = decision_id(thread * 1_000 + n);
                    if ledger.claim_budget(&claim, (id, RecordRef::NONE), NOW, NOW.plus_us(SECOND_US)) {
                        granted.fetch_add(1, Relaxed);
                        if n % 2 == 0 {
                            ledger.confirm(id, OFFER);
                        }
                    }
                }
            });
        }
    });
    assert_eq!(granted.load(Relaxed), 100);
    assert!(!ledger.has_room(&claim, NOW));
}

#[test]
fn a_budget_counts_each_presentation_once() {
    let ledger = Ledger::default();
    let claim = BudgetClaim { offer: OFFER, max: 2, window_from: NOW.plus_us(-SECOND_US) };
    let lapses = NOW.plus_us(SECOND_US);
    assert!(ledger.claim_budget(&claim, (decision_id(1), RecordRef::NONE), NOW, lapses));
    assert!(ledger.claim_budget(&claim, (decision_id(1), RecordRef::NONE), NOW, lapses));
    assert!(ledger.claim_budget(&claim, (decision_id(2), RecordRef::NONE), NOW, lapses));
    assert!(!ledger.claim_budget(&claim, (decision_id(3), RecordRef::NONE), NOW, lapses));
    ledger.confirm(decision_id(1), OFFER);
    ledger.release(None, decision_id(2), (OFFER, None));
    assert!(ledger.claim_budget(&claim, (decision_id(3), RecordRef::NONE), NOW, lapses));
    // an open claim lapses, a seen one stays until its window is over
    assert!(ledger.has_room(&claim, lapses));
    let only = BudgetClaim { max: 1, ..claim };
    assert!(!ledger.has_room(&only, lapses));
    let next_day = NOW.plus_us(86_400 * SECOND_US);
    assert!(ledger.has_room(&BudgetClaim { window_from: next_day, ..only }, next_day));
    // looking ahead changes nothing
    assert!(!ledger.has_room(&only, lapses));
}

#[test]
fn a_unit_goes_back_with_its_last_record() {
    let ledger = Ledger::default();
    let claim = BudgetClaim { offer: OFFER, max: 1, window_from: NOW.plus_us(-SECOND_US) };
    let lapses = NOW.plus_us(SECOND_US);
    for record in [RecordRef(1), RecordRef(2)] {
        assert!(ledger.claim_budget(&claim, (decision_id(1), record), NOW, lapses));
    }
    ledger.release(None, decision_id(1), (OFFER, Some(RecordRef(1))));
    assert!(!ledger.claim_budget(&claim, (decision_id(2), RecordRef(3)), NOW, lapses));
    // the same again takes nothing from the other
    ledger.release(None, decision_id(1), (OFFER, Some(RecordRef(1))));
    assert!(!ledger.has_room(&claim, NOW));
    ledger.release(None, decision_id(1), (OFFER, Some(RecordRef(2))));
    assert!(ledger.claim_budget(&claim, (decision_id(2), RecordRef(3)), NOW, lapses));
    ledger.release(None, decision_id(2), (OFFER, None));
    assert!(ledger.has_room(&claim, NOW));
}

#[test]
fn released_reservations_are_gone_and_others_stay() {
    let ledger = Ledger::default();
    let both = vec![reservation(1, NOW.plus_us(9)), reservation(2, NOW.plus_us(9))];
    ledger.claim(CustomerKey(1), NOW, |_| (both, ()));
    ledger.release(Some(CustomerKey(1)), decision_id(1), (OFFER, None));
    let mut left = Vec::new();
    ledger.reservations(CustomerKey(1), NOW, &mut left);
    assert_eq!(left.iter().map(|r| r.decision).collect::<Vec<_>>(), [decision_id(2)]);
    left.clear();
    ledger.reservations(CustomerKey(1), NOW.plus_us(9), &mut left);
    assert!(left.is_empty());
}

#[test]
fn what_is_paused_gives_its_reservations_and_units_back() {
    let ledger = Ledger::default();
    let lapses = NOW.plus_us(SECOND_US);
    let claim = BudgetClaim { offer: OFFER, max: 2, window_from: NOW.plus_us(-SECOND_US) };
    for n in 1..=2 {
        assert!(ledger.claim_budget(&claim, (decision_id(n), RecordRef::NONE), NOW, lapses));
        ledger.claim(CustomerKey(n), NOW, |_| (vec![reservation(n, lapses)], ()));
    }
    let kept = Reservation { offer: OfferId(999), ..reservation(1, lapses) };
    ledger.claim(CustomerKey(1), NOW, |_| (vec![kept], ()));
    // the second was seen: its unit is spent
    ledger.confirm(decision_id(2), OFFER);
    assert_eq!(ledger.release_where(|offer, channel| offer == OFFER && channel == CHANNEL), 2);
    assert_eq!(ledger.release_where(|offer, _| offer == OFFER), 0);
    let mut left = Vec::new();
    (1..=2).for_each(|n| ledger.reservations(CustomerKey(n), NOW, &mut left));
    assert_eq!(left, [kept]);
    assert!(ledger.claim_budget(&claim, (decision_id(3), RecordRef::NONE), NOW, lapses));
    assert!(!ledger.claim_budget(&claim, (decision_id(4), RecordRef::NONE), NOW, lapses));
}
