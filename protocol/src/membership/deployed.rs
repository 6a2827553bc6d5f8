//! Which business rules are in force, and how a new set travels.
//!
//! ```text
//! set ─► verified, on disk ─► later than what is held? ─► in force ─► a few neighbours are pinged: "I hold this"
//! ping, pong: "what I hold" ─► later than ours? ─► we ask for it ─► they send it
//! ```
//!
//! Whoever lacks a set asks for it, so that it goes to nobody who does not read it: a version before this one says nothing of
//! sets, and is sent none.
//!
//! **Invariant:** an earlier set never replaces a later one; a set is on disk before it is in force.
//! **Not here:** signatures and disks, which are the driver's; what rules say, which is `rules/`.

use core::time::Duration;
use std::collections::BTreeMap;

use super::{Lent, Membership};
use crate::id::PeerId;
use crate::message::{Message, RulesWord};
use crate::output::{Event, Output};
use crate::rng::some_of;
use crate::rules::{Compiled, Head, SignedRules, VerifiedRules};
use crate::time::Time;

/// Neighbours that hear of a new set at once, as of a revocation.
const TOLD_OF_RULES: usize = 16;
/// Sets that are being verified, each for a fraction of a millisecond.
const VERIFYING_MAX: usize = 4;
/// Neighbours asked for one set within [`ASKED_AGAIN_AFTER`]: a set has 48 kB at most, and one answer is enough.
const ASKED_MAX: usize = 3;
const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The set that is in force.
#[derive(Debug)]
pub struct RulesHeld {
    /// The rules.
    pub rules: Compiled,
    /// Which issuer has signed them.
    pub signer: PeerId,
    /// As they travel.
    pub signed: SignedRules,
    head: Head,
}

/// What this peer knows of business rules.
#[derive(Debug, Default)]
pub struct Deployed {
    held: Option<RulesHeld>,
    verifying: usize,
    /// Who was asked for a set, and when.
    asked: BTreeMap<PeerId, Time>,
}

impl Deployed {
    /// The set that is in force.
    pub fn held(&self) -> Option<&RulesHeld> {
        self.held.as_ref()
    }
}

impl Membership {
    /// What is known of business rules.
    pub fn deployed(&self) -> &Deployed {
        &self.deployed
    }

    /// Whether a set replaces the one in force.
    pub fn replaces(&self, verified: &VerifiedRules) -> bool {
        self.trusts(verified.signer) && verified.head() > self.rules_head()
    }

    fn trusts(&self, signer: PeerId) -> bool {
        !self.revocations.issuers().contains(&signer)
    }

    /// The set that is passed on: not one whose signer is trusted no more. That one stays in force until any other comes,
    /// whatever its version.
    fn rules_to_tell(&self) -> Option<&RulesHeld> {
        self.deployed.held.as_ref().filter(|held| self.trusts(held.signer))
    }

    /// What is said of it in pings; 0 is none.
    pub(super) fn rules_head(&self) -> Head {
        self.rules_to_tell().map_or(0, |held| held.head)
    }

    /// A neighbour says which set it holds: a later one than ours is asked for.
    pub(super) fn compare_rules(&mut self, lent: &mut Lent<'_>, from: PeerId, theirs: Head) {
        let now = lent.now;
        if theirs <= self.rules_head() {
            return;
        }
        let asked = &mut self.deployed.asked;
        asked.retain(|_, at| now.since(*at) < ASKED_AGAIN_AFTER);
        if asked.len() < ASKED_MAX && asked.insert(from, now).is_none() {
            lent.out.send(from, Message::Rules(Box::new(RulesWord::Wanted)));
        }
    }

    /// A neighbour asks for our set, or sends its own.
    pub fn rules_word(&mut self, lent: &mut Lent<'_>, from: PeerId, word: RulesWord) {
        match word {
            RulesWord::Wanted => {
                if let Some(held) = self.rules_to_tell() {
                    lent.out.send(from, Message::Rules(Box::new(RulesWord::Here(held.signed.clone()))));
                }
            }
            RulesWord::Here(signed) => {
                let is_later = signed.claim().is_some_and(|head| head > self.rules_head());
                if is_later && self.deployed.verifying < VERIFYING_MAX {
                    self.deployed.verifying += 1;
                    lent.out.push(Output::VerifyRules { from, signed: Box::new(signed) });
                }
            }
        }
    }

    /// There is a verdict on a set that was sent.
    pub fn rules_judged(&mut self) {
        self.deployed.verifying = self.deployed.verifying.saturating_sub(1);
    }

    /// A set proved genuine and is on disk; whether it is in force now.
    pub fn deploy(&mut self, lent: &mut Lent<'_>, verified: VerifiedRules) -> bool {
        if !self.replaces(&verified) {
            return false;
        }
        let head = verified.head();
        let VerifiedRules { signer, set, signed } = verified;
        let version = set.version;
        self.deployed.held = Some(RulesHeld { rules: Compiled::new(set), signer, signed, head });
        self.deployed.asked.clear();
        lent.out.notify(Event::RulesDeployed { version });
        for peer in some_of(lent.rng, self.others_alive(&[]), TOLD_OF_RULES) {
            self.ping_now(lent, peer);
        }
        true
    }
}
