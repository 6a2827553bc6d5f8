mod deployed;
mod mesh;
mod revoked;
mod services;
mod view;

use self::mesh::{Mesh, ms, secs};
use super::*;
use crate::id::ShortId;
use crate::message::{Beat, Message, Ping, Pong, ProbeAnswered, ProbeRequest, Records, Rumour, RumourState, Will};

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[test]
fn a_mesh_forms_from_one_bootstrap_address() {
    for seed in 0..20 {
        let mut mesh = Mesh::new(5, seed);
        mesh.bootstrap_all();

        mesh.run_until(secs(2), "everyone sees everyone", Mesh::all_see_all);
    }
}

#[test]
fn an_address_that_answers_late_is_called_until_it_does() {
    let mut mesh = Mesh::new(2, 1);
    mesh.freeze(0);
    mesh.bootstrap_all();
    mesh.run_for(secs(120));
    assert!(!mesh.all_see_all());

    mesh.thaw(0);

    mesh.run_until(secs(8), "found", Mesh::all_see_all);
}

/// Whoever keeps a task names its members with their addresses, as far as it knows them.
#[test]
fn an_address_that_is_not_known_does_not_hide_the_one_that_is() {
    let mut mesh = Mesh::formed(2, 1);
    let peer = mesh.id(1);
    mesh.on(0, |membership, lent| membership.discovered(lent, Some(peer), String::new(), false));

    let known = mesh.node(0).membership.neighbour(peer).unwrap();

    assert_eq!(known.addresses, ["at 1"]);
}

#[test]
fn a_neighbour_with_a_newer_certificate_is_known_by_it_and_stays_connected() {
    let mut mesh = Mesh::formed(2, 1);
    let peer = mesh.id(1);
    let mut member = mesh.node(0).membership.member(peer).unwrap().clone();
    member.labels.insert("site".into(), "b".into());
    let told = member.clone();

    mesh.on(0, |membership, lent| membership.recertified(lent.now, told));

    assert_eq!(mesh.node(0).membership.member(peer), Some(&member));
    assert!(mesh.node(0).membership.is_connected(peer));
}

#[test]
fn a_crash_is_known_to_all_four_neighbours_in_time() {
    let mut times = Vec::new();
    for seed in 0..40 {
        let mut mesh = Mesh::formed(5, seed);
        mesh.run_for(ms(seed * 37));
        mesh.crash(3);

        let took = mesh.run_until(secs(3), "dead at all", |mesh| {
            (0..5).filter(|i| *i != 3).all(|i| mesh.state(3, i) == Some(PeerState::Dead))
        });

        times.push(took);
        assert!((0..5).all(|i| mesh.node(i).deaths.iter().all(|(_, peer)| *peer == mesh.id(3))), "seed {seed}");
    }
    let longest = *times.iter().max().unwrap();
    let median = median(times);
    println!("crash to dead at all of 4: median {median:?}, longest {longest:?}");
    assert!(median <= ms(900), "median {median:?}");
    assert!(longest <= ms(1_100), "longest {longest:?}");
}

#[test]
fn a_frozen_peer_dies_and_comes_back_when_it_wakes() {
    for seed in 0..10 {
        let mut mesh = Mesh::formed(5, seed);
        mesh.freeze(2);
        mesh.run_for(secs(20));
        assert!((0..5).filter(|i| *i != 2).all(|i| mesh.state(2, i) == Some(PeerState::Dead)), "seed {seed}");

        mesh.thaw(2);

        mesh.run_until(secs(10), "all back", Mesh::all_see_all);
        assert!(mesh.node(2).deaths.is_empty(), "the sleeper blames nobody for its sleep, seed {seed}");
    }
}

#[test]
fn a_short_stop_kills_nobody() {
    for stop_ms in [100, 300, 500, 600] {
        let mut mesh = Mesh::formed(5, stop_ms);
        mesh.freeze(2);
        mesh.run_for(ms(stop_ms));
        mesh.thaw(2);
        mesh.run_for(secs(10));

        assert!((0..5).all(|i| mesh.node(i).deaths.is_empty()), "{stop_ms} ms");
        assert!(mesh.all_see_all());
    }
}

#[test]
fn a_process_that_ends_is_dead_sooner_than_one_that_is_silent() {
    let mut mesh = Mesh::formed(5, 3);
    mesh.kill(1);

    mesh.run_until(ms(700), "dead at all", |mesh| {
        (0..5).filter(|i| *i != 1).all(|i| mesh.state(1, i) == Some(PeerState::Dead))
    });
}

#[test]
fn a_closed_connection_alone_kills_nobody() {
    for seed in 0..20 {
        let mut mesh = Mesh::formed(5, seed);
        for _ in 0..20 {
            mesh.close(1, 2);
            mesh.run_for(secs(1));
        }
        mesh.run_for(secs(10));

        assert!((0..5).all(|i| mesh.node(i).deaths.is_empty()), "seed {seed}");
        assert!(mesh.all_see_all(), "seed {seed}");
    }
}

#[test]
fn a_link_that_breaks_between_two_is_bridged_then_given_up_by_those_two_only() {
    let mut mesh = Mesh::formed(5, 4);
    mesh.cut(1, 2);

    mesh.run_for(secs(2));
    assert!((0..5).all(|i| mesh.node(i).deaths.is_empty()), "helpers hear them both");

    mesh.run_until(secs(12), "given up", |mesh| mesh.state(1, 2) == Some(PeerState::Dead));
    assert!([0, 3, 4].iter().all(|i| mesh.sees_alive(1, *i) && mesh.sees_alive(2, *i)));

    mesh.mend();
    mesh.run_until(secs(10), "healed", Mesh::all_see_all);
}

#[test]
fn a_partition_heals_within_ten_seconds() {
    for seed in 0..10 {
        let mut mesh = Mesh::formed(10, seed);
        mesh.partition(0..4);
        mesh.run_for(secs(60));
        assert_eq!(mesh.state(9, 0), Some(PeerState::Dead));
        assert_eq!(mesh.state(0, 9), Some(PeerState::Dead));
        assert!(mesh.sees_alive(1, 0) && mesh.sees_alive(8, 9), "each side goes on");

        mesh.mend();

        mesh.run_until(secs(10), "healed", Mesh::all_see_all);
    }
}

/// With many away, the pauses between the calls to each grow beyond that; but once two have met, the others need not wait.
#[test]
fn halves_of_a_mesh_with_many_peers_find_each_other_within_ten_seconds() {
    for seed in 0..5 {
        let mut mesh = Mesh::formed(34, seed);
        mesh.partition(0..17);
        mesh.run_for(secs(150));
        assert_eq!(mesh.state(33, 0), Some(PeerState::Dead));
        let before = mesh.dials;

        mesh.mend();

        let took = mesh.run_until(secs(10), "healed", Mesh::all_see_all);
        println!("healed after {took:?} and {} calls", mesh.dials - before);
    }
}

/// Who hears the dead spoken of as if they were here calls them, but not each time.
#[test]
fn talk_of_the_dead_is_not_believed_over_and_over() {
    let mut mesh = Mesh::formed(4, 3);
    mesh.run_for(secs(20));
    mesh.crash(3);
    mesh.run_until(secs(2), "dead", |mesh| mesh.state(3, 0) == Some(PeerState::Dead));
    mesh.run_for(secs(60));
    let (liar, of) = (mesh.id(1), mesh.record(3));
    let before = mesh.dials;

    for _ in 0..300 {
        let records = Records { records: vec![of.clone()], places: Vec::new() };
        mesh.on(0, |membership, lent| membership.records(lent, liar, records));
        mesh.run_for(ms(100));
    }

    let calls = mesh.dials - before;
    assert!((8..=28).contains(&calls), "{calls} calls in 30 s, by three peers");
}

/// A will that is not kept up to date names those that its writer has let go: they would be taken for told.
#[test]
fn who_is_no_monitor_any_more_forgets_the_will() {
    let mut mesh = Mesh::formed(6, 3);
    let (writer, heir) = (mesh.id(1), mesh.id(2).abridged());
    let will = Will { turn: 0, of: 1, added: vec![heir], removed: Vec::new(), far: Vec::new() };
    let says = |next_ms| Beat { incarnation: 0, next_ms };
    mesh.on(0, |membership, _| membership.will(writer, will));

    mesh.on(0, |membership, lent| membership.beaten(lent, writer, says(1_260)));
    let told = mesh.node(0).membership.co_holders(writer);
    mesh.on(0, |membership, lent| membership.beaten(lent, writer, says(60_000)));

    assert!(told.is_some_and(|holders| holders.contains(&mesh.id(2))));
    assert_eq!(mesh.node(0).membership.co_holders(writer), None);
}

/// What a monitor says of its own neighbours decides which of ours it need be told the address of.
#[test]
fn a_monitor_that_lets_a_neighbour_of_ours_go_makes_us_reckon_our_heirs_anew() {
    let mut mesh = Mesh::formed(6, 3);
    let (monitor, ours) = (mesh.id(1), mesh.id(2).abridged());
    let will = |added: &[ShortId], removed: &[ShortId]| Will {
        turn: 0,
        of: 8,
        added: added.to_vec(),
        removed: removed.to_vec(),
        far: Vec::new(),
    };
    let stranger = ShortId([9; 8]);
    let mut version_after = |will| {
        mesh.on(0, |membership, _| membership.will(monitor, will));
        mesh.node(0).membership.view_version
    };

    let before = version_after(will(&[ours, stranger], &[]));

    assert_eq!(version_after(will(&[], &[stranger])), before);
    assert_eq!(version_after(will(&[], &[ours])), before + 1);
    assert_eq!(version_after(will(&[], &[ours])), before + 1, "it was not connected to it any more");
}

/// A neighbour that is not told when to expect the next word, and whom no monitor knows to tell.
#[test]
fn a_question_that_stays_unanswered_is_a_doubt() {
    let mut mesh = Mesh::formed(30, 14);
    mesh.run_for(secs(20));
    let (asker, dead) = (0, 5);
    for other in (0..30).filter(|other| *other != asker && *other != dead) {
        mesh.cut(asker, other); // nobody tells it anything
    }
    mesh.crash(dead);
    let id = mesh.id(dead);

    mesh.on(asker, |membership, lent| membership.exchange_now(lent, id));

    mesh.run_until(ms(1_500), "dead", |mesh| mesh.state(dead, asker) == Some(PeerState::Dead));
}

#[test]
fn loss_kills_nobody() {
    let mut mesh = Mesh::formed(12, 5);
    mesh.loss = 0.05;
    mesh.run_for(secs(600));

    let deaths: usize = (0..12).map(|i| mesh.node(i).deaths.len()).sum();
    assert_eq!(deaths, 0, "in {} peer-hours", 12.0 / 6.0);
}

#[test]
fn a_liar_kills_nobody_alone() {
    let mut mesh = Mesh::formed(5, 6);
    let (liar, victim) = (mesh.id(0), mesh.id(4));
    for round in 0..200 {
        for to in 1..5 {
            let state = if round % 2 == 0 { RumourState::Dead } else { RumourState::Suspect };
            let incarnation = if round % 3 == 0 { u32::MAX } else { round };
            mesh.on(to, |membership, lent| {
                membership.rumour(lent, liar, Rumour { peer: victim, incarnation, state });
            });
        }
        mesh.run_for(ms(50));
    }

    assert!((1..5).all(|i| mesh.node(i).deaths.is_empty()));
    assert!(mesh.all_see_all());
}

#[test]
fn a_helper_that_lies_keeps_the_dead_only_for_a_while() {
    let mut mesh = Mesh::formed(3, 7);
    let (liar, dead) = (mesh.id(1), mesh.id(2));
    mesh.crash(2);
    let limit = mesh.now + secs(15);
    while mesh.state(2, 0) != Some(PeerState::Dead) {
        assert!(mesh.now < limit, "believed for ever");
        mesh.run_for(ms(100));
        for sequence in 0..40 {
            let answer = ProbeAnswered { sequence, target: dead, incarnation: 0 };
            mesh.on(0, |membership, lent| membership.probe_answered(lent, liar, answer));
        }
    }
}

#[test]
fn who_says_goodbye_and_stays_is_seen_again() {
    let mut mesh = Mesh::formed(4, 7);
    let stays = mesh.id(3);
    mesh.on(0, |membership, lent| membership.left(lent, stays));
    assert_eq!(mesh.state(3, 0), Some(PeerState::Left));

    mesh.run_for(secs(20));

    assert_eq!(mesh.state(3, 0), Some(PeerState::Alive));
}

#[test]
fn who_says_goodbye_is_left_and_not_called_back() {
    let mut mesh = Mesh::formed(4, 8);
    mesh.nodes.get_mut(&mesh.id(3)).unwrap().membership.leave(&mut Outbox::default());
    for i in 0..3 {
        let leaver = mesh.id(3);
        mesh.on(i, |membership, lent| membership.left(lent, leaver));
    }
    for i in 0..3 {
        mesh.close(i, 3);
    }

    mesh.run_for(secs(30));

    assert!((0..3).all(|i| mesh.state(3, i) == Some(PeerState::Left) && mesh.node(i).deaths.is_empty()));
    assert!((0..3).all(|i| !mesh.node(i).membership.is_connected(mesh.id(3))));
}

#[test]
fn a_large_mesh_keeps_a_bounded_view_that_is_one_mesh_and_does_not_flap() {
    const PEERS: usize = 80;
    let mut mesh = Mesh::new(PEERS, 9);
    mesh.one_way = |a, b| Duration::from_micros(500 + 300 * a.abs_diff(b) as u64);
    mesh.bootstrap_all();
    mesh.run_for(secs(60));
    let (closed, dials) = (mesh.closed_by_order, mesh.dials);

    mesh.run_for(secs(30));

    let deaths: usize = (0..PEERS).map(|i| mesh.node(i).deaths.len()).sum();
    let connected = |i: usize| mesh.node(i).membership.known().filter(|known| known.connected).count();
    let edges = || (0..PEERS).filter(|i| i % 10 != 9); // the others are clouds, and take everybody
    let (fewest, most) = (edges().map(connected).min().unwrap(), edges().map(connected).max().unwrap());
    println!("closed {closed}, dialled {dials} while forming; connected {fewest} to {most}");
    println!("in the half minute after: closed {}, dialled {}", mesh.closed_by_order - closed, mesh.dials - dials);
    assert_eq!(deaths, 0);
    assert!(most <= crate::config::CONNECTED_MAX, "{most} connected");
    assert!(fewest >= crate::config::VIEW_RANDOM_MAX, "{fewest} connected");
    assert_eq!(reachable_from(&mesh, 0), PEERS);
    let flaps = mesh.closed_by_order - closed;
    assert!(flaps <= PEERS as u64, "{flaps} connections closed in a quiet half minute");
}

/// Machines on a line that begin with whom they happen to meet end up beside those that are beside them.
#[test]
fn peers_of_a_large_mesh_find_who_is_near() {
    const PEERS: usize = 120;
    let mut mesh = Mesh::new(PEERS, 16);
    mesh.one_way = |a, b| Duration::from_micros(500 + 300 * a.abs_diff(b) as u64);
    mesh.bootstrap_all();
    let is_edge = |i: usize| i % 10 != 9;
    let found = |mesh: &Mesh| {
        let pairs = || (0..PEERS).flat_map(|a| (a + 1..(a + 5).min(PEERS)).map(move |b| (a, b)));
        let near: Vec<(usize, usize)> = pairs().filter(|(a, b)| is_edge(*a) && is_edge(*b)).collect();
        let connected =
            near.iter().filter(|(a, b)| mesh.sees_alive(*a, *b) && mesh.node(*b).membership.is_connected(mesh.id(*a)));
        connected.count() as f64 / near.len() as f64
    };

    mesh.run_for(secs(20));
    let at_first = found(&mesh);
    mesh.run_for(secs(240));
    let later = found(&mesh);

    println!("{:.0} % of those next door at first, {:.0} % later", at_first * 100.0, later * 100.0);
    assert!(later > 0.9, "{later}");
    assert!(later > at_first + 0.1, "{at_first} at first, {later} later");
}

fn reachable_from(mesh: &Mesh, start: usize) -> usize {
    let mut seen = std::collections::BTreeSet::from([mesh.id(start)]);
    let mut frontier = vec![mesh.id(start)];
    while let Some(peer) = frontier.pop() {
        for next in mesh.nodes[&peer].membership.alive_neighbours().map(|known| known.member.peer) {
            if seen.insert(next) {
                frontier.push(next);
            }
        }
    }
    seen.len()
}

#[test]
fn an_idle_peer_says_about_eight_small_things_a_second() {
    let mut mesh = Mesh::formed(12, 10);
    mesh.run_for(secs(60));
    let (messages, bytes) = (mesh.messages, mesh.bytes);

    mesh.run_for(secs(60));

    let a_second = (mesh.messages - messages) as f64 / (12.0 * 60.0);
    let mean = (mesh.bytes - bytes) as f64 / (mesh.messages - messages) as f64;
    println!("{a_second:.2} messages a peer and second, {mean:.0} bytes each");
    assert!(a_second <= 9.0, "{a_second}");
    assert!(mean <= 25.0, "{mean}");
}

/// A neighbour that is let go for want of room is neither missed nor called back at once.
#[test]
fn who_is_let_go_is_not_taken_for_lost() {
    let mut mesh = Mesh::formed(5, 13);
    let other = mesh.id(2);
    mesh.on(1, |membership, lent| membership.let_go(lent, other));

    mesh.run_for(ms(140));

    assert!((0..5).all(|i| mesh.node(i).deaths.is_empty()));
    let suspected = |i: usize| mesh.node(i).changes.iter().any(|(_, _, state)| *state == PeerState::Suspect);
    assert!((0..5).all(|i| !suspected(i)));
    assert!(!mesh.node(2).membership.is_connected(mesh.id(1)));
}

/// A peer that was stopped so long that all the others closed their connections finds them again without burying anybody.
#[test]
fn a_sleeper_that_was_given_up_buries_nobody_when_it_wakes() {
    for seed in 0..10 {
        let mut mesh = Mesh::formed(30, seed);
        mesh.loss = 0.02;
        mesh.freeze(7);
        mesh.run_for(secs(10));

        mesh.thaw(7);

        mesh.run_until(secs(20), "all back", Mesh::all_see_all);
        assert!(mesh.node(7).deaths.is_empty(), "seed {seed}");
    }
}

/// Of the neighbours of a peer that dies, most have no beat of it: they hear of it from its monitors.
#[test]
fn those_who_do_not_listen_closely_are_told() {
    let mut mesh = Mesh::formed(30, 14);
    mesh.run_for(secs(20));
    mesh.crash(5);

    let took = mesh.run_until(ms(1_500), "dead at all", |mesh| {
        (0..30).filter(|i| *i != 5).all(|i| mesh.state(5, i) == Some(PeerState::Dead))
    });

    println!("known to all 29 after {took:?}");
    assert!((0..30).all(|i| mesh.node(i).deaths.len() <= 1));
}

#[test]
fn heartbeats_measure_round_trips_and_learn_coordinates() {
    let mut mesh = Mesh::new(12, 11);
    mesh.one_way = |a, b| Duration::from_millis(2 + 3 * a.abs_diff(b) as u64);
    mesh.bootstrap_all();
    mesh.run_for(secs(180)); // settled pairs measure their way once a minute only

    let latency = &mesh.node(0).latency;
    let measured = latency.rtt(mesh.id(5)).unwrap();
    let predicted = latency.predict(mesh.id(3), mesh.id(9)).unwrap();

    assert!((ms(34)..=ms(38)).contains(&measured), "{measured:?}");
    assert!((ms(28)..=ms(56)).contains(&predicted), "{predicted:?} for about 42 ms");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let trace = |seed| {
        let mut mesh = Mesh::formed(12, seed);
        mesh.loss = 0.1;
        mesh.crash(4);
        mesh.partition(0..3);
        mesh.run_for(secs(10));
        mesh.mend();
        mesh.run_for(secs(10));
        mesh.trace.finalize()
    };

    assert_eq!(trace(12), trace(12));
    assert_ne!(trace(12), trace(13));
}

mod arbitrary {
    use proptest::prelude::*;
    use rand::SeedableRng;

    use super::*;
    use crate::certificate::Role;
    use crate::config::{CONNECTED_MAX, PASSIVE_MAX, PROSPECTS_MAX};

    pub(super) fn id(n: u16) -> PeerId {
        let mut id = [7; 32];
        id[..2].copy_from_slice(&n.to_le_bytes());
        PeerId(id)
    }

    pub(super) fn member(n: u16) -> Member {
        let role = if n % 3 == 1 { Role::Cloud } else { Role::Edge };
        Member { peer: id(n), name: n.to_string(), role, labels: Default::default() }
    }

    fn act(membership: &mut Membership, lent: &mut Lent<'_>, what: u8, a: u16, b: u16, number: u32) {
        let state = [RumourState::Alive, RumourState::Suspect, RumourState::Dead][usize::from(what % 3)];
        match what % 12 {
            0 | 1 => membership.connected(lent, member(a), (b.is_multiple_of(2)).then(|| format!("at {b}"))),
            2 => membership.disconnected(lent, id(a)),
            3 => membership.dial_failed(lent, Some(id(a)), None),
            4 => membership.dial_failed(lent, None, Some(&format!("at {b}"))),
            5 => membership.discovered(
                lent,
                (b.is_multiple_of(2)).then(|| id(a)),
                format!("at {b}"),
                b.is_multiple_of(5),
            ),
            6 => {
                let ping = Ping {
                    sequence: number,
                    incarnation: number,
                    coordinate: None,
                    load: None,
                    revocations: 0,
                    rules: 0,
                    services: 0,
                    wants_load: false,
                };
                mesh::receive(membership, lent, id(a), Message::Ping(ping));
            }
            7 => {
                let pong = Pong {
                    sequence: number % 64,
                    incarnation: number,
                    coordinate: None,
                    load: None,
                    revocations: 0,
                    rules: 0,
                    services: 0,
                };
                mesh::receive(membership, lent, id(a), Message::Pong(pong));
            }
            8 => membership.probe_requested(lent, id(a), ProbeRequest { sequence: number, target: id(b) }),
            9 => membership.rumour(lent, id(a), Rumour { peer: id(b), incarnation: number, state }),
            10 => membership.probe_answered(
                lent,
                id(a),
                ProbeAnswered { sequence: number % 4, target: id(b), incarnation: number },
            ),
            _ => membership.left(lent, id(a)),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_order_of_facts_breaks_a_bound(
            facts in proptest::collection::vec((any::<u8>(), 0u16..400, 0u16..400, any::<u32>(), 0u64..3_000), 0..600),
        ) {
            let mut membership = Membership::new(member(0), DetectorConfig::default(), Time::ZERO);
            let (mut latency, mut loads) = (Latency::new(id(0), 1), LoadView::new());
            let (mut rng, mut out, mut now) = (crate::rng::Rng::seed_from_u64(1), Outbox::default(), Time::ZERO);
            for (what, a, b, number, wait_ms) in facts {
                now += ms(wait_ms);
                let mut lent = Lent {
                    now, rng: &mut rng, out: &mut out, latency: &mut latency, loads: &mut loads, digest: &mesh::digest,
                    needs: &|_| false,
                };
                membership.timer(&mut lent);
                act(&mut membership, &mut lent, what, a, b, number);

                // All neighbours may die at once; each is told of to some, let go, called and looked after.
                prop_assert!(out.drain().len() < 20 * CONNECTED_MAX, "one fact causes a bounded number of orders");
                prop_assert!(membership.known().count() <= CONNECTED_MAX + PASSIVE_MAX);
                prop_assert!(membership.known().filter(|known| known.connected).count() <= CONNECTED_MAX);
                prop_assert!(membership.prospects.count() <= PROSPECTS_MAX);
                prop_assert!(membership.next_deadline().is_some());
                let changes = membership.take_changes();
                prop_assert!(changes.iter().all(|(peer, _)| *peer != id(0)), "nothing is believed of oneself");
            }
        }
    }
}
