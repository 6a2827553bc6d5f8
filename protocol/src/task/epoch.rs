//! Numbers of attempts that never come twice, though none of them is written to disk before it is used.
//!
//! ```text
//! epoch = round of the ballot (13 bits) · start of the peer (20 bits) · attempt since then (20 bits)
//! ```
//!
//! **Invariant:** whoever places a task later uses greater epochs: the start of a peer is counted on disk before it
//! decides anything, and the round of a ballot is promised by a majority before its owner does. All of it fits the
//! 53 bits that a reader of JSON can rely on.

const ATTEMPT_BITS: u32 = 20;
const BOOT_BITS: u32 = 20;
const ROUND_BITS: u32 = 13;

/// The last epoch before the attempts of a peer in this round and since this start; 0 for tasks that are kept in memory
/// only, which no other start and no other peer will ever place.
pub fn before_first(round: u32, boot: u32) -> u64 {
    let round = u64::from(round.min((1 << ROUND_BITS) - 1));
    let boot = u64::from(boot.min((1 << BOOT_BITS) - 1));
    (round << BOOT_BITS | boot) << ATTEMPT_BITS
}

/// Which attempt it is, from 1, as people count.
pub fn attempt(epoch: u64) -> u32 {
    (epoch & ((1 << ATTEMPT_BITS) - 1)) as u32
}

/// A number that no attempt has: of a fetch for what is to be kept. It counts the fetches of one start.
pub fn of_no_attempt(number: u32) -> u64 {
    u64::from(number) << ATTEMPT_BITS
}

/// Whether it is one of those.
pub fn is_of_no_attempt(epoch: u64) -> bool {
    attempt(epoch) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_grow_with_attempts_starts_and_rounds() {
        let in_order = [before_first(0, 0) + 1, before_first(0, 1) + 1, before_first(0, 1) + 2, before_first(1, 0) + 1];

        assert!(in_order.is_sorted());
        assert_eq!(in_order.map(attempt), [1, 1, 2, 1]);
        assert!(before_first(u32::MAX, u32::MAX) < 1 << 53);
        assert!(is_of_no_attempt(of_no_attempt(u32::MAX)) && of_no_attempt(u32::MAX) < 1 << 53);
        assert!(!in_order.into_iter().any(is_of_no_attempt));
    }
}
