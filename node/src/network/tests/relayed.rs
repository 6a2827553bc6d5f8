//! Peers that are called through a third one.

use super::*;

/// A member that relays if it may, at an address it announces.
async fn announced(seed: u8, relay: bool) -> Node {
    for _ in 0..20 {
        // Free a moment ago: an address must be known before it can be announced.
        let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let address = format!("/ip4/127.0.0.1/udp/{}/quic-v1", free.port());
        let config = NetworkConfig { listen: vec![address.clone()], announce: vec![address], relay, ..member(seed) };
        match Network::start(config).await {
            Err(NetworkError::AddressInUse { .. }) => {}
            started => return Node::of(started.unwrap()),
        }
    }
    panic!("every port is taken at once");
}

async fn relay(seed: u8) -> Node {
    announced(seed, true).await
}

fn member(seed: u8) -> NetworkConfig {
    config(seed, certificate_for(&mesh(), &key(seed)).sign(&Issuer::of(&mesh())))
}

/// One that takes itself for hidden, connected with the relay, and where it can be called through it.
async fn hidden_behind(relay: &mut Node, seed: u8) -> (Node, String) {
    let mut node = Node::from_config(NetworkConfig { reachable: false, ..member(seed) }).await;
    node.dial(relay);
    node.connected(relay.id()).await;
    relay.connected(node.id()).await;
    let circuit = circuit_of(&mut node).await;
    (node, circuit)
}

async fn circuit_of(node: &mut Node) -> String {
    let is_circuit = |event: &NetworkEvent| matches!(event, NetworkEvent::Listening { address } if is_circuit(address));
    node.next("a relay", is_circuit, |event| match event {
        NetworkEvent::Listening { address } => address,
        _ => unreachable!(),
    })
    .await
}

fn is_circuit(address: &str) -> bool {
    address.contains("/p2p-circuit")
}

#[tokio::test(flavor = "current_thread")]
async fn a_hidden_member_is_called_through_a_relay_and_the_link_moves_to_a_direct_connection() {
    let mut relay = relay(1).await;
    let (mut hidden, circuit) = hidden_behind(&mut relay, 2).await;
    let mut caller = Node::start(3).await;
    // It knows where it is seen, which a punch needs.
    caller.dial(&relay);
    caller.connected(relay.id()).await;
    relay.connected(caller.id()).await;
    caller.pause(Duration::from_millis(1_000)).await;

    assert_eq!(caller.network.is_relayed(hidden.id()), None, "nobody has chosen to connect them");
    caller.network.dial(Some(hidden.id()), vec![circuit]);
    caller.connected(hidden.id()).await;
    hidden.connected(caller.id()).await;
    assert_eq!((caller.counter("relayed"), hidden.counter("relayed")), (1, 1));
    // Frames under way while the link moves.
    let mut sent = 0_u32;
    while caller.network.is_relayed(hidden.id()) != Some(false) || caller.links() > 2 || sent < 100 {
        assert!(sent < 2_000, "it stays relayed");
        caller.network.send(hidden.id(), sent.to_be_bytes().to_vec()).unwrap();
        sent += 1;
        caller.pause(Duration::from_millis(10)).await;
        hidden.pause(Duration::ZERO).await;
        relay.pause(Duration::ZERO).await;
    }

    let mut heard = Vec::new();
    for _ in 0..sent {
        heard.push(u32::from_be_bytes(hidden.frame().await.1.try_into().unwrap()));
    }
    heard.sort_unstable();
    assert_eq!(heard, (0..sent).collect::<Vec<_>>());
    assert_eq!(relay.counter("circuits"), 1);
    // Each side hears of it in its own time, however it came: here a call gets through as well.
    let mut waited = 0;
    while hidden.network.is_relayed(caller.id()) != Some(false) {
        waited += 1;
        assert!(waited < 1_000, "only one side has moved");
        caller.pause(Duration::from_millis(10)).await;
        hidden.pause(Duration::ZERO).await;
        relay.pause(Duration::ZERO).await;
    }
    for node in [&caller, &hidden] {
        assert!(node.seen.iter().all(|event| !matches!(event, NetworkEvent::Disconnected { .. })), "{:?}", node.seen);
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_relay_that_goes_is_replaced_by_another() {
    let (mut first, mut second) = (relay(1).await, relay(2).await);
    let (mut hidden, circuit) = hidden_behind(&mut first, 3).await;
    assert!(circuit.starts_with(&first.address()), "{circuit}");

    hidden.dial(&second);
    hidden.connected(second.id()).await;
    second.connected(hidden.id()).await;
    let circuit = circuit_of(&mut hidden).await;
    assert!(circuit.starts_with(&second.address()), "{circuit}");
    first.network.close().await;
    let gone = |event: &NetworkEvent| matches!(event, NetworkEvent::AddressGone { .. });
    let gone = hidden.next("the end of an address", gone, |event| format!("{event:?}")).await;

    assert!(gone.contains(&first.address()) && is_circuit(&gone), "{gone}");
    assert!(hidden.network.local_addresses().contains(&circuit));
}

#[tokio::test(flavor = "current_thread")]
async fn a_member_that_does_not_relay_is_not_asked_to() {
    let mut no_relay = announced(1, false).await;
    let mut hidden = Node::from_config(NetworkConfig { reachable: false, ..member(2) }).await;
    hidden.dial(&no_relay);
    hidden.connected(no_relay.id()).await;
    no_relay.connected(hidden.id()).await;

    hidden.discovered().await;
    hidden.pause(Duration::from_millis(300)).await;

    assert!(!hidden.network.local_addresses().iter().any(|address| is_circuit(address)));
}

#[tokio::test(flavor = "current_thread")]
async fn holders_of_a_blob_are_found_through_others() {
    let (mut a, mut b) = Node::pair().await;
    let mut c = Node::start(3).await;
    c.dial(&b);
    c.connected(b.id()).await;
    b.connected(c.id()).await;
    let blob = shoal_protocol::BlobId([7; 32]);
    for node in [&mut a, &mut b, &mut c] {
        // Identify has said who keeps records.
        node.discovered().await;
    }

    a.network.provide(blob).unwrap();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let found = loop {
        let found = c.network.find_providers(blob).await.unwrap();
        if !found.is_empty() {
            break found;
        }
        assert!(tokio::time::Instant::now() < deadline, "nobody is found");
        b.pause(Duration::from_millis(20)).await;
    };

    assert_eq!(found, [a.id()]);
    c.connected(a.id()).await;
    let unknown = c.network.find_providers(shoal_protocol::BlobId([8; 32])).await.unwrap();
    assert_eq!(unknown, []);
}
