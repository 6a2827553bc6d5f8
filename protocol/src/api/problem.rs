//! Errors, as a person and a program need them.

use serde::{Deserialize, Serialize};

/// An error, as a person and a program need it (RFC 9457 with Shoal's members).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Stable: `SH0412`.
    pub code: String,
    /// HTTP status.
    pub status: u16,
    /// One line: what happened.
    pub title: String,
    /// Why, with the figures.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hint: String,
    /// Whether the same request may succeed later.
    #[serde(default)]
    pub retryable: bool,
    /// When to try again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}
