//! Business rules over unequal uplinks.

use shoal_testnet::sim::flow::{Mode, compare};

/// In a city's morning no uplink carries more than the rules give, half the bytes of all-to-cloud stay in their districts, and
/// nobody waits longer for it.
#[test]
fn a_citys_rules_keep_uplinks_free_and_waits_short() {
    for seed in 1..=3 {
        let compared = compare(seed, 6..9, &[Mode::On, Mode::Off, Mode::AllCloud]).unwrap();

        assert_eq!(compared.broken, Vec::<String>::new(), "seed {seed}: {compared:#?}");
        let most = |mode: Mode| compared.runs.iter().find(|run| run.mode == mode).map(|run| run.largest_share);
        assert!(most(Mode::AllCloud) > Some(0.9), "the uplinks are not worth sharing: {compared:#?}");
    }
}
