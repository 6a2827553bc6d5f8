//! A noisy answer, as it leaves: with what it costs, whom it protects, and how far off it is likely to be.

use core::fmt;

use serde::{Deserialize, Serialize};

use super::accounting::epsilon_of;
use super::decimal::Decimal;
use super::declaration::{DatasetName, Terms};
use super::query::{Measurement, Noise, Query, RequestId, Strength};
use crate::api::schema;
use crate::id::PeerId;

/// Digits behind the point of an ε that is told.
const EPSILON_PLACES: u32 = 6;

/// A release: the same bytes whenever the same is asked again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// [`crate::api::SCHEMA`].
    #[serde(default = "schema")]
    pub schema: String,
    /// Of which data set.
    pub dataset: DatasetName,
    /// Who keeps its budget, and made this.
    pub keeper: PeerId,
    /// The request: the same again is answered by the same.
    pub request: RequestId,
    /// What was asked.
    pub query: Query,
    /// With which noise.
    pub noise: Noise,
    /// The answer.
    pub figures: Vec<Figure>,
    /// How it was blurred.
    pub mechanism: String,
    /// The unit of privacy.
    pub protects: String,
    /// Its ε.
    pub epsilon: Decimal,
    /// Its δ; 0 where it is purely ε-differentially private.
    pub delta: Decimal,
    /// Its ρ, where that is what is counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rho: Option<Decimal>,
}

/// One number of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figure {
    /// What it is of: `sum`, a group, `10 to 20`.
    pub name: String,
    /// The noisy value.
    pub value: Decimal,
    /// Of the value: `kWh`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unit: String,
    /// With a probability of 95 % or more the value is off by no more than this.
    pub error_95: Decimal,
    /// What that is counted in: the unit of the value, or rows of rank.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error_unit: String,
}

impl Release {
    /// The release of these figures.
    pub fn new(keeper: PeerId, request: RequestId, measurement: &Measurement<'_>, figures: Vec<Figure>) -> Self {
        let terms: &Terms = measurement.terms;
        let (epsilon, delta, rho) = match measurement.strength {
            Strength::Epsilon(epsilon) => (epsilon.decimal(), Decimal::default(), None),
            Strength::Rho(rho) => {
                // Gaussian noise is refused by budgets without δ.
                let delta = terms.budget.delta.unwrap_or_default();
                (Decimal::above(epsilon_of(rho, delta), EPSILON_PLACES), delta, Some(rho.decimal()))
            }
        };
        let mechanism = match (&measurement.query, measurement.strength) {
            (Query::Quantile { .. }, _) => "exponential mechanism over a declared grid",
            (_, Strength::Epsilon(_)) => "discrete Laplace noise",
            (_, Strength::Rho(_)) => "discrete Gaussian noise",
        };
        Self {
            schema: schema(),
            dataset: terms.declared.name.clone(),
            keeper,
            request,
            query: measurement.query.clone(),
            noise: measurement.noise,
            figures,
            mechanism: mechanism.into(),
            protects: terms.protects(),
            epsilon,
            delta,
            rho,
        }
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for figure in &self.figures {
            let Figure { name, value, unit, error_95, error_unit } = figure;
            let space = |unit: &str| if unit.is_empty() { String::new() } else { format!(" {unit}") };
            writeln!(f, "{}/{name} {value}{} ± {error_95}{} (95 %)", self.dataset, space(unit), space(error_unit))?;
        }
        let rho = self.rho.map_or_else(String::new, |rho| format!(" (ρ = {rho})"));
        writeln!(f, "privacy: ε = {}, δ = {}{rho}, by {}", self.epsilon, self.delta, self.mechanism)?;
        write!(f, "protects: {}", self.protects)
    }
}
