//! What a peer says about blobs, and what comes of lies about them.

use super::*;
use crate::message::{Have, Held, Message, Want};
use crate::output::{Event, Judgement};
use crate::time::Time;

const BLOB: BlobId = BlobId([5; 32]);

fn told(peer: &mut Peer, now: Time, input: Input) -> Vec<Output> {
    peer.handle(now, input);
    core::iter::from_fn(|| peer.poll_output()).collect()
}

fn with_neighbours() -> Peer {
    let mut peer = Peer::new(member(1), PeerConfig::default(), 1, Time::ZERO);
    for n in [2, 3] {
        told(&mut peer, Time::ZERO, Input::Connected { member: member(n), address: None });
    }
    peer
}

#[test]
fn neighbours_are_asked_for_a_blob_and_remembered_as_its_holders() {
    let mut peer = with_neighbours();

    let asked = told(&mut peer, Time::ZERO, Input::BlobSought { blob: BLOB, ticket: 7 });
    let want = Message::Want(Want { blobs: vec![BLOB] });
    for n in [2, 3] {
        assert!(asked.contains(&Output::Send { to: id(n), message: want.clone() }), "{asked:?}");
    }
    let have = Message::Have(Have { blobs: vec![Held { blob: BLOB, bytes: 9, labels: Default::default() }] });
    told(&mut peer, Time::from_millis(2), Input::Received { from: id(3), message: have });
    let (at, _) = peer.poll_timeout().unwrap();
    let found = told(&mut peer, at.max(Time::from_millis(100)), Input::TimerFired);

    assert!(found.contains(&Output::BlobFound { ticket: 7, holders: vec![id(3)] }), "{found:?}");
    assert_eq!((peer.holders_of(BLOB), peer.blob(BLOB).unwrap().bytes), (vec![id(3)], 9));
}

#[test]
fn a_neighbour_hears_what_the_store_has_and_nothing_else() {
    let mut peer = with_neighbours();
    let want = Message::Want(Want { blobs: vec![BLOB, MODULE] });

    let asked = told(&mut peer, Time::ZERO, Input::Received { from: id(2), message: want });
    assert!(asked.contains(&Output::LookUp { from: id(2), blobs: vec![BLOB, MODULE] }), "{asked:?}");
    let here = vec![Held { blob: MODULE, bytes: 9, labels: Default::default() }];
    let said = told(&mut peer, Time::ZERO, Input::LookedUp { to: id(2), here: here.clone() });

    assert_eq!(said, [Output::Send { to: id(2), message: Message::Have(Have { blobs: here }) }]);
}

#[test]
fn who_sends_wrong_bytes_cools_off_at_once() {
    let mut peer = with_neighbours();

    let outputs = told(&mut peer, Time::ZERO, Input::Lied { peer: id(2), blob: BLOB });

    let judged =
        |output: &Output| matches!(output, Output::Notify(Event::PeerJudged { judgement: Judgement::CoolsOff, .. }));
    assert!(outputs.iter().any(judged), "{outputs:?}");
    assert!(peer.distrusts(id(2)) && !peer.distrusts(id(3)));
}
