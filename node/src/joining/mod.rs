//! Becoming a member and staying one: invitations, the certificates this peer has signed, and the way in for a machine that
//! has a ticket.
//!
//! | file | one question |
//! |---|---|
//! | `office.rs` | may this machine in, and what is it given? |
//! | `office/` | who is invited, what becomes of who knocks, and what is signed for members? |
//! | `ledger.rs` | what has been promised and signed, on disk before anything of it leaves? |
//! | `issuer.rs` | does this peer sign for the mesh, and with which key? |
//! | `pending.rs` | who waits for a person's yes? |
//! | `words.rs` | six words that two people can compare |
//! | `offenders.rs` | who has tried too often without the secret? |
//! | `arrival.rs` | how does this machine join? |
//! | `contacts.rs` | whom does it turn to afterwards? |
//!
//! **Invariant:** "used" is on disk before a certificate leaves, and one ticket makes as many members as it says.
//! **Not here:** connections. Those are `crate::network`.

pub mod arrival;
mod contacts;
mod error;
mod issuer;
mod ledger;
mod offenders;
mod office;
mod pending;
mod words;

pub(crate) use error::OfficeError;
pub use ledger::LedgerError;
pub(crate) use ledger::{LIFE_S, LIFE_S_MAX, TTL_S_MAX, USES_MAX, renewal_due_unix_s, signed_unix_s};
pub use office::Office;
pub(crate) use office::{Decision, Invitation, Visitor};
pub(crate) use pending::Verdict;
pub(crate) use words::six_words;

#[cfg(test)]
mod tests;

/// Certificates are valid from a little before they are signed, because clocks differ.
pub(crate) const CLOCK_SKEW_S: u64 = 300;
/// Two clocks that differ by more are worth a word.
pub(crate) const CLOCK_WORD_S: u64 = 30;
