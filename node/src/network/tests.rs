//! Several networks in one process, over real sockets on loopback.

mod relayed;

use std::collections::BTreeMap;
use std::future::Future;

use futures::future::join_all;
use shoal_protocol::Role;
use shoal_protocol::config::{FRAME_BYTES_MAX, MESSAGE_BYTES_MAX};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use zeroize::Zeroizing;

use shoal_protocol::certificate::Issuer;

use super::kinds::Kind;
use super::limits::*;
use super::*;

const LOOPBACK: &str = "/ip4/127.0.0.1/udp/0/quic-v1";
/// Long enough for two busy cores; a test that waits for it has failed.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "current_thread")]
async fn two_members_connect_and_talk() {
    let (mut a, mut b) = (Node::start(1).await, Node::start(2).await);

    a.dial(&b);
    let dialled = a.connected(b.id()).await;
    let accepted = b.connected(a.id()).await;
    a.network.send(b.id(), b"ping".to_vec()).unwrap();
    let heard = b.frame().await;
    b.network.send(a.id(), vec![7; LONG_BYTES_MIN - 1]).unwrap();
    let answered = a.frame().await;

    assert_eq!(dialled.as_deref(), Some(b.address().as_str()));
    assert_eq!(accepted, None);
    assert_eq!(heard, (a.id(), b"ping".to_vec()));
    assert_eq!(answered, (b.id(), vec![7; LONG_BYTES_MIN - 1]));
    assert_eq!(a.counter("frames_out"), 1);
    assert_eq!(a.counter("frames_in"), 1);
}

#[tokio::test(flavor = "current_thread")]
async fn a_neighbour_tells_where_it_listens() {
    let (mut a, mut b) = Node::pair().await;

    assert_eq!(b.discovered().await, (Some(a.id()), a.address()));
    assert_eq!(a.discovered().await, (Some(b.id()), b.address()));
}

/// mDNS leaves loopback out, so this needs an interface with multicast.
#[tokio::test(flavor = "current_thread")]
#[ignore = "needs a network interface with multicast"]
async fn peers_on_the_local_network_discover_each_other() {
    let on_the_network = |seed| {
        let mut config = config(seed, certificate_for(&mesh(), &key(seed)).sign(&Issuer::of(&mesh())));
        config.listen = vec!["/ip4/0.0.0.0/udp/0/quic-v1".into()];
        config.mdns = true;
        config
    };
    let (mut a, mut b) = (Node::from_config(on_the_network(1)).await, Node::from_config(on_the_network(2)).await);

    let (found, address) = a.discovered().await;
    a.network.dial(found, vec![address]);

    assert_eq!(found, Some(b.id()));
    a.connected(b.id()).await;
    b.connected(a.id()).await;
}

#[tokio::test(flavor = "current_thread")]
async fn papers_reach_a_neighbour_and_are_no_frame() {
    let (a, mut b) = Node::pair().await;

    a.network.send_papers(b.id(), b"next").await.unwrap();
    let said = b.next("papers", |event| matches!(event, NetworkEvent::Papers { .. }), |event| event).await;

    assert!(matches!(said, NetworkEvent::Papers { from, body } if from == a.id() && body == b"next"));
    assert_eq!(b.counter("frames_in") + b.counter("long_in"), 0);
    let too_long = vec![0; 64 * 1024];
    assert_eq!(a.network.send_papers(b.id(), &too_long).await, Err(SendError::TooLarge(too_long.len())));
}

#[tokio::test(flavor = "current_thread")]
async fn a_new_certificate_is_shown_to_whoever_connects_next_and_closes_nothing() {
    let (a, mut b) = Node::pair().await;
    let mut c = Node::start(3).await;
    let renewed = MemberCertificate { serial: 2, name: "renewed".into(), ..certificate_for(&mesh(), &key(1)) };

    a.network.show(&renewed.sign(&Issuer::of(&mesh()))).unwrap();
    a.dial(&c);
    let name = |event: NetworkEvent| match event {
        NetworkEvent::Connected { member, .. } => member.name,
        other => panic!("{other:?}"),
    };
    let shown = c.next("connection", |event| matches!(event, NetworkEvent::Connected { .. }), name).await;

    assert_eq!(shown, "renewed");
    a.network.send(b.id(), b"still here".to_vec()).unwrap();
    assert_eq!(b.frame().await, (a.id(), b"still here".to_vec()));
}

#[tokio::test(flavor = "current_thread")]
async fn frames_arrive_in_order_and_all_of_them_before_the_end() {
    let (mut a, mut b) = Node::pair().await;
    let count = 5_000_u32;

    for i in 0..count {
        b.network.send(a.id(), i.to_be_bytes().to_vec()).unwrap();
    }
    b.network.disconnect(a.id(), "test");

    for i in 0..count {
        assert_eq!(a.frame().await, (b.id(), i.to_be_bytes().to_vec()));
    }
    a.disconnected(b.id()).await;
    b.disconnected(a.id()).await;
    assert_eq!(b.network.send(a.id(), vec![1]), Err(SendError::NotConnected(a.id())));
}

#[tokio::test(flavor = "current_thread")]
async fn what_was_sent_before_closing_arrives() {
    let (mut a, b) = Node::pair().await;

    b.network.send(a.id(), b"leaving".to_vec()).unwrap();
    b.network.close().await;

    assert_eq!(a.frame().await, (b.id(), b"leaving".to_vec()));
    a.disconnected(b.id()).await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_member_of_another_mesh_is_refused() {
    let mesh = key(99);
    let node = key(2);
    refused_with(certificate_for(&mesh, &node).sign(&Issuer::of(&mesh)), "belongs to another mesh").await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_member_whose_time_is_over_is_refused() {
    let certificate = MemberCertificate { expires_unix_s: 1, ..certificate_for(&mesh(), &key(2)) };
    refused_with(certificate.sign(&Issuer::of(&mesh())), "expired").await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_peer_with_the_certificate_of_another_is_refused() {
    refused_with(certificate_for(&mesh(), &key(3)).sign(&Issuer::of(&mesh())), "was shown by another key").await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_peer_with_a_certificate_it_signed_itself_is_refused() {
    refused_with(certificate_for(&mesh(), &key(2)).sign(&Issuer::of(&key(2))), "belongs to another mesh").await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_member_that_was_revoked_is_refused_and_so_is_whom_a_revoked_issuer_signed_for() {
    let (mut a, mut b) = (Node::start(1).await, Node::start(2).await);
    a.network.refuse(BTreeSet::from([b.id()]), BTreeSet::new());

    b.dial(&a);
    let refused = a.refused().await;
    assert!(refused.contains("has been revoked") && !refused.contains("issuer"), "{refused}");
    b.dial_failed().await;

    a.network.refuse(BTreeSet::new(), BTreeSet::from([Issuer::of(&mesh()).id()]));
    a.dial(&b);
    let (who, failed) = a.dial_failed().await;
    assert_eq!(who, Some(b.id()));
    assert!(failed.contains("the issuer of the certificate") && failed.contains("has been revoked"), "{failed}");
    assert_eq!(a.counter("admitted"), 0);
}

/// A stranger that holds `certificate` dials a member, and is dialled by one. Neither learns more than a close.
async fn refused_with(certificate: Chain, reason: &str) {
    let (mut member, mut stranger) = (Node::start(1).await, Node::start_with(2, certificate).await);
    // It believes in our mesh, so that it is the member alone who refuses.
    stranger.dial(&member);
    let refused = member.refused().await;
    let (_, failed) = stranger.dial_failed().await;
    assert!(refused.contains(reason), "{refused}");
    assert!(failed.contains("did not admit") || failed.contains("before admission"), "{failed}");

    member.dial(&stranger);
    let (who, failed) = member.dial_failed().await;
    assert_eq!(who, Some(stranger.id()));
    assert!(failed.contains(reason), "{failed}");

    assert_eq!(member.network.send(stranger.id(), vec![1]), Err(SendError::NotConnected(stranger.id())));
    assert_eq!(member.network.open_bulk(stranger.id()).await.unwrap_err(), BulkError::NotConnected(stranger.id()));
    assert_eq!((member.counter("admitted"), member.counter("refused")), (0, 2));
    assert_eq!(member.counter("frames_in"), 0);
    assert!(member.seen.iter().all(|event| !matches!(event, NetworkEvent::Connected { .. })));
}

#[tokio::test(flavor = "current_thread")]
async fn a_stranger_gets_no_stream() {
    let mut member = Node::start(1).await;
    let of_another_mesh = certificate_for(&key(99), &key(2)).sign(&Issuer::of(&key(99)));
    let raw = RawPeer::connect_with(2, of_another_mesh, &member).await;

    // TLS lets it speak before it knows the verdict. Whether writing fails is a question of who is faster.
    if let Ok(mut control) = Kind::Control.open(&raw.connection).await {
        let _ = control.write_all(&framed(&greeting(Run(1)))).await;
    }
    if let Ok((mut bulk, _)) = quic::open_bulk(&raw.connection).await {
        let _ = bulk.write_all(b"let me in").await;
    }
    let refused = member.refused().await;

    assert!(refused.contains("another mesh"), "{refused}");
    raw.closed().await;
    assert!(raw.connection.accept_uni().await.is_err(), "a stranger is told nothing");
    for counter in ["admitted", "frames_in", "bulk_in", "long_in"] {
        assert_eq!(member.counter(counter), 0, "{counter}");
    }
    assert_eq!(member.links(), 0);
}

#[tokio::test(flavor = "current_thread")]
async fn a_member_that_says_nothing_is_cut_off() {
    let mut member = Node::start(1).await;
    let raw = RawPeer::connect(2, &member).await;

    let refused = member.refused().await;

    assert!(refused.contains("did not greet within"), "{refused}");
    assert_eq!(raw.closed().await, refused, "a member may know why");
}

#[tokio::test(flavor = "current_thread")]
async fn garbage_instead_of_a_greeting_closes_the_connection() {
    let mut member = Node::start(1).await;
    let raw = RawPeer::connect(2, &member).await;

    let mut control = Kind::Control.open(&raw.connection).await.unwrap();
    control.write_all(&framed(b"\x01GET / HTTP/1.1")).await.unwrap();
    let refused = member.refused().await;

    assert!(refused.contains("not a greeting"), "{refused}");
    raw.closed().await;
    assert_eq!(member.counter("garbage"), 1);
}

#[tokio::test(flavor = "current_thread")]
async fn another_kind_of_stream_instead_of_a_greeting_closes_the_connection() {
    let mut member = Node::start(1).await;
    let raw = RawPeer::connect(2, &member).await;

    let mut long = Kind::Long.open(&raw.connection).await.unwrap();
    long.write_all(&framed(b"me first")).await.unwrap();
    let refused = member.refused().await;

    assert!(refused.contains("no control stream"), "{refused}");
    assert_eq!((member.counter("garbage"), member.counter("long_in")), (1, 0));
}

#[tokio::test(flavor = "current_thread")]
async fn another_protocol_version_closes_the_connection() {
    let mut member = Node::start(1).await;
    let raw = RawPeer::connect(2, &member).await;
    let mut newer = greeting(Run(1));
    newer[0] = 9;

    let mut control = Kind::Control.open(&raw.connection).await.unwrap();
    control.write_all(&framed(&newer)).await.unwrap();
    let refused = member.refused().await;

    assert!(refused.contains("protocol version 9; this peer speaks 1"), "{refused}");
    raw.closed().await;
    assert_eq!(member.counter("garbage"), 0);
}

#[tokio::test(flavor = "current_thread")]
async fn a_first_frame_that_is_too_long_closes_the_connection() {
    let mut member = Node::start(1).await;
    let raw = RawPeer::connect(2, &member).await;

    let mut control = Kind::Control.open(&raw.connection).await.unwrap();
    control.write_all(&(GREETING_BYTES_MAX as u32 + 1).to_be_bytes()).await.unwrap();
    let refused = member.refused().await;

    assert!(refused.contains("a frame of 1025 bytes was announced"), "{refused}");
    assert_eq!(member.counter("garbage"), 1);
}

#[tokio::test(flavor = "current_thread")]
async fn a_member_that_announces_64_kib_and_one_byte_is_disconnected() {
    let mut member = Node::start(1).await;
    let (raw, mut control) = RawPeer::greeted(2, &mut member).await;

    control.write_all(&framed(b"honest")).await.unwrap();
    control.write_all(&(FRAME_BYTES_MAX as u32 + 1).to_be_bytes()).await.unwrap();

    assert_eq!(member.frame().await, (raw.id, b"honest".to_vec()));
    member.disconnected(raw.id).await;
    raw.closed().await;
    assert_eq!(member.counter("garbage"), 1);
}

#[tokio::test(flavor = "current_thread")]
async fn long_messages_arrive_whole_all_of_them_before_the_end() {
    let (mut a, b) = Node::pair().await;
    let longs: Vec<Vec<u8>> = (0..20).map(|i| vec![i; LONG_BYTES_MIN + usize::from(i) * 10_000]).collect();

    for long in &longs {
        b.network.send(a.id(), long.clone()).unwrap();
    }
    b.network.send(a.id(), vec![9; MESSAGE_BYTES_MAX]).unwrap();
    b.network.disconnect(a.id(), "test");

    let mut heard = Vec::new();
    for _ in 0..=longs.len() {
        heard.push(a.frame().await.1);
    }
    heard.sort_unstable_by_key(Vec::len);
    assert_eq!(heard.pop().unwrap(), vec![9; MESSAGE_BYTES_MAX]);
    assert_eq!(heard, longs);
    a.disconnected(b.id()).await;
    assert_eq!((a.counter("long_in"), a.counter("frames_in")), (21, 0));
    assert_eq!(b.network.send(a.id(), vec![0; LONG_BYTES_MIN]), Err(SendError::NotConnected(a.id())));
}

#[tokio::test(flavor = "current_thread")]
async fn a_message_over_the_limit_is_not_sent() {
    let (a, mut b) = Node::pair().await;

    let error = a.network.send(b.id(), vec![0; MESSAGE_BYTES_MAX + 1]).unwrap_err();
    a.network.send(b.id(), b"still here".to_vec()).unwrap();

    assert_eq!(error, SendError::TooLarge(MESSAGE_BYTES_MAX + 1));
    assert_eq!(b.frame().await, (a.id(), b"still here".to_vec()));
}

#[tokio::test(flavor = "current_thread")]
async fn a_member_that_announces_a_message_over_the_limit_is_disconnected() {
    let mut member = Node::start(1).await;
    let (raw, _control) = RawPeer::greeted(2, &mut member).await;

    let mut long = Kind::Long.open(&raw.connection).await.unwrap();
    long.write_all(&(MESSAGE_BYTES_MAX as u32 + 1).to_be_bytes()).await.unwrap();

    member.disconnected(raw.id).await;
    raw.closed().await;
    assert_eq!((member.counter("garbage"), member.counter("long_in")), (1, 0));
}

#[tokio::test(flavor = "current_thread")]
async fn half_a_long_message_is_no_message() {
    let mut member = Node::start(1).await;
    let (raw, mut control) = RawPeer::greeted(2, &mut member).await;

    let mut long = Kind::Long.open(&raw.connection).await.unwrap();
    long.write_all(&100_u32.to_be_bytes()).await.unwrap();
    long.write_all(b"the first half").await.unwrap();
    drop(long);
    control.write_all(&framed(b"honest")).await.unwrap();

    assert_eq!(member.frame().await, (raw.id, b"honest".to_vec()));
    assert_eq!(member.counter("long_in"), 0);
}

#[tokio::test(flavor = "current_thread")]
async fn a_member_that_opens_more_bulk_streams_than_it_may_loses_them() {
    let mut member = Node::start(1).await;
    let (raw, _control) = RawPeer::greeted(2, &mut member).await;

    let mut opened = Vec::new();
    for _ in 0..BULK_IN_MAX + 4 {
        opened.push(quic::open_bulk(&raw.connection).await.unwrap());
    }
    let mut held = Vec::new();
    for _ in 0..BULK_IN_MAX {
        held.push(member.bulk().await);
    }

    member.until(|node| node.counter("streams_refused") + node.counter("bulk_in") >= BULK_IN_MAX as u64).await;
    assert_eq!(member.counter("bulk_in"), BULK_IN_MAX as u64);
    assert_eq!(member.links(), 1, "it stays connected");
}

#[tokio::test(flavor = "current_thread")]
async fn peers_that_dial_each_other_at_once_keep_one_connection() {
    for round in 0..5 {
        let (mut a, mut b) = (Node::start(1).await, Node::start(2).await);

        // Without names, so that neither side can tell that it is dialling the other.
        a.network.dial(None, vec![b.address()]);
        b.network.dial(None, vec![a.address()]);
        a.connected(b.id()).await;
        b.connected(a.id()).await;
        let count = 200_u32;
        for i in 0..count {
            // Frames under way while the second connection is retired.
            a.network.send(b.id(), i.to_be_bytes().to_vec()).unwrap();
            b.network.send(a.id(), i.to_be_bytes().to_vec()).unwrap();
            a.pause(Duration::from_millis(10)).await;
        }
        let (mut at_a, mut at_b) = (Vec::new(), Vec::new());
        while at_a.len() < count as usize {
            at_a.push(a.frame().await.1);
        }
        while at_b.len() < count as usize {
            at_b.push(b.frame().await.1);
        }

        a.until(|node| node.links() == 1).await;
        b.until(|node| node.links() == 1).await;
        let expected: Vec<_> = (0..count).map(|i| i.to_be_bytes().to_vec()).collect();
        at_a.sort();
        at_b.sort();
        assert_eq!(at_a, expected, "round {round}");
        assert_eq!(at_b, expected, "round {round}");
        for node in [&a, &b] {
            assert!(
                node.seen
                    .iter()
                    .all(|event| { matches!(event, NetworkEvent::Listening { .. } | NetworkEvent::Discovered { .. }) }),
                "round {round}: {:?}",
                node.seen
            );
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn long_messages_survive_that_a_second_connection_is_retired() {
    let (mut a, mut b) = (Node::start(1).await, Node::start(2).await);
    a.network.dial(None, vec![b.address()]);
    b.network.dial(None, vec![a.address()]);
    a.connected(b.id()).await;
    b.connected(a.id()).await;

    // For longer than it takes to retire one.
    let count = 120_u8;
    for i in 0..count {
        a.network.send(b.id(), vec![i; LONG_BYTES_MIN]).unwrap();
        b.network.send(a.id(), vec![i; LONG_BYTES_MIN]).unwrap();
        a.pause(RETIRE_AFTER / 60).await;
    }

    for (node, other) in [(&mut a, b.id()), (&mut b, key(1).peer())] {
        let mut heard = Vec::new();
        while heard.len() < usize::from(count) {
            let (from, body) = node.frame().await;
            assert_eq!((from, body.len()), (other, LONG_BYTES_MIN));
            heard.push(body[0]);
        }
        heard.sort_unstable();
        assert_eq!(heard, (0..count).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_dial_to_a_connected_peer_makes_no_second_connection() {
    let (mut a, b) = Node::pair().await;

    a.network.dial(Some(b.id()), vec![b.address()]);
    a.network.dial(None, vec![b.address()]);
    a.until(|node| node.counter("duplicates") == 1).await;
    a.network.send(b.id(), vec![1]).unwrap();

    assert_eq!((a.links(), b.links()), (1, 1));
    assert_eq!((a.counter("admitted"), b.counter("admitted")), (1, 1));
}

#[tokio::test(flavor = "current_thread")]
async fn a_peer_that_starts_again_with_its_key_is_connected_at_once() {
    // Whatever the order of ids, and whoever dialled before: a connection to a dead process never wins.
    for (stays, restarts, stays_dials) in [(1, 2, true), (1, 2, false), (2, 1, true), (2, 1, false)] {
        let mut a = Node::start(stays).await;
        let id = key(restarts).peer();
        connect_with_a_peer_that_dies(&mut a, restarts, stays_dials).await;
        assert_eq!(a.links(), 1, "a sees only silence");

        let mut b = Node::start(restarts).await;
        b.dial(&a);
        b.connected(a.id()).await;

        a.disconnected(id).await;
        a.connected(id).await;
        a.network.send(id, b"again".to_vec()).unwrap();
        assert_eq!(b.frame().await, (a.id(), b"again".to_vec()));
        a.until(|node| node.links() == 1).await;
    }
}

/// The peer runs on a thread of its own that stops for good once it is connected: unlike a dropped network, it leaves
/// no word behind, as a killed process.
async fn connect_with_a_peer_that_dies(a: &mut Node, seed: u8, a_dials: bool) {
    let (a_id, a_address) = (a.id(), a.address());
    let (tell_address, address) = oneshot::channel();
    let (tell_death, death) = oneshot::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut b = Node::start(seed).await;
            tell_address.send(b.address()).unwrap();
            if !a_dials {
                b.network.dial(Some(a_id), vec![a_address]);
            }
            b.connected(a_id).await;
            std::mem::forget(b);
        });
        std::mem::forget(runtime);
        tell_death.send(()).unwrap();
    });
    let id = key(seed).peer();
    let address = within("its address", address).await.unwrap();
    if a_dials {
        a.network.dial(Some(id), vec![address]);
    }
    a.connected(id).await;
    within("its death", death).await.unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn bulk_streams_carry_megabytes_both_ways_while_frames_flow() {
    const BYTES: usize = 8 * 1024 * 1024;
    let (a, mut b) = Node::pair().await;
    let (a_id, b_id) = (a.id(), b.id());
    let sent: Vec<u8> = (0..BYTES).map(|i| (i / 7) as u8).collect();

    let mut near = a.network.open_bulk(b_id).await.unwrap();
    near.write_all(b"!").await.unwrap();
    let mut far = b.bulk().await;
    assert_eq!(far.peer(), a_id);
    far.read_exact(&mut [0]).await.unwrap();
    let upload = exchange(near, sent.clone());
    let download = exchange(far, sent.clone());
    let frames = async {
        let mut turns = 0_u32;
        loop {
            a.network.send(b_id, turns.to_be_bytes().to_vec()).unwrap();
            assert_eq!(b.frame().await.1, turns.to_be_bytes());
            turns += 1;
        }
    };
    let received = tokio::select! {
        received = join_all([tokio::spawn(upload), tokio::spawn(download)]) => received,
        () = frames => unreachable!(),
        () = tokio::time::sleep(PATIENCE) => panic!("not done in time"),
    };

    assert!(b.counter("frames_in") > 10, "{}", b.counter("frames_in"));
    for received in received {
        assert!(received.unwrap() == sent);
    }
}

async fn exchange(stream: BulkStream, sent: Vec<u8>) -> Vec<u8> {
    let (mut reading, mut writing) = tokio::io::split(stream);
    let write = async {
        writing.write_all(&sent).await.unwrap();
        writing.shutdown().await.unwrap();
    };
    let mut received = Vec::new();
    let (read, ()) = tokio::join!(reading.read_to_end(&mut received), write);
    read.unwrap();
    received
}

#[tokio::test(flavor = "current_thread")]
async fn a_burst_of_bulk_streams_is_served_by_turns() {
    let (a, mut b) = Node::pair().await;
    let (a_id, b_id) = (a.id(), b.id());
    let echo = tokio::spawn(async move {
        for _ in 0..50 {
            let mut stream = b.bulk().await;
            tokio::spawn(async move {
                let mut said = Vec::new();
                stream.read_to_end(&mut said).await.unwrap();
                stream.write_all(&said).await.unwrap();
                stream.shutdown().await.unwrap();
            });
        }
        b
    });

    let asked = (0..50_u8).map(|i| {
        let network = a.network.clone();
        async move {
            let mut stream = network.open_bulk(b_id).await.unwrap();
            stream.write_all(&[i]).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut said = Vec::new();
            stream.read_to_end(&mut said).await.unwrap();
            assert_eq!(said, [i]);
        }
    });
    within("all answers", join_all(asked)).await;

    let b = within("all streams", echo).await.unwrap();
    assert_eq!(b.counter("streams_refused"), 0);
    assert_eq!(b.id(), b_id);
    assert_eq!(a.id(), a_id);
}

#[tokio::test(flavor = "current_thread")]
async fn a_neighbour_that_does_not_read_is_cut_off() {
    let (mut a, b) = Node::pair().await;
    let b_id = b.id();
    let frame = vec![0; LONG_BYTES_MIN - 1];

    // `b` takes no events; the frames pile up in its sockets, its windows, and then here.
    let mut sent = 0;
    let error = loop {
        match a.network.send(b_id, frame.clone()) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
        assert!(sent < 100_000, "nothing bounds the queue");
        tokio::task::yield_now().await;
    };

    assert_eq!(error, SendError::Full(b_id));
    a.disconnected(b_id).await;
    assert_eq!(a.counter("cut_off"), 1);
}

#[tokio::test(flavor = "current_thread")]
async fn a_neighbour_that_does_not_read_long_messages_is_cut_off() {
    let (mut a, b) = Node::pair().await;
    let b_id = b.id();

    let mut sent = 0;
    let error = loop {
        match a.network.send(b_id, vec![0; MESSAGE_BYTES_MAX]) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
        assert!(sent < 10_000, "nothing bounds the queue");
        tokio::task::yield_now().await;
    };

    assert_eq!(error, SendError::Full(b_id));
    a.disconnected(b_id).await;
    assert_eq!(a.counter("cut_off"), 1);
}

#[tokio::test(flavor = "current_thread")]
async fn neighbours_over_the_limit_are_refused() {
    let mut config = config(1, certificate_for(&mesh(), &key(1)).sign(&Issuer::of(&mesh())));
    config.peers_max = 1;
    let mut a = Node::from_config(config).await;
    let (mut b, mut c) = (Node::start(2).await, Node::start(3).await);

    b.dial(&a);
    a.connected(b.id()).await;
    b.connected(a.id()).await;
    c.dial(&a);
    let refused = a.refused().await;

    assert!(refused.contains("as many neighbours"), "{refused}");
    c.dial_failed().await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_port_in_use_is_a_clear_error() {
    let a = Node::start(1).await;
    let mut config = config(2, certificate_for(&mesh(), &key(2)).sign(&Issuer::of(&mesh())));
    config.listen = vec![a.address()];

    let error = Network::start(config).await.map(|_| ()).unwrap_err();

    assert!(matches!(error, NetworkError::AddressInUse { .. }), "{error}");
    assert!(error.to_string().contains(&a.address()), "{error}");
    assert!(error.hint().contains("another port"), "{}", error.hint());
}

#[tokio::test(flavor = "current_thread")]
async fn addresses_that_are_no_quic_addresses_are_clear_errors() {
    for bad in ["127.0.0.1:7700", "/ip4/127.0.0.1/tcp/7700"] {
        let mut config = config(2, certificate_for(&mesh(), &key(2)).sign(&Issuer::of(&mesh())));
        config.listen = vec![bad.into()];

        let error = Network::start(config).await.map(|_| ()).unwrap_err();

        assert!(matches!(error, NetworkError::BadAddress { .. }), "{error}");
        assert!(error.to_string().contains(bad), "{error}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn an_address_of_another_machine_is_a_clear_error() {
    let mut config = config(2, certificate_for(&mesh(), &key(2)).sign(&Issuer::of(&mesh())));
    config.listen = vec!["/ip4/203.0.113.77/udp/0/quic-v1".into()];

    let error = Network::start(config).await.map(|_| ()).unwrap_err();

    assert!(matches!(error, NetworkError::Listen { .. }), "{error}");
}

#[tokio::test(flavor = "current_thread")]
async fn nobody_is_sent_to_who_is_not_connected() {
    let a = Node::start(1).await;
    let nobody = key(9).peer();

    assert_eq!(a.network.send(nobody, vec![1]), Err(SendError::NotConnected(nobody)));
    assert_eq!(a.network.open_bulk(nobody).await.unwrap_err(), BulkError::NotConnected(nobody));
}

#[tokio::test(flavor = "current_thread")]
async fn a_host_is_dialled_by_name_and_keeps_the_address_it_was_given() {
    let (mut a, b) = (Node::start(1).await, Node::start(2).await);
    let by_name = b.address().replace("/ip4/127.0.0.1/", "/dns4/localhost/");

    a.network.dial(None, vec![by_name.clone()]);

    assert_eq!(a.connected(b.id()).await, Some(by_name));
}

#[tokio::test(flavor = "current_thread")]
async fn failed_dials_are_answered() {
    let (mut a, b) = (Node::start(1).await, Node::start(2).await);
    let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let silent = format!("/ip4/127.0.0.1/udp/{}/quic-v1", free.local_addr().unwrap().port());

    a.network.dial(Some(key(9).peer()), vec![b.address()]);
    let (_, other_peer) = a.dial_failed().await;
    a.network.dial(None, vec!["nonsense".into()]);
    let (_, nonsense) = a.dial_failed().await;
    a.network.dial(None, vec![a.address()]);
    let (_, own) = a.dial_failed().await;
    a.network.dial(None, vec![silent.clone()]);
    let (_, nobody) = a.dial_failed().await;

    assert_eq!(other_peer, format!("another peer answers there: {}", b.id()));
    assert!(nonsense.contains("not a multiaddress"), "{nonsense}");
    assert!(own.contains("this peer's own"), "{own}");
    assert!(nobody.contains(&silent), "{nobody}");
}

fn key(seed: u8) -> SecretKey {
    SecretKey::from_bytes(&[seed; 32])
}

fn mesh() -> SecretKey {
    key(200)
}

pub(super) fn certificate_for(mesh: &SecretKey, node: &SecretKey) -> MemberCertificate {
    MemberCertificate {
        mesh: mesh.mesh(),
        peer: node.peer(),
        name: format!("peer-{}", node.peer().short()),
        role: Role::Edge,
        labels: BTreeMap::new(),
        not_before_unix_s: 0,
        expires_unix_s: u64::MAX,
        serial: 1,
    }
}

fn config(seed: u8, certificate: Chain) -> NetworkConfig {
    NetworkConfig {
        listen: vec![LOOPBACK.into()],
        mdns: false,
        mdns_interval: Duration::from_secs(2),
        announce: Vec::new(),
        reachable: true,
        relay: true,
        peers_max: 8,
        congestion: Congestion::default(),
        node_key: Zeroizing::new([seed; 32]),
        mesh: mesh().mesh(),
        certificate,
        office: None,
    }
}

fn framed(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes(), body].concat()
}

#[track_caller]
fn within<T>(what: &'static str, future: impl Future<Output = T>) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    async move {
        let result = timeout(PATIENCE, future).await;
        result.unwrap_or_else(|_| panic!("waited in vain for {what} at {caller}"))
    }
}

/// A network with a memory for events that a test has not asked for yet.
struct Node {
    network: Network,
    events: mpsc::Receiver<NetworkEvent>,
    seen: Vec<NetworkEvent>,
}

impl Node {
    async fn start(seed: u8) -> Self {
        Self::start_with(seed, certificate_for(&mesh(), &key(seed)).sign(&Issuer::of(&mesh()))).await
    }

    async fn start_with(seed: u8, certificate: Chain) -> Self {
        Self::from_config(config(seed, certificate)).await
    }

    async fn from_config(config: NetworkConfig) -> Self {
        let (network, events) = Network::start(config).await.unwrap();
        Self { network, events, seen: Vec::new() }
    }

    async fn pair() -> (Self, Self) {
        Self::pair_of(1, 2).await
    }

    async fn pair_of(dialler: u8, listener: u8) -> (Self, Self) {
        let (mut a, mut b) = (Self::start(dialler).await, Self::start(listener).await);
        a.dial(&b);
        a.connected(b.id()).await;
        b.connected(a.id()).await;
        (a, b)
    }

    fn id(&self) -> PeerId {
        self.network.local_peer()
    }

    fn address(&self) -> String {
        self.network.local_addresses()[0].clone()
    }

    fn dial(&self, other: &Self) {
        self.network.dial(Some(other.id()), vec![other.address()]);
    }

    fn counter(&self, name: &str) -> u64 {
        self.network.counters().into_iter().find(|(counter, _)| *counter == name).unwrap().1
    }

    fn links(&self) -> usize {
        self.network.shared.links().all().count()
    }

    /// The first event that `pick` takes; the others stay for later.
    #[track_caller]
    fn next<T>(
        &mut self,
        what: &'static str,
        pick: impl Fn(&NetworkEvent) -> bool,
        take: impl Fn(NetworkEvent) -> T,
    ) -> impl Future<Output = T> {
        let caller = std::panic::Location::caller();
        async move {
            if let Some(at) = self.seen.iter().position(&pick) {
                return take(self.seen.remove(at));
            }
            let deadline = tokio::time::Instant::now() + PATIENCE;
            loop {
                let event = tokio::time::timeout_at(deadline, self.events.recv()).await;
                let event = event.unwrap_or_else(|_| panic!("no {what} at {caller}; seen: {:?}", self.seen));
                let event = event.unwrap_or_else(|| panic!("closed before {what} at {caller}"));
                if pick(&event) {
                    return take(event);
                }
                self.seen.push(event);
            }
        }
    }

    #[track_caller]
    fn connected(&mut self, peer: PeerId) -> impl Future<Output = Option<String>> {
        self.next(
            "Connected",
            move |event| matches!(event, NetworkEvent::Connected { member, .. } if member.peer == peer),
            |event| match event {
                NetworkEvent::Connected { address, .. } => address,
                _ => unreachable!(),
            },
        )
    }

    #[track_caller]
    fn disconnected(&mut self, gone: PeerId) -> impl Future<Output = ()> {
        self.next(
            "Disconnected",
            move |event| matches!(event, NetworkEvent::Disconnected { peer } if *peer == gone),
            |_| (),
        )
    }

    #[track_caller]
    fn frame(&mut self) -> impl Future<Output = (PeerId, Vec<u8>)> {
        self.next(
            "Frame",
            |event| matches!(event, NetworkEvent::Frame { .. }),
            |event| match event {
                NetworkEvent::Frame { from, body } => (from, body),
                _ => unreachable!(),
            },
        )
    }

    #[track_caller]
    fn bulk(&mut self) -> impl Future<Output = BulkStream> {
        self.next(
            "Bulk",
            |event| matches!(event, NetworkEvent::Bulk { .. }),
            |event| match event {
                NetworkEvent::Bulk { stream, .. } => stream,
                _ => unreachable!(),
            },
        )
    }

    #[track_caller]
    fn discovered(&mut self) -> impl Future<Output = (Option<PeerId>, String)> {
        self.next(
            "Discovered",
            |event| matches!(event, NetworkEvent::Discovered { .. }),
            |event| match event {
                NetworkEvent::Discovered { peer, address } => (peer, address),
                _ => unreachable!(),
            },
        )
    }

    #[track_caller]
    fn refused(&mut self) -> impl Future<Output = String> {
        self.next(
            "Refused",
            |event| matches!(event, NetworkEvent::Refused { .. }),
            |event| match event {
                NetworkEvent::Refused { reason, .. } => reason,
                _ => unreachable!(),
            },
        )
    }

    #[track_caller]
    fn dial_failed(&mut self) -> impl Future<Output = (Option<PeerId>, String)> {
        self.next(
            "DialFailed",
            |event| matches!(event, NetworkEvent::DialFailed { .. }),
            |event| match event {
                NetworkEvent::DialFailed { peer, reason, .. } => (peer, reason),
                _ => unreachable!(),
            },
        )
    }

    /// Waits until something is so, whatever else happens meanwhile.
    async fn until(&mut self, is_so: impl Fn(&Self) -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !is_so(self) {
            assert!(tokio::time::Instant::now() < deadline, "it never became so; seen: {:?}", self.seen);
            self.pause(Duration::from_millis(5)).await;
        }
    }

    /// Lets time pass while events come in.
    async fn pause(&mut self, time: Duration) {
        while let Ok(Some(event)) = timeout(time, self.events.recv()).await {
            self.seen.push(event);
        }
    }
}

/// A peer that gets through the handshake and then says whatever a test wants.
struct RawPeer {
    id: PeerId,
    connection: quinn::Connection,
    _probe: Probe,
}

impl RawPeer {
    async fn connect(seed: u8, to: &Node) -> Self {
        Self::connect_with(seed, certificate_for(&mesh(), &key(seed)).sign(&Issuer::of(&mesh())), to).await
    }

    async fn connect_with(seed: u8, certificate: Chain, to: &Node) -> Self {
        let probe = Probe::new([127, 0, 0, 1].into(), key(seed), mesh().mesh(), &certificate).unwrap();
        let port: u16 = to.address().split('/').nth(4).and_then(|port| port.parse().ok()).unwrap();
        let connecting = probe.connect(([127, 0, 0, 1], port).into()).unwrap();
        let connection = within("a handshake", connecting).await.unwrap();
        Self { id: key(seed).peer(), connection, _probe: probe }
    }

    /// One that is a neighbour, and its control stream.
    async fn greeted(seed: u8, to: &mut Node) -> (Self, quinn::SendStream) {
        let raw = Self::connect(seed, to).await;
        let mut control = Kind::Control.open(&raw.connection).await.unwrap();
        control.write_all(&framed(&greeting(Run(1)))).await.unwrap();
        to.connected(raw.id).await;
        (raw, control)
    }

    /// Waits for the other side to close, and returns its words.
    async fn closed(&self) -> String {
        match within("the close", self.connection.closed()).await {
            quinn::ConnectionError::ApplicationClosed(close) => String::from_utf8(close.reason.to_vec()).unwrap(),
            other => other.to_string(),
        }
    }
}
