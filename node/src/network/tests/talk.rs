//! Members that connect, and what they say to each other.

use super::*;

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
async fn nobody_is_sent_to_who_is_not_connected() {
    let a = Node::start(1).await;
    let nobody = key(9).peer();

    assert_eq!(a.network.send(nobody, vec![1]), Err(SendError::NotConnected(nobody)));
    assert_eq!(a.network.open_bulk(nobody).await.unwrap_err(), BulkError::NotConnected(nobody));
}
