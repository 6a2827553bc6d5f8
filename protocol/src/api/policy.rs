//! Business rules as the API shows them and takes them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::schema;
use crate::certificate::CertificateError;
use crate::id::PeerId;
use crate::membership::RulesHeld;
use crate::rules::{Rule, SignedRules};

/// `GET /v1/policy`: the rules that are in force here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicyView {
    /// [`super::SCHEMA`].
    #[serde(default = "schema")]
    pub schema: String,
    /// Which set; 0 where none was ever deployed.
    pub version: u64,
    /// The issuer that has signed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<PeerId>,
    /// When it was signed, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_unix_s: Option<u64>,
    /// Since when it is in force here, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_force_unix_s: Option<u64>,
    /// How far ahead of UTC the clocks are that its hours are read from.
    #[serde(default)]
    pub utc_offset_min: i16,
    /// The share of each uplink that all data may take over the WAN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wan_share: Option<f64>,
    /// The share of each uplink that blobs may take to one neighbour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link_share: Option<f64>,
    /// The rules, in order.
    pub rules: Vec<RuleView>,
    /// The signed set, as [`SignedRules::to_bytes`] in base64.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub signed: String,
}

/// One rule, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleView {
    /// Its name.
    pub name: String,
    /// Where it stands in the file that was deployed.
    pub line: u32,
    /// Which tasks it is about.
    pub when: String,
    /// What holds for them.
    pub then: String,
}

impl RuleView {
    /// A rule in words.
    pub fn of(rule: &Rule) -> Self {
        let (when, then) = (rule.when.to_string(), rule.then.to_string());
        Self { name: rule.name.clone(), line: rule.line, when, then }
    }
}

impl PolicyView {
    /// What is held.
    pub fn of(held: Option<&RulesHeld>, in_force_unix_s: Option<u64>) -> Self {
        let set = held.map(|held| held.rules.set());
        Self {
            schema: schema(),
            version: set.map_or(0, |set| set.version),
            issuer: held.map(|held| held.signer),
            issued_unix_s: set.map(|set| set.issued_unix_s),
            in_force_unix_s,
            utc_offset_min: set.map_or(0, |set| set.utc_offset_min),
            wan_share: set.and_then(|set| set.wan_share),
            link_share: set.and_then(|set| set.link_share),
            rules: set.map(|set| set.rules.iter().map(RuleView::of).collect()).unwrap_or_default(),
            signed: held.map(|held| STANDARD.encode(held.signed.to_bytes())).unwrap_or_default(),
        }
    }
}

/// `POST /v1/policy`: a signed set to be put in force and passed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployRequest {
    /// As in [`PolicyView::signed`].
    pub signed: String,
}

impl DeployRequest {
    /// The request that hands in a set.
    pub fn of(signed: &SignedRules) -> Self {
        Self { signed: STANDARD.encode(signed.to_bytes()) }
    }

    /// What is handed in.
    pub fn read(&self) -> Result<SignedRules, CertificateError> {
        let unreadable = |why: String| CertificateError::Unreadable { what: "set of rules", why };
        let bytes = STANDARD.decode(&self.signed).map_err(|error| unreadable(error.to_string()))?;
        SignedRules::from_bytes(&bytes)
    }
}
