//! Two peers keep one connection, however often they dial and whoever starts again.

use super::super::limits::RETIRE_AFTER;
use super::*;

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
    // One that nothing was heard on for a while may be dead.
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while a.counter("duplicates") == 0 {
        assert!(tokio::time::Instant::now() < deadline, "it was never turned away");
        b.network.send(a.id(), vec![0]).unwrap();
        a.pause(Duration::from_millis(20)).await;
    }
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
