//! Whatever is done to a log, short of signing it anew, is found.

use proptest::prelude::*;

use super::*;
use crate::certificate::SecretKey;

fn key() -> SecretKey {
    SecretKey::from_bytes(&[7; 32])
}

fn refused(n: u64) -> Happening {
    Happening::Refused { address: format!("/ip4/192.0.2.{n}/udp/7600"), reason: "of \"another\" mesh, ü".into() }
}

/// Entries `first..=last`, one a line, and their head.
fn log(first: u64, last: u64) -> (String, String) {
    let mut chain = Chain::new();
    let lines: Vec<String> = (1..=last).map(|n| chain.write(1_000 * n, refused(n), 1 + n % 2, &key())).collect();
    let kept = lines[first as usize - 1..].join("\n") + "\n";
    (kept, chain.head(key().peer(), first).write(&key()) + "\n")
}

fn check(log: &str, head: &str) -> Result<Verified, Fault> {
    verify(log, Some(head), Some(key().peer()))
}

#[test]
fn a_log_as_it_was_written_is_good_and_says_what_happened() {
    let (log, head) = log(1, 5);

    let good = check(&log, &head).expect("nobody touched it");

    let said: Vec<_> = good.entries.iter().map(|entry| (entry.seq, entry.count, entry.happening.clone())).collect();
    assert_eq!(said, (1..=5).map(|n| (n, 1 + n % 2, refused(n))).collect::<Vec<_>>());
    assert_eq!((good.head.first, good.head.last, good.torn), (1, 5, false));
    assert_eq!(good.hash_of(5), Some(good.head.hash));
    assert!(good.hash_of(1).is_some() && good.hash_of(0).is_none() && good.hash_of(6).is_none());
    assert_eq!(verify(&log, Some(&head), None), Ok(good), "the head says whose it is");
}

#[test]
fn a_log_whose_beginning_was_rotated_away_is_good() {
    let (log, head) = log(4, 9);

    assert_eq!(check(&log, &head).map(|good| good.entries.len()), Ok(6));
}

#[test]
fn a_cut_at_either_end_is_found_by_the_head() {
    let (whole, head) = log(4, 9);
    let lines: Vec<&str> = whole.lines().collect();
    let of = |lines: &[&str]| lines.join("\n") + "\n";

    assert_eq!(check(&of(&lines[..5]), &head), Err(Fault::CutEnd { expected: 9, found: 8 }));
    assert_eq!(check(&of(&lines[1..]), &head), Err(Fault::CutBeginning { expected: 4, found: 5 }));
    assert_eq!(check("", &head), Err(Fault::CutEnd { expected: 9, found: 0 }));
    assert_eq!(verify(&whole, None, None), Err(Fault::NoHead));
}

#[test]
fn what_was_written_before_the_power_went_is_good_though_the_head_does_not_know_it() {
    let (longer, _) = log(1, 7);
    let (_, head) = log(1, 5);
    assert_eq!(check(&longer, &head).map(|good| (good.head.last, good.torn)), Ok((7, false)));

    let torn = &longer[..longer.len() - 30];
    assert_eq!(check(torn, &head).map(|good| (good.head.last, good.torn)), Ok((6, true)));
}

#[test]
fn a_log_that_was_written_anew_with_the_same_key_is_not_the_one_of_the_head() {
    let (_, head) = log(1, 5);
    let mut chain = Chain::new();
    let other: String = (1..=5).map(|n| chain.write(n, Happening::Stopped, 1, &key()) + "\n").collect();

    assert_eq!(check(&other, &head), Err(Fault::OtherLog { seq: 5 }));
}

#[test]
fn a_log_of_another_peer_is_not_taken_for_ours() {
    let (log, head) = log(1, 3);
    let ours = SecretKey::from_bytes(&[8; 32]).peer();

    let expected = Fault::OtherSigner { expected: ours, found: key().peer() };
    assert_eq!(verify(&log, Some(&head), Some(ours)), Err(expected));
}

#[test]
fn an_entry_of_another_log_does_not_fit_in() {
    let (log, head) = log(1, 3);
    let mut chain = Chain::new();
    let other: Vec<String> = (1..=3).map(|n| chain.write(n, Happening::Stopped, 1, &key())).collect();
    let mut lines: Vec<&str> = log.lines().collect();
    lines[1] = &other[1];

    assert_eq!(check(&(lines.join("\n") + "\n"), &head), Err(Fault::Unchained { seq: 2 }));
}

#[test]
fn a_log_that_says_it_was_damaged_is_not_good() {
    let mut chain = Chain::new();
    let why = "torn".to_owned();
    let log = chain.write(1, Happening::LogDamaged { why: why.clone() }, 1, &key()) + "\n";
    let head = chain.head(key().peer(), 1).write(&key());

    assert_eq!(check(&log, &head), Err(Fault::Damaged { seq: 1, why }));
}

/// Every kind has its place in the file format: a name that changes makes old logs unreadable.
#[test]
fn entries_are_written_as_they_always_were() {
    let mut chain = Chain::new();
    let peer = key().peer();
    let configured = Happening::Configured {
        configuration: Hash::of(b"x"),
        values: [("node.name".to_owned(), "\"cam\"".to_owned())].into(),
    };
    let lines = [configured, Happening::Banned { peer, reason: "floods".into(), for_s: 60 }, Happening::MoreDenied]
        .map(|happening| chain.write(1_700_000_000_000, happening, 3, &key()));

    insta::assert_snapshot!(lines.join("\n"));
}

proptest! {
    #[test]
    fn any_changed_byte_is_found(at in any::<prop::sample::Index>(), bit in 0..8u8, in_head in any::<bool>()) {
        let (log, head) = log(2, 6);
        let flip = |text: &str| {
            let mut bytes = text.as_bytes().to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let (changed_log, changed_head) = if in_head { (log.clone(), flip(&head)) } else { (flip(&log), head.clone()) };

        // The end of the head's line says nothing.
        let found = check(&changed_log, &changed_head);
        let only_its_end = changed_head.trim_end_matches('\n') == head.trim_end_matches('\n') && changed_log == log;
        prop_assert!(found.is_err() || only_its_end, "{found:?}");
    }

    #[test]
    fn any_removed_doubled_or_swapped_line_is_found(a in 0..6usize, b in 0..6usize, how in 0..3u8) {
        let (log, head) = log(2, 7);
        let mut lines: Vec<&str> = log.lines().collect();
        match how {
            0 => drop(lines.remove(a)),
            1 => lines.insert(b, lines[a]),
            _ if a != b => lines.swap(a, b),
            _ => return Ok(()),
        }

        let changed = lines.join("\n") + "\n";
        prop_assert!(changed == log || check(&changed, &head).is_err());
    }

    #[test]
    fn any_cut_is_found(at in any::<prop::sample::Index>(), from_the_end in any::<bool>()) {
        let (log, head) = log(2, 7);
        let at = log.floor_char_boundary(at.index(log.len()));
        let rest = if from_the_end { &log[..at] } else { &log[at..] };

        prop_assert!(rest == log || check(rest, &head).is_err());
    }

    #[test]
    fn no_text_makes_it_panic(log in "\\PC{0,200}", head in "\\PC{0,200}") {
        let _ = check(&log, &head);
    }
}
