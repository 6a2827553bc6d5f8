//! What may be asked of a data set, with which noise, and what that costs.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use super::accounting::{Amount, Cost};
use super::decimal::Decimal;
use super::declaration::Terms;
use super::refused::Refused;
use crate::cbor;
use crate::id::BlobId;

/// Figures of one release: cells of a histogram, and groups.
pub const CELLS_MAX: usize = 256;
/// Points that a quantile is chosen from: a draw takes as many tries, at most.
pub const GRID_MAX: i128 = 1_024;
/// Points of the grid where no step is named.
const GRID_DEFAULT: i128 = 100;
/// Digits of a quantile's share behind the point.
const SHARE_PLACES_MAX: u32 = 4;
/// Length of a question in words.
const QUERY_BYTES_MAX: usize = 8 * 1_024;

/// A question. In words: `count`, `subjects`, `sum`, `mean`, `histogram` (of the declared groups), `histogram:10,20` (of
/// values below 10, from 10 to below 20, from 20), `quantile:0.5`, `quantile:0.5:0.1` (in steps of 0.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Query {
    /// How many rows.
    Count,
    /// How many subjects.
    Subjects,
    /// The sum of the values.
    Sum,
    /// Their mean: a noisy sum over a noisy count.
    Mean,
    /// Rows by group; or by value, between these edges.
    Histogram(Vec<Decimal>),
    /// The value that this share of the rows is at most, chosen from a grid by the exponential mechanism.
    Quantile {
        /// 0.5 for the median.
        share: Decimal,
        /// Between the points of the grid; a hundredth of the bounds where absent.
        step: Option<Decimal>,
    },
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count => f.write_str("count"),
            Self::Subjects => f.write_str("subjects"),
            Self::Sum => f.write_str("sum"),
            Self::Mean => f.write_str("mean"),
            Self::Histogram(edges) => {
                f.write_str("histogram")?;
                edges
                    .iter()
                    .enumerate()
                    .try_for_each(|(index, edge)| write!(f, "{}{edge}", if index == 0 { ':' } else { ',' }))
            }
            Self::Quantile { share, step: None } => write!(f, "quantile:{share}"),
            Self::Quantile { share, step: Some(step) } => write!(f, "quantile:{share}:{step}"),
        }
    }
}

impl FromStr for Query {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            let shown: String = text.chars().take(80).collect();
            format!(
                "`{shown}` is no question: use count, subjects, sum, mean, histogram[:EDGE,…], quantile:SHARE[:STEP]"
            )
        };
        if text.len() > QUERY_BYTES_MAX {
            return Err(wrong());
        }
        let mut parts = text.split(':');
        let query = match (parts.next().unwrap_or_default(), parts.next(), parts.next()) {
            ("count", None, None) => Self::Count,
            ("subjects", None, None) => Self::Subjects,
            ("sum", None, None) => Self::Sum,
            ("mean", None, None) => Self::Mean,
            ("histogram", None, None) => Self::Histogram(Vec::new()),
            ("histogram", Some(edges), None) => {
                Self::Histogram(edges.split(',').map(Decimal::parse).collect::<Option<_>>().ok_or_else(wrong)?)
            }
            ("quantile", Some(share), step) => {
                let step = step.map(|step| Decimal::parse(step).ok_or_else(wrong)).transpose()?;
                Self::Quantile { share: Decimal::parse(share).ok_or_else(wrong)?, step }
            }
            _ => return Err(wrong()),
        };
        if parts.next().is_some() { Err(wrong()) } else { Ok(query) }
    }
}

impl TryFrom<String> for Query {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Query> for String {
    fn from(query: Query) -> Self {
        query.to_string()
    }
}

/// Which noise, by what it costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Noise {
    /// Discrete Laplace noise of this ε (for a quantile, the exponential mechanism).
    Epsilon(Decimal),
    /// Discrete Gaussian noise of this ρ.
    Rho(Decimal),
}

/// A request, by what it is about: the same rows of the same data set, the same question, the same noise.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RequestId([u8; 16]);

impl RequestId {
    /// The request for this, of these rows.
    pub fn of(terms: &Terms, data: BlobId, query: &Query, noise: Noise) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("shoal 2026-11 release of a statistic");
        hasher.update(&cbor::encode(&(&terms.declared, data, query, noise)));
        let mut id = [0; 16];
        hasher.finalize_xof().fill(&mut id);
        Self(id)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({self})")
    }
}

impl TryFrom<String> for RequestId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).map_err(|_| "no id of a request")?;
        Ok(Self(bytes.try_into().map_err(|_| "no id of a request")?))
    }
}

impl From<RequestId> for String {
    fn from(id: RequestId) -> Self {
        id.to_string()
    }
}

/// The noise, as amounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strength {
    Epsilon(Amount),
    Rho(Amount),
}

/// The points a quantile is chosen from: so many, from the lower bound, so many steps of the resolution apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grid {
    pub(super) step: i128,
    pub(super) points: i128,
}

/// A question that this data set answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measurement<'a> {
    pub(super) terms: &'a Terms,
    pub(super) query: Query,
    pub(super) noise: Noise,
    pub(super) strength: Strength,
    /// Edges of the cells of a histogram, in steps of the resolution.
    pub(super) edges: Vec<i128>,
    pub(super) grid: Grid,
}

fn bad(why: impl Into<String>) -> Refused {
    Refused::BadQuery { why: why.into() }
}

impl<'a> Measurement<'a> {
    /// The question, if it can be asked of these terms.
    pub fn new(terms: &'a Terms, query: Query, noise: Noise) -> Result<Self, Refused> {
        let strength = match noise {
            Noise::Epsilon(epsilon) => Amount::of(epsilon).map(Strength::Epsilon),
            Noise::Rho(rho) => Amount::of(rho).map(Strength::Rho),
        };
        let strength = strength.ok_or_else(|| bad("ε or ρ is above 0 and at most 100"))?;
        let mut measurement =
            Self { terms, query, noise, strength, edges: Vec::new(), grid: Grid { step: 1, points: 1 } };
        match &measurement.query {
            Query::Count | Query::Subjects | Query::Sum | Query::Mean => {}
            Query::Histogram(edges) => measurement.edges = cells(terms, edges)?,
            Query::Quantile { share, step } => {
                measurement.grid = grid(terms, *share, *step)?;
                if matches!(strength, Strength::Rho(_)) {
                    return Err(bad("a quantile is chosen, not blurred: ask for it with ε"));
                }
            }
        }
        if measurement.cost().in_measure(terms.budget.measure).is_none() {
            return Err(bad("the budget of this data set is pure ε: ask with ε"));
        }
        if terms.population.is_some_and(|budget| measurement.cost().in_measure(budget.measure).is_none()) {
            return Err(bad("the budget of its population is pure ε: ask with ε"));
        }
        Ok(measurement)
    }

    /// What its answer costs.
    pub fn cost(&self) -> Cost {
        match (&self.query, self.strength) {
            (Query::Quantile { .. }, Strength::Epsilon(epsilon)) => Cost::of_choice(epsilon),
            (_, Strength::Epsilon(epsilon)) => Cost::of_pure(epsilon),
            (_, Strength::Rho(rho)) => Cost::of_rho(rho),
        }
    }

    /// How many figures its answer has.
    pub fn figures(&self) -> usize {
        match &self.query {
            Query::Histogram(edges) if edges.is_empty() => self.terms.declared.groups.len(),
            Query::Histogram(edges) => edges.len() + 1,
            Query::Count | Query::Subjects | Query::Sum | Query::Mean | Query::Quantile { .. } => 1,
        }
    }
}

fn cells(terms: &Terms, edges: &[Decimal]) -> Result<Vec<i128>, Refused> {
    if edges.is_empty() && terms.declared.groups.is_empty() {
        return Err(bad("the data set declares no groups: name edges, as histogram:10,20"));
    }
    if edges.len() >= CELLS_MAX {
        return Err(bad(format!("a histogram has at most {CELLS_MAX} cells")));
    }
    let whole = |edge: &Decimal| terms.declared.value.steps(*edge).map_err(bad);
    let steps: Vec<i128> = edges.iter().map(whole).collect::<Result<_, _>>()?;
    if steps.iter().zip(steps.iter().skip(1)).any(|(edge, next)| edge >= next) {
        return Err(bad("the edges of a histogram rise"));
    }
    Ok(steps)
}

fn grid(terms: &Terms, share: Decimal, step: Option<Decimal>) -> Result<Grid, Refused> {
    if share.parts() < 0 || share.parts() > Decimal::new(1, 0).parts() || share.places() > SHARE_PLACES_MAX {
        return Err(bad(format!("the share of a quantile is 0 to 1, with {SHARE_PLACES_MAX} digits behind the point")));
    }
    let width = terms.upper - terms.lower;
    let step = match step {
        Some(step) => terms.declared.value.steps(step).map_err(bad)?,
        None => (width + GRID_DEFAULT - 1) / GRID_DEFAULT,
    };
    if step <= 0 || width / step >= GRID_MAX {
        return Err(bad(format!("a quantile is chosen from at most {GRID_MAX} points: make its step larger")));
    }
    Ok(Grid { step, points: width / step + 1 })
}

#[cfg(test)]
mod tests {
    use super::super::declaration::tests::declaration;
    use super::*;

    fn asked(query: &str, noise: Noise) -> Result<Cost, String> {
        let terms = declaration().check().unwrap();
        let measurement = Measurement::new(&terms, query.parse()?, noise).map_err(|error| error.to_string())?;
        Ok(measurement.cost())
    }

    fn epsilon(text: &str) -> Noise {
        Noise::Epsilon(text.parse().unwrap())
    }

    #[test]
    fn a_question_is_the_words_for_it() {
        for text in
            ["count", "subjects", "sum", "mean", "histogram", "histogram:10,20.5", "quantile:0.5", "quantile:0.25:2"]
        {
            assert_eq!(text.parse::<Query>().unwrap().to_string(), text);
        }
        for wrong in ["", "median", "sum:1", "histogram:", "histogram:a", "quantile", "quantile:x", "quantile:0.5:1:2"]
        {
            assert!(wrong.parse::<Query>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_question_costs_what_its_noise_costs() {
        assert_eq!(asked("sum", epsilon("0.1")).unwrap().rho, Amount(5_000_000_000));
        assert_eq!(asked("quantile:0.5", epsilon("0.1")).unwrap().rho, Amount(1_250_000_000));
        for (query, noise, words) in [
            ("sum", epsilon("0"), "above 0"),
            ("sum", Noise::Rho("0.1".parse().unwrap()), "pure ε"),
            ("quantile:0.5", Noise::Rho("0.1".parse().unwrap()), "chosen"),
            ("quantile:1.5", epsilon("0.1"), "0 to 1"),
            ("quantile:0.5:0.01", epsilon("0.1"), "whole number of steps"),
            ("quantile:0.5:-1", epsilon("0.1"), "larger"),
            ("histogram:20,10", epsilon("0.1"), "rise"),
        ] {
            let error = asked(query, noise).unwrap_err();
            assert!(error.contains(words), "{query}: {error}");
        }
    }

    #[test]
    fn a_request_is_known_by_all_that_it_is_about() {
        let terms = declaration().check().unwrap();
        let mut others = declaration();
        others.rows_per_subject = 8;
        let others = others.check().unwrap();
        let (one, two) = (BlobId([1; 32]), BlobId([2; 32]));
        let id = |terms, data, query: &str, noise| RequestId::of(terms, data, &query.parse().unwrap(), epsilon(noise));

        let all = [
            id(&terms, one, "sum", "0.1"),
            id(&others, one, "sum", "0.1"),
            id(&terms, two, "sum", "0.1"),
            id(&terms, one, "mean", "0.1"),
            id(&terms, one, "sum", "0.2"),
        ];

        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len());
        assert_eq!(id(&terms, one, "sum", "0.10"), all[0], "however it was written");
        let text = serde_json::to_string(&all[0]).unwrap();
        assert_eq!(serde_json::from_str::<RequestId>(&text).unwrap(), all[0]);
    }
}
