//! Business rules on their way from peer to peer.

use serde::{Deserialize, Serialize};

use crate::rules::SignedRules;

/// What is said of business rules; to those only who say in their pings that they read them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RulesWord {
    /// Send me what you hold.
    #[serde(rename = "w")]
    Wanted,
    /// This is it.
    #[serde(rename = "h")]
    Here(SignedRules),
}
