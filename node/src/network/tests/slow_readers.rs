//! Neighbours that do not read what they are sent.

use super::*;

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
