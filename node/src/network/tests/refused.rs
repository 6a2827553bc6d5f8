//! Who is not let in, and learns no more than that.

use super::*;

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
