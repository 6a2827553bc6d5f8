//! Statistics that leave only within a privacy budget: this peer as the one keeper of the data sets that were declared at it.
//!
//! | file | one question |
//! |---|---|
//! | `keeper.rs` | may this be released, and what is it? |
//! | `disk.rs` | is what was spent on disk before anything leaves? |
//! | `asked.rs` | how does a peer ask a keeper elsewhere? |
//!
//! **Invariant:** a data set has one ledger, at the peer where it was declared; a peer that cannot reach it refuses, and never
//! counts in its place. A release leaves only once it is on disk with what it cost.
//! **Not here:** the rules (`shoal_protocol::privacy`), and bringing rows here (`crate::driver`).

pub(crate) mod asked;
mod disk;
mod keeper;
#[cfg(test)]
mod tests;

pub(crate) use keeper::Keeper;
