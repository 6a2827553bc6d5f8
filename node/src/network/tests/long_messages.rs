//! Messages that are too long for a frame, and lengths that nobody may announce.

use shoal_protocol::config::FRAME_BYTES_MAX;

use super::*;

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
