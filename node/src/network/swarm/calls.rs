//! When a neighbour that is reached through a relay is called directly.
//!
//! It may be reachable itself, from here if not from everywhere; libp2p only tries the way from it to us, and once. What
//! stood in the way may be over: its NAT was not known yet, or its address was, and the call came too early.

use std::time::Duration;

use libp2p::Multiaddr;
use tokio::time::Instant;

use super::super::limits::{CALL_AGAIN_AFTER, CALL_PAUSE_MAX};

/// Where such a neighbour says that it is, and when it is called there next.
#[derive(Debug, Default)]
pub(super) struct Calls {
    addresses: Vec<Multiaddr>,
    next: Option<Instant>,
    pause: Duration,
}

impl Calls {
    /// The neighbour says that it is here; at another place than before it is called at once.
    pub(super) fn said(&mut self, now: Instant, addresses: Vec<Multiaddr>) {
        if addresses != self.addresses {
            *self = Self { addresses, next: Some(now), pause: CALL_AGAIN_AFTER };
        }
    }

    /// Where to call now, if it is time; the next call comes after twice the pause.
    pub(super) fn due(&mut self, now: Instant) -> Option<&[Multiaddr]> {
        if self.addresses.is_empty() || self.next.is_none_or(|next| now < next) {
            return None;
        }
        self.next = Some(now + self.pause);
        self.pause = (self.pause * 2).min(CALL_PAUSE_MAX);
        Some(&self.addresses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> Vec<Multiaddr> {
        vec![format!("/ip4/198.18.0.2/udp/{port}/quic-v1").parse().unwrap()]
    }

    #[test]
    fn calls_become_rarer_until_the_address_changes() {
        let (mut calls, mut now) = (Calls::default(), Instant::now());
        assert_eq!(calls.due(now), None, "nothing was said");
        calls.said(now, at(1));
        let mut pauses = Vec::new();
        for _ in 0..12 {
            assert_eq!(calls.due(now), Some(at(1).as_slice()));
            let pause = calls.next.unwrap() - now;
            assert_eq!(calls.due(now + pause - Duration::from_millis(1)), None);
            now += pause;
            pauses.push(pause);
        }
        assert_eq!((pauses[0], pauses[1], pauses[11]), (CALL_AGAIN_AFTER, CALL_AGAIN_AFTER * 2, CALL_PAUSE_MAX));

        assert!(calls.due(now).is_some());
        calls.said(now, at(1));
        assert_eq!(calls.due(now), None, "the same again is no news");
        calls.said(now, at(2));
        assert_eq!(calls.due(now), Some(at(2).as_slice()));
    }
}
