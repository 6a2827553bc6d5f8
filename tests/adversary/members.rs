//! Members that abuse what membership gives them.

use super::*;

/// The first stream of a link, and the greeting that opens it.
async fn greeted(connection: &quinn::Connection) -> quinn::SendStream {
    greeted_both_ways(connection).await.0
}

/// The same, with what the daemon says after its own greeting.
pub(super) async fn greeted_both_ways(connection: &quinn::Connection) -> (quinn::SendStream, quinn::RecvStream) {
    let mut control = connection.open_uni().await.unwrap();
    let hello = shoal_protocol::message::Hello { run: 1, software: String::new() }.encode();
    control.write_all(&[0xC1]).await.unwrap();
    control.write_all(&framed(&hello)).await.unwrap();
    // Its answer: the link is open.
    let mut answer = connection.accept_uni().await.unwrap();
    let mut prefix = [0; 5];
    answer.read_exact(&mut prefix).await.unwrap();
    let [_kind, length @ ..] = prefix;
    answer.read_exact(&mut vec![0; u32::from_be_bytes(length) as usize]).await.unwrap();
    (control, answer)
}

pub(super) fn framed(body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len()).unwrap().to_be_bytes(), body].concat()
}

#[test]
fn adversary_member_that_never_says_a_word() {
    run(async {
        let target = Target::new().await;
        let (_probe, connection) = target.traitor().await;
        let refused = target.counter("strangers_refused").await;

        target.stands("a member that does not greet", connection.closed()).await;

        target.counts("strangers_refused", refused).await;
        target.audits_a_refusal().await;
    });
}

#[test]
fn adversary_member_that_announces_a_frame_without_end() {
    run(async {
        let target = Target::new().await;
        let (_probe, connection) = target.traitor().await;
        let attack = async {
            let mut control = greeted(&connection).await;
            control.write_all(&u32::MAX.to_be_bytes()).await.unwrap();
            connection.closed().await
        };

        target.stands("a frame of 4 GiB", attack).await;
        target.audits_garbage().await;
    });
}

#[test]
fn adversary_member_that_says_what_nobody_understands() {
    run(async {
        let target = Target::new().await;
        let (_probe, connection) = target.traitor().await;
        let attack = async {
            let mut control = greeted(&connection).await;
            for n in 0..2_000_u32 {
                let noise: Vec<u8> = (0..n % 300).map(|at| (at * n % 256) as u8).collect();
                if control.write_all(&framed(&[&[1], noise.as_slice()].concat())).await.is_err() {
                    break;
                }
            }
        };

        target.stands("2,000 frames of noise", attack).await;
        target.audits_garbage().await;
    });
}

#[test]
fn adversary_member_that_opens_streams_without_end() {
    run(async {
        let target = Target::new().await;
        let (_probe, connection) = target.traitor().await;
        let attack = async {
            let _control = greeted(&connection).await;
            let patience = Duration::from_millis(100);
            // As many as it is let, of each kind, each with some bytes and no end.
            let mut both = Vec::new();
            while let Ok(Ok((mut send, receive))) = tokio::time::timeout(patience, connection.open_bi()).await {
                let _ = send.write_all(b"\xB1and?").await;
                both.push((send, receive));
            }
            let mut held = Vec::new();
            while let Ok(Ok(mut stream)) = tokio::time::timeout(patience, connection.open_uni()).await {
                let _ = stream.write_all(b"\xA1\0\x03\xFF\xFFmore to come").await;
                held.push(stream);
            }
            (held.len(), both.len())
        };

        let (one_way, both_ways) = target.stands("streams without end", attack).await;

        println!("{one_way} streams of one direction and {both_ways} of both were let");
        assert!(one_way <= 64 && both_ways <= 64);
    });
}

#[test]
fn adversary_member_that_sends_long_messages_by_halves() {
    run(async {
        let target = Target::new().await;
        let (_probe, connection) = target.traitor().await;
        let attack = async {
            let _control = greeted(&connection).await;
            for _ in 0..500 {
                let Ok(mut stream) = connection.open_uni().await else { break };
                let _ = stream.write_all(b"\xA1\0\x03\xFF\xFF").await;
                let _ = stream.write_all(&[7; 1_000]).await;
                let _ = stream.finish();
            }
        };

        target.stands("500 long messages without their ends", attack).await;
    });
}

#[test]
fn adversary_member_that_connects_again_and_again() {
    run(async {
        let target = Target::new().await;
        let attack = async {
            for _ in 0..40 {
                let (_probe, connection) = target.traitor().await;
                let _control = greeted(&connection).await;
                connection.close(0_u32.into(), b"");
            }
        };

        target.stands("forty connections that come and go", attack).await;
        target.audits("a member", |it| matches!(it, Happening::Joined { name, .. } if name == "attacker")).await;
    });
}
