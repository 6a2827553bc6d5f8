//! How far other peers are: measured round trips, and coordinates for everyone else.

use serde::{Deserialize, Serialize};

/// A Vivaldi coordinate (Dabek et al., SIGCOMM 2004): eight dimensions and a height, all in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Coordinate {
    /// Position, in milliseconds.
    #[serde(rename = "v")]
    pub position_ms: [f32; 8],
    /// The part of every path that is the peer's own access link, in milliseconds.
    #[serde(rename = "h")]
    pub height_ms: f32,
    /// A correction learnt from recent residuals (Ledlie et al., NSDI 2007), in milliseconds.
    #[serde(rename = "a")]
    pub adjustment_ms: f32,
    /// How wrong the peer believes this to be: 0 (sure) to 1 (no idea).
    #[serde(rename = "e")]
    pub error: f32,
}
