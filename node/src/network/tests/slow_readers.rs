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
async fn long_messages_that_have_no_room_are_dropped_and_the_connection_stays() {
    let (a, mut b) = Node::pair().await;

    let mut sent = 0;
    let error = loop {
        match a.network.send(b.id(), vec![0; MESSAGE_BYTES_MAX]) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
        assert!(sent < 10_000, "nothing bounds the queue");
    };
    assert_eq!(error, SendError::Full(b.id()));
    assert_eq!((a.counter("cut_off"), a.counter("long_dropped")), (0, 1));
    for _ in 0..sent {
        assert_eq!(b.frame().await.1.len(), MESSAGE_BYTES_MAX);
    }
    a.network.send(b.id(), b"still here".to_vec()).unwrap();

    assert_eq!(b.frame().await.1, b"still here");
}

/// As when a neighbour comes back to which the ends of a hundred tasks are due.
#[tokio::test(flavor = "current_thread")]
async fn much_may_be_due_to_a_neighbour_at_once() {
    let (a, mut b) = Node::pair().await;

    for _ in 0..100 {
        a.network.send(b.id(), vec![0; LONG_BYTES_MIN]).unwrap();
    }

    for _ in 0..100 {
        assert_eq!(b.frame().await.1.len(), LONG_BYTES_MIN);
    }
}
