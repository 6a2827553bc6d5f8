//! Statistics within a privacy budget, in the local API.
//!
//! | request | body | answer |
//! |---|---|---|
//! | `POST /v1/privacy/datasets` | [`Declaration`] | [`DatasetView`], once it is on disk; the same again is the same data set |
//! | `GET /v1/privacy/datasets` | | [`super::Listing`] of [`DatasetView`]: what is declared at this peer |
//! | `POST /v1/privacy/releases` | [`ReleaseRequest`] | [`Release`], once it is on disk at its keeper with what it cost |
//!
//! ```json
//! {"dataset": "street@nas", "query": "mean", "noise": {"epsilon": "0.1"}}
//! ```
//!
//! The same request about the same rows is answered by the same release, at no cost.

use serde::{Deserialize, Serialize};

use super::{InputRequest, schema};
use crate::id::PeerId;
use crate::privacy::accounting::Measure;
use crate::privacy::{Decimal, Declaration, Noise, Query};

/// A release that is wanted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseRequest {
    /// The data set: its name, and behind an `@` the peer that keeps it, unless that is this one.
    pub dataset: String,
    /// What is asked.
    pub query: Query,
    /// With which noise: what it costs.
    pub noise: Noise,
    /// The rows, where the declaration names none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<InputRequest>,
}

/// A data set that is declared here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetView {
    /// [`super::SCHEMA`].
    #[serde(default = "schema")]
    pub schema: String,
    /// Who keeps its budget.
    pub keeper: PeerId,
    /// What was declared.
    pub declared: Declaration,
    /// What may be spent in this window.
    pub budget: BudgetView,
    /// The same of its population, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub population: Option<BudgetView>,
    /// Requests that were paid for and are kept.
    pub releases: u64,
}

/// How a budget stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetView {
    /// What it is counted in: `epsilon` or `rho`.
    pub measure: Measure,
    /// The whole of it.
    pub limit: Decimal,
    /// What was spent in this window.
    pub spent: Decimal,
    /// What may still be spent.
    pub left: Decimal,
    /// The δ that goes with it, where it is counted in ρ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delta: Option<Decimal>,
    /// The ε of what was spent, where that is counted in ρ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spent_epsilon: Option<Decimal>,
    /// Until the window ends and the budget is whole again, in seconds; never where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_in_s: Option<u64>,
}
