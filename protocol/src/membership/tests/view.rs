//! Who is spared when a view has too many, and who is called when it has no room.

use super::arbitrary::{id, member};
use super::mesh::{self, Mesh, ms, secs};
use rand::SeedableRng;

use super::*;
use crate::Output;

/// One peer that knows nobody yet, and what it orders.
struct Alone {
    membership: Membership,
    latency: Latency,
    loads: LoadView,
    rng: crate::rng::Rng,
    now: Time,
    needed: Option<PeerId>,
}

impl Alone {
    fn new() -> Self {
        Self {
            membership: Membership::new(member(0), DetectorConfig::default(), Time::ZERO),
            latency: Latency::new(id(0), 1),
            loads: LoadView::new(),
            rng: crate::rng::Rng::seed_from_u64(1),
            now: Time::ZERO,
            needed: None,
        }
    }

    fn act(&mut self, act: impl FnOnce(&mut Membership, &mut Lent<'_>)) -> Vec<Output> {
        let mut out = Outbox::default();
        let needed = self.needed;
        let mut lent = Lent {
            now: self.now,
            rng: &mut self.rng,
            out: &mut out,
            latency: &mut self.latency,
            loads: &mut self.loads,
            digest: &mesh::digest,
            needs: &|peer| Some(peer) == needed,
        };
        act(&mut self.membership, &mut lent);
        out.drain()
    }

    /// Lets time pass and gives who was called: a peer by name, or the addresses.
    fn pass(&mut self, time: Duration) -> Vec<(Option<PeerId>, Vec<String>)> {
        let (mut calls, end) = (Vec::new(), self.now + time);
        while self.now < end {
            self.now += ms(100);
            for output in self.act(|membership, lent| membership.timer(lent)) {
                if let Output::Dial { peer, addresses } = output {
                    let (named, at) = (peer, addresses.first().cloned());
                    self.act(|membership, lent| {
                        membership.dial_failed(lent, named, at.as_deref().filter(|_| named.is_none()))
                    });
                    calls.push((peer, addresses));
                }
            }
        }
        calls
    }
}

/// Who stays of fifty-four neighbours that came by themselves, of whom one, `spared`, is needed.
fn crowded(spared: u16) -> Vec<PeerId> {
    let mut alone = Alone::new();
    alone.needed = Some(id(spared));
    alone.act(|membership, lent| (1..=54).for_each(|n| membership.connected(lent, member(n), None)));
    for _ in 0..100 {
        for n in 1..=54 {
            if alone.membership.is_connected(id(n)) {
                let beat = Beat { incarnation: 0, next_ms: 1_000 };
                alone.act(|membership, lent| mesh::receive(membership, lent, id(n), Message::Beat(beat)));
            }
        }
        alone.pass(ms(100));
    }
    alone.membership.alive_neighbours().map(|known| known.member.peer).collect()
}

/// Trimming a view would otherwise part a council, and its task would be taken over from a leader that is there.
#[test]
fn whoever_decides_something_with_us_is_not_let_go_for_want_of_room() {
    let stayed = crowded(0);
    let first = (1..=54).find(|n| !stayed.contains(&id(*n))).expect("there are too many");

    let stayed = crowded(first);

    assert!(stayed.len() < 54 && stayed.contains(&id(first)));
}

#[test]
fn a_member_of_a_council_is_called_whether_the_view_has_room_or_not() {
    let mut mesh = Mesh::formed(60, 3);
    mesh.run_for(secs(60));
    let other = (1..60).find(|n| !mesh.node(0).membership.is_connected(mesh.id(*n))).expect("not all fit");
    let (peer, address) = (mesh.id(other), format!("at {other}"));
    let is_there = |mesh: &Mesh| mesh.node(0).membership.is_connected(peer);
    mesh.on(0, |membership, lent| membership.discovered(lent, Some(peer), address.clone(), false));
    mesh.run_for(secs(1));
    assert!(!is_there(&mesh), "there is no room");

    mesh.on(0, |membership, lent| membership.called_for(lent, peer, address));

    mesh.run_until(secs(1), "called", is_there);
    assert!(!mesh.node(0).membership.neighbour(peer).unwrap().called_for, "once");
}

#[test]
fn who_is_needed_takes_the_place_of_one_that_is_near() {
    let newcomer = id(3 * 200);
    let is_let_in = |needed| {
        let mut alone = Alone::new();
        alone.needed = needed;
        // Edges only, and all at once: no more than the nearest are connected for long, and they are never let go for others.
        for n in 1..=u16::try_from(crate::config::CONNECTED_MAX).unwrap() {
            alone.act(|membership, lent| {
                membership.connected(lent, member(3 * n), None);
                membership.watch(id(3 * n), n > 24);
            });
        }
        alone.act(|membership, lent| membership.connected(lent, member(3 * 200), None));
        alone.membership.is_connected(newcomer)
    };

    assert!(!is_let_in(None), "all others are watched or near");
    assert!(is_let_in(Some(newcomer)));
}

#[test]
fn who_was_shut_out_is_not_called_whatever_is_said_of_it() {
    let called = |is_shut_out: bool| {
        let mut alone = Alone::new();
        alone.act(|membership, lent| {
            membership.connected(lent, member(3), Some("at 3".into()));
            if is_shut_out {
                membership.shut_out(lent, id(3), lent.now + secs(3_600));
            } else {
                membership.let_go(lent, id(3));
            }
            membership.discovered(lent, Some(id(3)), "at 3".into(), false);
            membership.called_for(lent, id(3), "at 3".into());
        });
        !alone.pass(secs(60)).is_empty()
    };

    assert!(called(false) && !called(true));
}

/// A machine that was stopped and set up anew has another key at the old address.
#[test]
fn a_configured_address_is_called_again_after_its_peer_said_goodbye() {
    let mut alone = Alone::new();
    alone.act(|membership, lent| {
        membership.discovered(lent, None, "seed".into(), true);
        membership.connected(lent, member(3), Some("seed".into()));
    });
    alone.act(|membership, lent| {
        membership.discovered(lent, Some(id(3)), "elsewhere".into(), false);
        membership.left(lent, id(3));
        membership.disconnected(lent, id(3));
    });

    assert_eq!(alone.pass(secs(59)), [], "it has time to be away");
    assert!(alone.pass(secs(10)).contains(&(None, vec!["seed".to_owned()])));
}

/// After a long partition they are the only ones by whom its other side can be found.
#[test]
fn the_last_of_the_dead_are_remembered_among_any_number_of_the_living() {
    let mut alone = Alone::new();
    for n in 1..=30 {
        alone.now += secs(1);
        alone.act(|membership, lent| {
            membership.connected(lent, member(3 * n), Some(format!("at {n}")));
            membership.disconnected(lent, id(3 * n));
            membership.enter(lent, id(3 * n), PeerState::Dead);
        });
    }

    for n in 100..500 {
        alone.act(|membership, lent| {
            if membership.make_room_for(id(3 * n)) {
                let me = membership.me.peer;
                membership.known.get_or_insert_with(id(3 * n), || Neighbour::new(lent.now, me, member(3 * n)));
            }
        });
    }

    let dead = alone.membership.known().filter(|known| known.state == PeerState::Dead).map(|known| known.member.peer);
    let mut dead: Vec<PeerId> = dead.collect();
    let mut last: Vec<PeerId> = (15..=30).map(|n| id(3 * n)).collect();
    dead.sort_unstable();
    last.sort_unstable();
    assert_eq!(dead, last);
}

/// Nobody lives by hearsay for ever either.
#[test]
fn one_that_vouches_for_the_dead_again_and_again_does_not_keep_them_alive() {
    let mut mesh = Mesh::formed(5, 7);
    mesh.crash(3);
    let (dead, liar) = (mesh.id(3), mesh.id(1));
    for number in 1..100 {
        for told in [0, 2, 4] {
            let rumour = Rumour { peer: dead, incarnation: number, state: RumourState::Alive };
            mesh.on(told, |membership, lent| membership.rumour(lent, liar, rumour));
        }
        mesh.run_for(ms(100));
    }

    assert!([0, 2, 4].into_iter().all(|by| mesh.state(3, by) == Some(PeerState::Dead)));
}
