//! A stage of a pipeline that is a release: what it reads goes to the keeper of a data set, and a noisy statistic comes back.

use serde::{Deserialize, Serialize};

use super::query::{Noise, Query};
use super::release::Release;

/// What such a stage asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// The data set, and the peer that keeps it, unless that is the one where the pipeline was handed in: `street@nas`.
    pub dataset: String,
    /// What is asked.
    pub query: Query,
    /// With which noise.
    pub noise: Noise,
    /// What the output looks like.
    #[serde(default)]
    pub format: Format,
}

/// What a release looks like as the output of a stage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Lines for people.
    #[default]
    Text,
    /// One object: a [`Release`].
    Json,
}

impl Format {
    /// The output.
    pub fn render(self, release: &Release) -> String {
        match self {
            Self::Text => format!("{release}\n"),
            // No type of it refuses to be serialised.
            Self::Json => serde_json::to_string(release).map(|line| line + "\n").unwrap_or_default(),
        }
    }
}
