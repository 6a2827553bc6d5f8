//! Dials: by name, and those that come to nothing.

use super::*;

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
