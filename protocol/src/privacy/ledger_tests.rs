//! The ledger against a clock that jumps, requests that come again, and budgets that end.

use super::super::declaration::tests::declaration;
use super::super::query::{Measurement, Noise, Query};
use super::super::{BudgetTerms, Population};
use super::*;
use crate::cbor;
use crate::id::{BlobId, PeerId};

const NOW: u64 = 1_800_000_000;
const DAY: u64 = 24 * 3_600;

fn name() -> DatasetName {
    declaration().name
}

fn cost(epsilon: &str) -> Cost {
    Cost::of_pure(Amount::of(epsilon.parse().unwrap()).unwrap())
}

fn request(n: u8) -> RequestId {
    let terms = declaration().check().unwrap();
    RequestId::of(&terms, BlobId([n; 32]), &Query::Sum, Noise::Epsilon("0.1".parse().unwrap()))
}

fn release(n: u8) -> Release {
    let terms = declaration().check().unwrap();
    let measurement = Measurement::new(&terms, Query::Sum, Noise::Epsilon("0.1".parse().unwrap())).unwrap();
    Release::new(PeerId([9; 32]), request(n), &measurement, Vec::new())
}

fn ledger(change: impl FnOnce(&mut Declaration)) -> Ledger {
    let mut ledger = Ledger::default();
    let mut declared = declaration();
    change(&mut declared);
    assert_eq!(ledger.declare(declared, NOW), Ok(true));
    ledger
}

fn pay(ledger: &mut Ledger, n: u8, epsilon: &str, now: u64) -> Result<Reserved, Refused> {
    ledger.reserve(request(n), &name(), cost(epsilon), 1, now)
}

const PAID: Result<Reserved, Refused> = Ok(Reserved::Paid { is_new: true });

#[test]
fn a_budget_is_spent_to_the_last_part_and_no_further() {
    let mut ledger = ledger(|_| ());
    for n in 0..10 {
        assert_eq!(pay(&mut ledger, n, "0.1", NOW), PAID);
    }

    let refused = pay(&mut ledger, 10, "0.000000000001", NOW).unwrap_err();

    let told = "the budget of data set street is spent: 0.000000000001 of ε is asked, 0 of 1 is left";
    assert_eq!(refused.to_string(), told);
    assert!(!refused.is_retryable());
}

#[test]
fn a_request_pays_once_and_is_answered_by_the_same_whenever_it_comes_again() {
    let mut ledger = ledger(|_| ());
    assert_eq!(pay(&mut ledger, 1, "0.6", NOW), PAID);
    assert_eq!(pay(&mut ledger, 1, "0.6", NOW), Ok(Reserved::Paid { is_new: false }), "a crash before it was made");
    let first = ledger.keep(release(1)).unwrap();
    let mut other = release(1);
    other.mechanism = "another draw".into();

    assert_eq!(ledger.keep(other), Ok(first.clone()), "two that made it at once: the first stands");
    assert_eq!(pay(&mut ledger, 1, "0.6", NOW), Ok(Reserved::Known(Box::new(first))));
    assert!(pay(&mut ledger, 2, "0.6", NOW).is_err());
    assert!(ledger.keep(release(3)).is_err(), "what was not paid for is not kept");
}

#[test]
fn a_window_that_ends_makes_the_budget_whole_and_never_comes_again() {
    let mut ledger = ledger(|it| it.window_s = Some(DAY));
    assert_eq!(pay(&mut ledger, 1, "1", NOW + 10), PAID);
    let refused = pay(&mut ledger, 2, "0.1", NOW + DAY - 7).unwrap_err();
    assert!(refused.to_string().ends_with("it is whole again in 7 s"), "{refused}");
    assert!(refused.is_retryable());

    assert_eq!(pay(&mut ledger, 2, "1", NOW + DAY), PAID);

    // The clock is set back, into the first window and to before it: nothing is whole again.
    for now in [NOW + 10, NOW - DAY, 0] {
        assert!(pay(&mut ledger, 3, "0.1", now).is_err());
    }
    assert_eq!(ledger.standings(NOW)[0].1.spent.decimal().to_string(), "1");
    assert_eq!(pay(&mut ledger, 1, "1", NOW + 3 * DAY), PAID, "what was told in a window that is over is paid again");
}

#[test]
fn what_is_made_while_its_window_ends_is_not_kept_for_nothing() {
    let mut ledger = ledger(|it| it.window_s = Some(DAY));
    assert_eq!(pay(&mut ledger, 1, "1", NOW), PAID);
    assert_eq!(pay(&mut ledger, 2, "1", NOW + DAY), PAID);

    assert!(ledger.keep(release(1)).is_err());
}

#[test]
fn data_sets_of_one_population_share_what_may_be_told_of_its_subjects() {
    let population = |limit: &str| Population {
        name: DatasetName::new("town").unwrap(),
        budget: BudgetTerms { epsilon: Some(limit.parse().unwrap()), ..BudgetTerms::default() },
        window_s: None,
    };
    let mut ledger = ledger(|it| it.population = Some(population("1.5")));
    let mut water = declaration();
    water.name = DatasetName::new("water").unwrap();
    water.population = Some(population("2"));
    assert!(matches!(ledger.declare(water.clone(), NOW), Err(Refused::DeclaredOtherwise { .. })));
    water.population = Some(population("1.5"));
    assert_eq!(ledger.declare(water.clone(), NOW), Ok(true));
    assert_eq!(pay(&mut ledger, 1, "1", NOW), PAID);

    let refused = ledger.reserve(request(2), &water.name, cost("0.6"), 1, NOW).unwrap_err();

    assert!(refused.to_string().contains("population town"), "{refused}");
    let shown = ledger.standings(NOW);
    assert_eq!(shown[1].1.spent, Amount(0), "who cannot pay all pays nothing");
    assert_eq!(shown[1].2.as_ref().unwrap().left.decimal().to_string(), "0.5");
}

#[test]
fn a_declaration_is_for_good() {
    let mut ledger = ledger(|_| ());
    let mut changed = declaration();
    changed.budget.epsilon = Some("2".parse().unwrap());

    assert_eq!(ledger.declare(declaration(), NOW), Ok(false));
    assert!(matches!(ledger.declare(changed, NOW), Err(Refused::DeclaredOtherwise { .. })));
    assert!(matches!(ledger.terms("other"), Err(Refused::NoDataset { .. })));
    assert_eq!(ledger.terms("street").unwrap().declared, declaration());
}

#[test]
fn what_is_kept_is_bounded() {
    let mut ledger = ledger(|it| it.budget.epsilon = Some("100".parse().unwrap()));
    for n in 0..=255 {
        assert_eq!(ledger.reserve(request(n), &name(), cost("0.001"), FIGURES_MAX / 256, NOW), PAID);
    }

    let terms = declaration().check().unwrap();
    let more = RequestId::of(&terms, BlobId([0; 32]), &Query::Count, Noise::Epsilon("0.1".parse().unwrap()));
    assert!(matches!(ledger.reserve(more, &name(), cost("0.001"), 1, NOW), Err(Refused::Full { .. })));
    for n in 1..DATASETS_MAX {
        let mut declared = declaration();
        declared.name = DatasetName::new(&format!("d{n}")).unwrap();
        ledger.declare(declared, NOW).unwrap();
    }
    let mut declared = declaration();
    declared.name = DatasetName::new("one-more").unwrap();
    assert!(matches!(ledger.declare(declared, NOW), Err(Refused::Full { .. })));
}

#[test]
fn what_is_written_is_read() {
    let mut ledger = ledger(|it| it.window_s = Some(DAY));
    pay(&mut ledger, 1, "0.25", NOW).unwrap();
    ledger.keep(release(1)).unwrap();
    pay(&mut ledger, 2, "0.5", NOW).unwrap();

    let read: Ledger = cbor::decode(&cbor::encode(&ledger)).unwrap();

    assert_eq!(read, ledger);
}
