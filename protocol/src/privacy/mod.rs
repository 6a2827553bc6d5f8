//! Statistics that leave only within a privacy budget: what is measured, how it is blurred, what that costs, who may still pay.
//!
//! ```text
//! rows ─► each subject's first k ─► clamped to declared bounds ─► whole numbers ─► exact noise ─► Release
//!         (rows.rs)                                               (aggregate.rs)   (sampling.rs)
//! request ─► cost (accounting.rs) ─► reserved in the ledger, on disk ─► … ─► the Release on disk ─► it may leave (ledger.rs)
//! ```
//!
//! *Neighbouring* data sets differ by one subject with all its rows, added or removed; that is the unit that is protected.
//!
//! | reference | what is taken from it |
//! |---|---|
//! | Canonne, Kamath, Steinke: The Discrete Gaussian for Differential Privacy (2020) | both samplers; (ε, δ) from ρ, section 2.3 |
//! | Bun, Steinke: Concentrated Differential Privacy (2016) | zCDP; ε-DP is ε²/2-zCDP; costs add up |
//! | McSherry, Talwar: Mechanism Design via Differential Privacy (2007) | the exponential mechanism, for quantiles |
//! | Cesar, Rogers: Bounding, Concentrating, and Truncating (2021) | what that mechanism costs: ε²/8 |
//!
//! **Invariant:** no floating-point number reaches a sampler, a clamped sum or the ledger. What people are told beside
//! the figures (intervals, ε from ρ) is rounded to the safe side.
//! **Not here:** files and randomness: the driver keeps the ledger, and hands in random bits.

pub mod accounting;
pub mod aggregate;
pub mod bits;
pub mod decimal;
pub mod declaration;
pub mod export;
pub mod ledger;
pub mod query;
pub mod refused;
pub mod release;
pub mod rows;
pub mod sampling;
pub mod words;

pub use self::decimal::Decimal;
pub use self::declaration::{BudgetTerms, DatasetName, Declaration, Population};
pub use self::export::Export;
pub use self::query::{Noise, Query};
pub use self::refused::{Refused, Spent};
pub use self::release::{Figure, Release};
