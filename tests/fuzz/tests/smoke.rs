//! The corpus and a number of variations of it, at every target, each time the same: a second or so.

use std::path::Path;

use shoal_fuzz::{Budget, TARGETS, corpus, fuzz};

const EXECUTIONS: u64 = 3_000;

#[test]
fn no_bytes_and_no_stories_make_a_peer_panic_hang_or_hoard() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut offences = Vec::new();
    for target in TARGETS {
        let run = fuzz(target, corpus(&directory, target), 1, Budget::Executions(EXECUTIONS));
        println!("{}: {} inputs", target.name, run.executions);
        assert!(run.executions >= EXECUTIONS || !run.offences.is_empty(), "{} was fed", target.name);
        let shown = run.offences.into_iter().take(2);
        offences
            .extend(shown.map(|(offence, input)| (target.name, offence, String::from_utf8_lossy(&input).into_owned())));
    }

    assert!(offences.is_empty(), "{offences:#?}");
}

#[test]
fn what_is_wrong_with_a_target_is_found() {
    use shoal_fuzz::{Offence, Target, watched};
    let target = |run| Target { name: "planted", run, seeds: Vec::new, allowance_bytes: 1_000 };

    let hoards = watched(&target(|_| drop(std::hint::black_box(vec![1u8; 10_000]))), b"x");
    assert_eq!(hoards, Err(Offence::Memory { taken: 10_000, allowed: 1_064 }));
    let within = watched(&target(|_| drop(std::hint::black_box(vec![1u8; 1_000]))), b"x");
    assert_eq!(within, Ok(()));
    assert!(matches!(watched(&target(|_| panic!("no")), b"x"), Err(Offence::Panicked(why)) if why == "no"));
}
