//! Bulk streams: beside frames, many at once, and no more than there may be.

use futures::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::limits::BULK_IN_MAX;
use super::*;

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
