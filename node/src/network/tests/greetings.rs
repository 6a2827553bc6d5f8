//! Members whose first words are none, or no greeting.

use super::super::limits::GREETING_BYTES_MAX;
use super::*;

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
