//! The daemon's configuration.

use serde::{Deserialize, Serialize};

use super::schema;

/// The daemon's configuration and where each value came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigView {
    /// [`super::SCHEMA`].
    #[serde(default = "schema")]
    pub schema: String,
    /// In the order of the file format.
    pub values: Vec<ConfigValue>,
}

/// One configured value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigValue {
    /// `node.name`.
    pub key: String,
    /// As TOML.
    pub value: String,
    /// `default`, a file, an environment variable or `flag`.
    pub origin: String,
}
