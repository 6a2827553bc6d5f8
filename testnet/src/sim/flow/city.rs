//! What a city's sensors ask for in a day: readings every five minutes, recordings where traffic stands, a forecast each hour.
//!
//! Who is congested when is measured (METR-LA, `examples/data/city`); sizes and works are drawn.

use core::ops::Range;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use shoal_examples::held_back::CITY_DAYS;

/// Districts, each with two machines.
pub(super) const SITES: usize = 12;
pub(super) const EDGES: usize = 2 * SITES;
pub(super) const CLOUDS: usize = 3;
/// A speed below this, in miles an hour, is congestion.
const CONGESTED_MPH: f64 = 40.0;
/// Recordings of a congested sensor in five minutes.
const RECORDINGS: usize = 4;
/// Sensors whose speeds are one reading.
const SENSORS_OF_A_READING: usize = 3;
pub(super) const INTERVALS_OF_AN_HOUR: usize = 12;
/// Five minutes of the city, in seconds of the simulation.
pub(super) const INTERVAL_S: f64 = 15.0;
/// A day as the simulation is faster than it.
pub(super) const SPEEDUP: u64 = 20;
/// 2012-03-01 00:00 in Los Angeles, a Thursday.
pub(super) const MIDNIGHT_UNIX_S: u64 = 1_330_588_800;
/// What of five minutes all sensors send in.
const SPREAD_S: f64 = 3.0;

/// Why there is no day.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CityError {
    /// No such hours.
    #[error("a day has the hours 0 to 24, not {from} to {to}")]
    Hours {
        /// From.
        from: usize,
        /// To.
        to: usize,
    },
    /// The data is not as it should be.
    #[error("the speeds of the city cannot be read: {why}")]
    Data {
        /// What is wrong.
        why: String,
    },
    /// The rules did not reach everybody.
    #[error("the rules cannot be deployed: {why}")]
    Rules {
        /// What is wrong.
        why: String,
    },
}

impl CityError {
    /// What the user can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Hours { .. } => "name them as in --hours 6-10",
            Self::Data { .. } | Self::Rules { .. } => "this is a defect: report it with the command",
        }
    }
}

/// What a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Reading,
    Recording,
    Forecast,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Reading, Self::Recording, Self::Forecast];

    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Reading => "reading",
            Self::Recording => "recording",
            Self::Forecast => "forecast",
        }
    }
}

/// One task, wherever it will run.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    /// After the beginning, in seconds of the simulation.
    pub(super) at_s: f64,
    pub(super) edge: usize,
    pub(super) kind: Kind,
    pub(super) input_bytes: usize,
    pub(super) output_bytes: u64,
    /// On a reference core.
    pub(super) work_ms: f64,
}

/// Some hours of a day.
#[derive(Debug)]
pub(super) struct Day {
    pub(super) hours: Range<usize>,
    pub(super) wishes: Vec<Wish>,
}

impl Day {
    pub(super) fn read(seed: u64, hours: Range<usize>) -> Result<Self, CityError> {
        if hours.is_empty() || hours.end > 24 {
            return Err(CityError::Hours { from: hours.start, to: hours.end });
        }
        let rows = congestion()?;
        let mut rng = Pcg64Mcg::seed_from_u64(seed ^ 0xc17);
        let mut wishes = Vec::new();
        let intervals = hours.start * INTERVALS_OF_AN_HOUR..hours.end * INTERVALS_OF_AN_HOUR;
        for (number, row) in rows.get(intervals).unwrap_or_default().iter().enumerate() {
            for edge in 0..EDGES {
                let mine: Vec<bool> = row.iter().skip(edge).step_by(EDGES).copied().collect();
                ask(&mut wishes, &mut rng, (number, edge), &mine);
            }
        }
        wishes.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
        Ok(Self { hours, wishes })
    }
}

/// What one machine's sensors ask for in one interval, by which of them are congested.
fn ask(wishes: &mut Vec<Wish>, rng: &mut Pcg64Mcg, (interval, edge): (usize, usize), congested: &[bool]) {
    let mut wish = |kind, input_bytes: f64, output_bytes, work_ms: f64| {
        let at_s = interval as f64 * INTERVAL_S + SPREAD_S * rng.random::<f64>();
        // Around what is said, as sizes and works are.
        let mut vary = |mean: f64| mean * rng.random_range(0.7..1.3);
        let (input_bytes, work_ms) = (vary(input_bytes) as usize, vary(work_ms));
        wishes.push(Wish { at_s, edge, kind, input_bytes, output_bytes, work_ms });
    };
    for group in congested.chunks(SENSORS_OF_A_READING) {
        let standing = group.iter().filter(|it| **it).count() as f64;
        wish(Kind::Reading, 24_000.0, 1_000, 60.0 + 30.0 * standing);
    }
    for _ in 0..RECORDINGS * congested.iter().filter(|it| **it).count() {
        wish(Kind::Recording, 450_000.0, 2_000, 500.0);
    }
    if interval % INTERVALS_OF_AN_HOUR == edge % INTERVALS_OF_AN_HOUR {
        wish(Kind::Forecast, 120_000.0, 8_000, 800.0);
    }
}

/// Which sensors are congested, in each five minutes of the first day.
fn congestion() -> Result<Vec<Vec<bool>>, CityError> {
    let text = CITY_DAYS.first().ok_or_else(|| CityError::Data { why: "there are no days".into() })?;
    let row = |line: &str| -> Vec<bool> {
        let speeds = line.split(',').skip(1).map(|speed| speed.trim().parse::<f64>().ok());
        // Where none was measured nothing is known to stand.
        speeds.map(|speed| speed.is_some_and(|speed| speed > 0.0 && speed < CONGESTED_MPH)).collect()
    };
    let rows: Vec<Vec<bool>> = text.lines().skip(1).map(row).collect();
    if rows.len() < 24 * INTERVALS_OF_AN_HOUR {
        return Err(CityError::Data { why: format!("{} rows", rows.len()) });
    }
    Ok(rows)
}
