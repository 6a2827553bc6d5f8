//! What the transport says of the path to a neighbour. It sees every packet, and this peer only its own questions.
//!
//! **Invariant:** the share of lost packets is from 0 to 1.

use core::time::Duration;

use serde::{Deserialize, Serialize};

/// Packets that the estimate of what is lost reaches back to: at one lost in a hundred it is right within a third.
const MEMORY_PACKETS: f64 = 1_000.0;

/// What the transport has measured on the present connection to a neighbour (RFC 9002).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathSample {
    /// Its smoothed round trip.
    pub rtt: Duration,
    /// Packets sent since the connection began.
    pub sent_packets: u64,
    /// Packets of those that it takes for lost.
    pub lost_packets: u64,
}

/// How much of what is sent to a neighbour is lost.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Loss {
    sent_packets: u64,
    lost_packets: u64,
    share: f64,
}

impl Loss {
    /// Takes in what has happened since the last sample; whether anything was sent since then.
    pub(super) fn take(&mut self, sample: &PathSample) -> bool {
        if sample.sent_packets < self.sent_packets || sample.lost_packets < self.lost_packets {
            // Another connection, which counts anew; what its path loses is not forgotten.
            (self.sent_packets, self.lost_packets) = (0, 0);
        }
        let sent = sample.sent_packets - self.sent_packets;
        let lost = (sample.lost_packets - self.lost_packets).min(sent);
        // What is taken for lost was sent before: counted when something is sent again.
        if sent == 0 {
            return false;
        }
        (self.sent_packets, self.lost_packets) = (sample.sent_packets, sample.lost_packets);
        let weight = 1.0 - (1.0 - 1.0 / MEMORY_PACKETS).powf(sent as f64);
        self.share += weight * (lost as f64 / sent as f64 - self.share);
        true
    }

    /// The share of lost packets, once there were any to lose.
    pub(super) fn share(&self) -> Option<f64> {
        (self.sent_packets > 0).then_some(self.share)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample(sent_packets: u64, lost_packets: u64) -> PathSample {
        PathSample { rtt: Duration::from_millis(20), sent_packets, lost_packets }
    }

    fn share(loss: &Loss) -> f64 {
        loss.share().unwrap()
    }

    #[test]
    fn the_estimate_comes_to_what_is_lost_and_forgets_what_was() {
        let mut loss = Loss::default();
        for step in 1..=100 {
            assert!(loss.take(&sample(step * 100, step * 3)));
        }
        assert!((share(&loss) - 0.03).abs() < 1e-3, "{}", share(&loss));

        for step in 101..=200 {
            loss.take(&sample(step * 100, 300));
        }
        assert!(share(&loss) < 1e-4, "{}", share(&loss));
    }

    #[test]
    fn a_few_lost_packets_are_no_lossy_path() {
        let mut loss = Loss::default();

        loss.take(&sample(10, 5));

        assert!(share(&loss) < 0.01, "{}", share(&loss));
    }

    #[test]
    fn silence_says_nothing_and_a_new_connection_goes_on() {
        let mut loss = Loss::default();
        loss.take(&sample(10_000, 1_000));
        let before = share(&loss);

        assert!(!loss.take(&sample(10_000, 1_000)));
        assert!(loss.take(&sample(10, 1)));

        assert!((share(&loss) - before).abs() < 0.01, "{} {before}", share(&loss));
    }

    proptest! {
        #[test]
        fn whatever_a_transport_says_is_a_share(samples in prop::collection::vec((any::<u64>(), any::<u64>()), 0..20)) {
            let mut loss = Loss::default();
            for (sent, lost) in samples {
                loss.take(&sample(sent, lost));
                prop_assert!(loss.share().is_none_or(|share| (0.0..=1.0).contains(&share)));
            }
        }
    }
}
