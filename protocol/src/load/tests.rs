use super::*;
use crate::config::{IN_FLIGHT_PER_PEER_MAX, Weights};
use crate::id::TaskId;
use proptest::prelude::*;

const A: PeerId = PeerId([1; 32]);

fn digest(sequence: u32, start_in_ms: u64) -> LoadDigest {
    LoadDigest {
        sequence,
        description: 0,
        start_in: ms(start_in_ms),
        usual_start_in: Duration::ZERO,
        turnover: Duration::ZERO,
        later_start: [0; 6],
        arrivals_per_ks: 0,
        cores: 2,
        running: 2,
        queued: 1,
        queue_max: 64,
        cpu_percent: 50,
        speed: 1.0,
        memory_free_bytes: 1 << 30,
        memory_bytes: 2 << 30,
        uplink_bits_per_s: 1_000_000,
        weights: Weights::default(),
        price: 0.0,
        understands_labels: true,
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn attempt(n: u8) -> TaskRef {
    TaskRef { task: TaskId([n; 16]), epoch: 1 }
}

#[test]
fn what_a_peer_said_ages_by_itself() {
    let mut view = LoadView::new();
    view.heard(Time::ZERO, A, digest(1, 100));

    assert_eq!(view.start_in(Time::from_millis(30), A), Some(ms(70)));
    assert!(view.start_in(Time::from_millis(500), A).is_some_and(|start| start < ms(3)));
    assert_eq!(view.age(Time::from_millis(500), A), Some(ms(500)));
    assert_eq!(view.start_in(Time::ZERO, PeerId([2; 32])), None);
}

#[test]
fn an_older_digest_does_not_replace_a_newer_one_unless_the_peer_began_anew() {
    let mut view = LoadView::new();
    assert!(view.heard(Time::ZERO, A, digest(7, 100)));

    assert!(!view.heard(Time::ZERO, A, digest(6, 5)));
    assert!(!view.heard(Time::ZERO, A, digest(7, 5)));
    assert_eq!(view.digest(A), Some(&digest(7, 100)));

    view.reconnected(A);
    assert!(view.heard(Time::ZERO, A, digest(1, 5)));
    assert!(!view.heard(Time::ZERO, A, digest(1, 6)));
    assert_eq!(view.digest(A), Some(&digest(1, 5)));
}

#[test]
fn own_awards_count_until_a_digest_contains_them() {
    let mut view = LoadView::new();
    view.heard(Time::ZERO, A, digest(1, 100));
    view.assigned(Time::ZERO, A, attempt(1), ms(40), ms(10));
    view.assigned(Time::ZERO, A, attempt(2), ms(40), ms(10));
    assert_eq!(view.start_in(Time::ZERO, A), Some(ms(140)), "two cores share 80 ms");

    view.heard(Time::ZERO, A, digest(2, 100));
    assert_eq!(view.in_flight(A), 2, "the digest was made before the awards arrived");

    view.assigned(Time::ZERO, A, attempt(2), ms(40), ms(30));
    let later = Time::from_millis(20);
    view.heard(later, A, digest(3, 120));
    assert_eq!(view.start_in(later, A), Some(ms(140)), "one is in the digest, one is ours to add");

    view.settled(A, attempt(2));
    assert_eq!(view.start_in(later, A), Some(ms(120)));
}

#[test]
fn idle_cores_take_the_first_awards_without_a_wait() {
    let mut view = LoadView::new();
    view.heard(Time::ZERO, A, LoadDigest { running: 0, queued: 0, ..digest(1, 0) });

    view.assigned(Time::ZERO, A, attempt(1), ms(40), ms(10));
    assert_eq!(view.start_in(Time::ZERO, A), Some(Duration::ZERO));
    view.assigned(Time::ZERO, A, attempt(2), ms(40), ms(10));
    assert_eq!(view.start_in(Time::ZERO, A), Some(ms(50)), "both have 10 ms of way and 40 ms of run before them");
}

#[test]
fn what_was_given_since_is_known_however_old_the_last_word_is() {
    let mut view = LoadView::new();
    let idle = LoadDigest { cores: 2, running: 0, queued: 0, turnover: ms(30), ..digest(1, 0) };
    view.heard(Time::ZERO, A, idle);
    let now = Time::from_millis(2_000);
    let rtt = ms(40);
    let start_in = |view: &LoadView, at| view.expected(at, A, rtt).map(|expected| expected.start_in);
    view.assigned(now, A, attempt(1), ms(100), rtt);
    assert_eq!(start_in(&view, now), Some(ms(0)), "a core is left over");

    view.assigned(now, A, attempt(2), ms(50), rtt + ms(10));

    assert_eq!(start_in(&view, now), Some(ms(80)), "half a round trip, 10 ms on the uplink, and 50 ms of run");
    assert_eq!(start_in(&view, Time::from_millis(2_030)), Some(ms(50)));
    view.assigned(now, A, attempt(3), ms(200), rtt + ms(10));
    assert_eq!(start_in(&view, now), Some(ms(120)), "the third waits for the second, and the next one for the first");
    (1..=3).for_each(|n| view.settled(A, attempt(n)));
    assert_eq!(start_in(&view, now), Some(ms(0)));
}

#[test]
fn an_award_given_twice_counts_once() {
    let mut view = LoadView::new();
    view.heard(Time::ZERO, A, digest(1, 0));
    view.assigned(Time::ZERO, A, attempt(1), ms(40), ms(10));
    view.assigned(Time::ZERO, A, attempt(1), ms(60), ms(10));

    assert_eq!(view.start_in(Time::ZERO, A), Some(ms(30)));
}

#[test]
fn what_cannot_be_true_is_refused() {
    let good = digest(1, 0);
    let bad = [
        LoadDigest { speed: f64::NAN, ..good.clone() },
        LoadDigest { speed: 0.0, ..good.clone() },
        LoadDigest { speed: -1.0, ..good.clone() },
        LoadDigest { speed: f64::INFINITY, ..good.clone() },
        LoadDigest { cores: 0, ..good.clone() },
        LoadDigest { start_in: Duration::MAX, ..good.clone() },
        LoadDigest { price: f64::NAN, ..good.clone() },
        LoadDigest { price: -1.0, ..good.clone() },
        LoadDigest { cpu_percent: 101, ..good.clone() },
        LoadDigest { uplink_bits_per_s: 0, ..good.clone() },
        LoadDigest { weights: Weights { delay: f64::NAN, ..Weights::default() }, ..good.clone() },
    ];
    let mut view = LoadView::new();

    for digest in bad {
        assert!(!view.heard(Time::ZERO, A, digest.clone()), "{digest:?}");
    }
    assert_eq!(view.digest(A), None);
    assert!(view.heard(Time::ZERO, A, good));
}

#[test]
fn a_neighbour_is_told_when_its_prediction_would_be_wrong_and_not_before() {
    let mut view = LoadView::new();
    let at = Time::from_millis;
    assert!(view.publish(at(0), A, &digest(1, 3_000)).is_some(), "it knows nothing");

    assert!(!view.should_publish(at(1_500), A, &digest(2, 1_500)), "it reckoned that itself");
    assert!(!view.should_publish(at(1_500), A, &digest(2, 100)), "it was told just now");
    assert!(view.should_announce(at(5_000), A, &LoadDigest { cores: 3, ..digest(2, 0) }), "…unless it lasts");
    assert_eq!(view.believed(at(1_000), A), Some(ms(2_000)));
    for other in [LoadDigest { speed: 0.5, ..digest(2, 3_000) }, LoadDigest { cores: 8, ..digest(2, 3_000) }] {
        assert!(view.should_publish(at(0), A, &other) && view.should_announce(at(0), A, &other));
    }
}

#[test]
fn who_reads_short_forms_is_told_what_describes_us_once_on_each_connection() {
    let at = Time::from_millis;
    let said = |view: &mut LoadView, now, sequence| {
        let mut said = LoadDigest { description: 1, ..digest(sequence, 100) };
        view.abridge(now, A, &mut said);
        said
    };
    let (mut here, mut there) = (LoadView::new(), LoadView::new());
    here.heard(at(0), A, digest(1, 0));
    assert!(!said(&mut here, at(0), 1).is_brief(), "a version that numbers nothing reads all");
    here.heard(at(0), A, LoadDigest { description: 9, ..digest(2, 0) });

    let (first, second) = (said(&mut here, at(0), 2), said(&mut here, at(1), 3));

    assert!(!first.is_brief() && second.is_brief());
    assert!(!there.heard(at(0), A, second.clone()), "nothing to complete it with");
    assert!(there.heard(at(0), A, first) && there.heard(at(1), A, second));
    assert_eq!(there.digest(A).map(|digest| (digest.sequence, digest.cores, digest.speed)), Some((3, 2, 1.0)));
    let other = LoadDigest { description: 2, ..digest(4, 0) }.abridged();
    assert!(!there.heard(at(2), A, other), "of a description that was not heard");
    assert!(!said(&mut here, at(60_000), 5).is_brief(), "it may have been forgotten");
    here.reconnected(A);
    assert!(!said(&mut here, at(60_001), 6).is_brief());
    let brief = said(&mut here, at(60_002), 7);
    there.reconnected(A);
    assert!(brief.is_brief() && !there.heard(at(60_002), A, brief), "what was said on another connection is over");
}

/// Of two that connected while their link was cut one way, one said for minutes that the other understood no labels.
#[test]
fn what_a_ping_carried_is_said_again_until_one_is_answered() {
    let at = Time::from_millis;
    let mut view = LoadView::new();
    view.heard(at(0), A, LoadDigest { description: 9, ..digest(1, 0) });
    let own = |sequence| LoadDigest { description: 1, ..digest(sequence, 0) };
    let ping = |view: &mut LoadView, ms, sequence| {
        let mut said = view.publish_asking(at(ms), A, sequence, &own(sequence))?;
        view.abridge(at(ms), A, &mut said);
        Some(said)
    };

    assert!(ping(&mut view, 0, 1).is_some());
    assert_eq!(view.publish(at(10), A, &own(2)), None, "an answer may be on its way");
    assert!(ping(&mut view, 4_000, 3).is_some_and(|said| !said.is_brief()));
    view.answered(A, 1);
    assert!(ping(&mut view, 8_000, 4).is_some_and(|said| !said.is_brief()), "that was another one");
    view.answered(A, 4);
    assert_eq!(ping(&mut view, 12_000, 5), None);
    assert_eq!(ping(&mut view, 16_000, 6), None, "one that carried nothing may go unanswered");
}

#[test]
fn what_misleads_nobody_waits_for_the_floor() {
    let mut view = LoadView::new();
    let at = Time::from_millis;
    view.published(at(0), A, &digest(1, 0));
    let queued = LoadDigest { queued: 2, ..digest(2, 0) };

    assert!(!view.should_publish(at(4_999), A, &queued));
    assert!(view.should_publish(at(5_000), A, &queued));
    assert!(!view.should_publish(at(299_999), A, &digest(2, 0)));
    assert!(view.should_publish(at(300_000), A, &digest(2, 0)));

    view.reconnected(A);
    assert!(view.should_publish(at(0), A, &digest(2, 0)), "it may have forgotten");
}

#[test]
fn what_a_busy_peer_said_turns_into_what_is_usual_there() {
    let busy = LoadDigest { usual_start_in: ms(50), turnover: ms(100), ..digest(1, 10) };

    assert_eq!(busy.start_after(Duration::ZERO), ms(10));
    let later = busy.start_after(ms(100));
    assert!(ms(40) < later && later < ms(90), "{later:?}");
    let late = busy.start_after(Duration::from_secs(10));
    assert!(late.abs_diff(ms(100)) < ms(1), "twice the usual: what is not known is rarely good; {late:?}");
    let long = LoadDigest { start_in: ms(5_000), ..busy };
    assert!(long.start_after(ms(1_000)) >= ms(4_000), "what is known to wait has to run first");
}

#[test]
fn who_arrived_since_and_who_is_on_the_way_stand_before_a_new_task() {
    // Both cores are taken for 10 ms; the second to arrive starts 20 ms after the first, the third 40 ms.
    let full = LoadDigest { later_start: [200, 400, 800, 1_600, 3_200, 6_400], ..digest(1, 10) };
    let popular = LoadDigest { arrivals_per_ks: 100_000, ..full.clone() };
    let behind = |digest: &LoadDigest, rtt, in_flight| digest.start_behind(Duration::ZERO, rtt, in_flight);

    assert_eq!(behind(&full, Duration::ZERO, 0), ms(10));
    assert_eq!(behind(&full, Duration::ZERO, 1), ms(30));
    assert_eq!(behind(&full, Duration::ZERO, 3), ms(70), "between the places that are told");
    assert_eq!(behind(&full, Duration::ZERO, 64), ms(1_290), "beyond them");
    // 100 a second are one in the 10 ms from its word to our task's arrival, of which half have passed.
    assert_eq!(behind(&popular, ms(10), 0), ms(25));
    assert_eq!(popular.start_after(ms(10)), ms(20));
}

#[test]
fn a_silent_peer_is_as_busy_as_others_of_its_size() {
    let mut view = LoadView::new();
    view.heard(Time::ZERO, A, digest(1, 0));
    for n in 2..100 {
        view.heard(Time::from_millis(n), PeerId([n as u8; 32]), digest(1, 200));
    }

    assert!(view.start_in(Time::from_millis(1), A).is_some_and(|start| start < ms(1)));
    assert!(view.start_in(Time::from_millis(5_000), A).is_some_and(|start| start > ms(150)));
}

#[test]
fn all_that_is_remembered_is_bounded() {
    let mut view = LoadView::new();
    view.heard(Time::ZERO, A, digest(1, 0));
    for n in 0..2 * IN_FLIGHT_PER_PEER_MAX {
        let task = TaskId::derive(A, &n.to_le_bytes());
        view.assigned(Time::ZERO, A, TaskRef { task, epoch: 0 }, Duration::MAX, Duration::MAX);
    }
    assert_eq!(view.in_flight(A), IN_FLIGHT_PER_PEER_MAX);
    assert!(view.start_in(Time::ZERO, A).is_some());

    for n in 0..2 * LOAD_PEERS_MAX {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&n.to_le_bytes());
        view.heard(Time::from_millis(n as u64 + 1), PeerId(id), digest(1, 0));
    }
    assert_eq!(view.peers.len(), LOAD_PEERS_MAX);
    assert_eq!(view.digest(A), None, "the one not heard for longest went");
}

proptest! {
    #[test]
    fn in_flight_work_always_adds_up(acts in proptest::collection::vec((0u8..5, 0u8..8, 0u64..1_000_000), 0..200)) {
        let mut view = LoadView::new();
        for (i, (act, which, work)) in acts.into_iter().enumerate() {
            match act {
                0 | 1 => view.assigned(Time::ZERO, A, attempt(which), Duration::from_micros(work), ms(10)),
                2 => { view.heard(Time::from_millis(20), A, digest(i as u32 + 1, 0)); }
                3 => view.settled(A, attempt(which)),
                _ => { view.heard(Time::ZERO, A, digest(i as u32 + 1, 0)); }
            }
        }
        for which in 0..8 {
            view.settled(A, attempt(which));
        }
        view.heard(Time::ZERO, A, digest(u32::MAX, 0));
        prop_assert_eq!(view.start_in(Time::ZERO, A), Some(Duration::ZERO));
    }

    #[test]
    fn no_digest_makes_a_start_that_is_not_a_time(
        start_us in any::<u64>(), cores in any::<u16>(), running in any::<u16>(), queued in any::<u16>(),
        speed in any::<f64>(), price in any::<f64>(), weight in any::<f64>(), now in any::<u64>(), work in any::<u64>(),
    ) {
        let mut view = LoadView::new();
        view.assigned(Time(now), A, attempt(1), Duration::from_micros(work), ms(1));
        let digest = LoadDigest {
            start_in: Duration::from_micros(start_us), cores, running, queued, speed, price,
            weights: Weights { delay: weight, ..Weights::default() }, ..digest(1, 0)
        };
        if view.heard(Time(now), A, digest.clone()) {
            let start_in = view.start_in(Time(now), A).unwrap();
            prop_assert!(start_in <= Duration::from_secs(8 * 24 * 3600) + crate::config::WALL_MAX);
            prop_assert!(view.should_publish(Time(now), A, &digest));
        }
    }
}

/// It was frozen: the other has closed the connection and opened another, which is the same to it.
#[test]
fn who_asks_for_a_load_that_it_was_told_on_another_connection_is_told_it_whole() {
    let (mut here, mut there) = (LoadView::new(), LoadView::new());
    let own = |sequence| LoadDigest { description: 5, ..digest(sequence, 0) };
    here.heard(Time::from_millis(0), A, own(1));
    assert!(here.publish(Time::from_millis(0), A, &own(1)).is_some());
    there.reconnected(A);
    assert!(!there.is_heard(A));

    here.asked_for(Time::from_millis(500), A);
    assert_eq!(here.publish(Time::from_millis(500), A, &own(2)), None, "it is on its way");
    here.asked_for(Time::from_millis(2_000), A);

    let mut said = here.publish(Time::from_millis(2_000), A, &own(3)).expect("it is told again");
    here.abridge(Time::from_millis(2_000), A, &mut said);
    assert!(!said.is_brief() && there.heard(Time::from_millis(2_000), A, said));
    assert!(there.is_heard(A));
}

/// A busy peer says how things are with every outcome; that is no reason not to say once more what it is.
#[test]
fn who_asks_is_told_whole_whatever_was_said_to_it_in_short() {
    let at = Time::from_millis;
    let mut here = LoadView::new();
    let own = |sequence| LoadDigest { description: 5, ..digest(sequence, 0) };
    here.heard(at(0), A, own(1));
    let mut first = here.publish(at(0), A, &own(1)).expect("it knows nothing");
    here.abridge(at(0), A, &mut first);
    let mut short = own(2);
    here.published(at(5_900), A, &short);
    here.abridge(at(5_900), A, &mut short);
    assert!(!first.is_brief() && short.is_brief());

    here.asked_for(at(6_000), A);

    let mut told = here.publish(at(6_000), A, &own(3)).expect("it asked");
    here.abridge(at(6_000), A, &mut told);
    assert!(!told.is_brief());
}
