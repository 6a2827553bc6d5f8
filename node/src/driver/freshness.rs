//! The age of the revocation lists: whoever signs does so anew before its list is old, and every peer notices when none that
//! it holds is young.
//!
//! A mesh in which nobody has signed a list yet has none to be old.

use std::time::Duration;

use shoal_protocol::certificate::SignedRevocations;
use shoal_protocol::membership::REVOCATIONS_FRESH;
use shoal_protocol::{Input, Time};

use super::beside::Done;
use super::{Driver, unix_time};

/// A list is signed anew at this age: one that misses three in a row is still young.
const SIGN_EVERY: Duration = REVOCATIONS_FRESH.checked_div(4).expect("four is not zero");
/// Between two looks at whether this peer's own list is due.
const LOOK_EVERY: Duration = Duration::from_secs(600);

#[derive(Debug, Default)]
pub(crate) struct Freshness {
    looked: Time,
    is_stale: bool,
}

impl Driver {
    /// Each second.
    pub(super) fn look_at_the_age_of_revocations(&mut self) {
        let now_unix_s = unix_time().as_secs();
        let youngest = self.peer.revocations().youngest_unix_s();
        let is_stale = is_older(youngest, now_unix_s, REVOCATIONS_FRESH);
        if is_stale != self.freshness.is_stale {
            self.freshness.is_stale = is_stale;
            self.handle(Input::RevocationsAged { is_stale });
            if is_stale {
                tracing::warn!("no revocation list here is younger than a day: restricted tasks are refused");
            }
        }
        let now = self.clock.now();
        if now.since(self.freshness.looked) >= LOOK_EVERY && self.office.is_issuer() {
            self.freshness.looked = now;
            let held = self.peer.revocations().lists().cloned().collect();
            let office = self.office.clone();
            self.beside.start(async move {
                let signed = office.sign_revocations(held, SIGN_EVERY).await;
                Done::Relisted(signed.map(|list| list.map(Box::new)).map_err(|error| error.to_string()))
            });
        }
    }

    pub(super) fn on_relisted(&mut self, signed: Result<Option<Box<SignedRevocations>>, String>) {
        let mesh = self.identity.mesh;
        let verify = |list: Box<SignedRevocations>| list.verify(mesh).map_err(|error| error.to_string());
        match signed.and_then(|list| list.map(verify).transpose()) {
            Ok(Some(verified)) => self.handle(Input::Revoked(Box::new(verified))),
            Ok(None) => {}
            Err(why) => tracing::warn!(why, "the revocation list is not signed anew: in a day restricted tasks stop"),
        }
    }
}

/// Whether what was signed then is beyond an age now; what was never signed is not, nor what a clock ahead of ours signed.
fn is_older(signed_unix_s: Option<u64>, now_unix_s: u64, age: Duration) -> bool {
    signed_unix_s.is_some_and(|signed| now_unix_s.saturating_sub(signed) > age.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_old_after_a_day_and_no_list_never_is() {
        let day = REVOCATIONS_FRESH.as_secs();

        assert_eq!(
            [None, Some(1_000), Some(999)].map(|at| is_older(at, 1_000 + day, REVOCATIONS_FRESH)),
            [false, false, true]
        );
        assert!(!is_older(Some(2_000), 1_000, REVOCATIONS_FRESH), "a clock may be behind");
    }
}
