//! The listening half of hole punching: datagrams to where the other side will dial from, so that our NAT lets it in.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use tokio::time::sleep;

/// Datagrams come after pauses of at least and at most so long: regular ones could miss those of the other side for ever.
const PAUSE_MIN_MS: u64 = 10;
const PAUSE_MAX_MS: u64 = 200;
/// Any length that is no QUIC packet (RFC 9000, 14.1).
const DATAGRAM_BYTES: usize = 64;

/// Sends until it is dropped; ends only with an error.
pub(super) async fn punch(socket: UdpSocket, to: SocketAddr) -> io::Error {
    loop {
        let mut noise = [0; DATAGRAM_BYTES];
        if let Err(error) = getrandom::fill(&mut noise) {
            return io::Error::other(error.to_string());
        }
        match socket.send_to(&noise, to) {
            Ok(_) => {}
            // The socket is shared with an endpoint and never blocks: what cannot be sent now will be.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return error,
        }
        let [random, ..] = noise;
        let pause_ms = PAUSE_MIN_MS + u64::from(random) * (PAUSE_MAX_MS - PAUSE_MIN_MS) / u64::from(u8::MAX);
        sleep(Duration::from_millis(pause_ms)).await;
    }
}
