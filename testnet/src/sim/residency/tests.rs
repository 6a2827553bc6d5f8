use super::*;

#[test]
fn the_rule_and_a_reference_written_apart_agree_on_a_great_many_cases() {
    let report = run(1, 20_000);

    assert_eq!((report.cases, report.violations), (20_000, 0), "{:?}", report.first);
    assert!(
        report.denied * 5 > report.questions && report.denied * 5 < report.questions * 4,
        "both answers: {report:?}"
    );
}

/// With the bug planted, which a build has to be made for.
#[cfg(feature = "sabotage")]
#[test]
fn a_rule_that_is_not_kept_is_noticed() {
    use shoal_protocol::sabotage::{self, Bug};

    let report = sabotage::with(Some(Bug::DropResidencyCheck), || run(1, 100));

    assert!(report.violations > 0 && report.first.is_some());
}
