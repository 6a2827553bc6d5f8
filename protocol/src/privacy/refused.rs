//! Why there is no release.

use serde::{Deserialize, Serialize};

use super::accounting::Measure;
use super::decimal::Decimal;
use crate::api::codes;

/// Why a keeper does not declare or release what it is asked to. None of these has cost anything, but for [`Refused::BadData`]
/// and [`Refused::Trouble`]: what was reserved for a request stays reserved, and the same request does not pay again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Refused {
    /// Nobody has declared it at this peer.
    #[error("there is no data set `{name}` at {}", .keeper.as_deref().unwrap_or("this peer"))]
    NoDataset {
        /// What was asked for.
        name: String,
        /// Where, if not at the peer that was asked.
        keeper: Option<String>,
    },
    /// What is left does not pay for it.
    #[error(transparent)]
    Spent(Box<Spent>),
    /// The name stands for something else already.
    #[error("{what} `{name}` is declared already, in other words")]
    DeclaredOtherwise {
        /// A data set or a population.
        what: String,
        /// Which.
        name: String,
    },
    /// A declaration that guarantees nothing, or nothing that can be kept.
    #[error("the declaration cannot be taken: {why}")]
    BadDeclaration {
        /// What is wrong with it.
        why: String,
    },
    /// A question that this data set does not answer.
    #[error("this cannot be asked: {why}")]
    BadQuery {
        /// What is wrong with it.
        why: String,
    },
    /// Other data than the declaration names.
    #[error("data set `{name}` is about other data: {why}")]
    OtherData {
        /// Which.
        name: String,
        /// What was given, and what is wanted.
        why: String,
    },
    /// Rows that are not of the form they must have.
    #[error("the rows cannot be read: {why}")]
    BadData {
        /// Where, and what is wrong; never what stands there.
        why: String,
    },
    /// As much is kept as may be.
    #[error("this peer keeps {limit} {what} already")]
    Full {
        /// Of what.
        what: String,
        /// How many.
        limit: u64,
    },
    /// As many releases are being made as may be.
    #[error("this peer is making {limit} releases already")]
    Busy {
        /// How many.
        limit: u64,
    },
    /// The one peer that keeps the ledger cannot be asked now.
    #[error("{keeper} keeps the budget of this data set, and does not answer: {why}")]
    Away {
        /// Its name, or the beginning of its id.
        keeper: String,
        /// What came of asking.
        why: String,
    },
    /// The ledger's disk, or randomness.
    #[error("the keeper cannot do it: {why}")]
    Trouble {
        /// What is wrong.
        why: String,
    },
}

/// A budget that is not enough.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("the budget of {whose} is spent: {asked} of {measure} is asked, {left} of {limit} is left{}", until(.ends_in_s))]
pub struct Spent {
    /// `data set street`, or `population street`.
    pub whose: String,
    /// What the release costs.
    pub asked: Decimal,
    /// What may still be spent.
    pub left: Decimal,
    /// The whole budget.
    pub limit: Decimal,
    /// What all of them are counted in.
    pub measure: Measure,
    /// When the window ends and the budget is whole again; never where absent.
    pub ends_in_s: Option<u64>,
}

fn until(ends_in_s: &Option<u64>) -> String {
    ends_in_s.map_or_else(String::new, |seconds| format!("; it is whole again in {seconds} s"))
}

impl Refused {
    /// Its stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoDataset { .. } => codes::NO_DATASET,
            Self::Spent(_) => codes::BUDGET_SPENT,
            Self::DeclaredOtherwise { .. } => codes::DECLARED_OTHERWISE,
            Self::BadDeclaration { .. } | Self::BadQuery { .. } | Self::OtherData { .. } | Self::BadData { .. } => {
                codes::BAD_RELEASE
            }
            Self::Full { .. } | Self::Busy { .. } => codes::OVERLOADED,
            Self::Away { .. } => codes::KEEPER_AWAY,
            Self::Trouble { .. } => codes::STORE,
        }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::NoDataset { .. } => {
                "see what is declared: `shoal privacy status`; name the peer that keeps it: NAME@PEER".into()
            }
            Self::Spent(_) => {
                "ask for less (a smaller --epsilon or --rho), or the very same question again, which costs nothing; \
                 see `shoal privacy status`"
                    .into()
            }
            Self::DeclaredOtherwise { .. } => {
                "a declaration is for good: a budget that can be changed is none; see it with `shoal privacy status`"
                    .into()
            }
            Self::BadDeclaration { .. } | Self::BadQuery { .. } => "see docs/privacy.md".into(),
            Self::OtherData { .. } => "leave --data out: the data set names its own".into(),
            Self::BadData { .. } => "each line is `subject,value` or `subject,value,group`; see docs/privacy.md".into(),
            Self::Full { .. } => "releases are kept until their window ends; use a data set with a window".into(),
            Self::Busy { .. } => "try again in a moment".into(),
            Self::Away { .. } => "try again when it is back: `shoal peers`; nobody else may answer in its place".into(),
            Self::Trouble { .. } => {
                "check the disk of the keeper, then ask the same again: it is not paid twice".into()
            }
        }
    }

    /// Whether the very same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Busy { .. } | Self::Away { .. } | Self::Trouble { .. } => true,
            Self::Spent(spent) => spent.ends_in_s.is_some(),
            Self::NoDataset { .. }
            | Self::DeclaredOtherwise { .. }
            | Self::BadDeclaration { .. }
            | Self::BadQuery { .. }
            | Self::OtherData { .. }
            | Self::BadData { .. }
            | Self::Full { .. } => false,
        }
    }
}
