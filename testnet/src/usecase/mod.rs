//! Three uses of a mesh with real data and models: a home, a city, a factory, judged on data the models have not seen.
//!
//! ```text
//! files (a directory's, or the held back data) ─► edge stage ─► cloud stage ─► figures: table, JSON, chart
//! ```
//!
//! Each stage is a module with standard input and output. It runs at a peer of its role on a mesh of real processes, and
//! its answer must be the native function's, byte for byte.
//!
//! **Invariant:** labels (who spoke which digit, the speed half an hour later, the true life, the failure windows) are
//! read here only; no stage is given any.
//! **Not here:** the models. They are task modules of `shoal-examples`.

mod city;
mod error;
mod files;
mod home;
mod industry;
mod report;
mod stages;
mod table;

use std::path::PathBuf;

pub use self::city::City;
pub use self::error::UsecaseError;
pub use self::home::Home;
pub use self::industry::Industry;
pub use self::report::{MeshUse, Report, Taken, Used};
use self::stages::Stages;

/// Which use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    Home,
    City,
    Industry,
}

#[derive(Debug, Clone)]
pub struct UsecaseConfig {
    pub case: Case,
    /// Where the data is; what was held back in the repository where absent.
    pub data: Option<PathBuf>,
    /// Only the native functions, without a mesh.
    pub native: bool,
}

/// Judges it, talking on standard error.
pub async fn run(config: &UsecaseConfig) -> Result<Report, UsecaseError> {
    let data = config.data.as_deref();
    // Read before a mesh is started: bad data is told at once.
    match config.case {
        Case::Home => {
            let data = home::Data::read(data)?;
            let mut stages = Stages::start(config.native).await?;
            let figures = home::judge(&data, &mut stages).await?;
            Ok(report::Report::new("home", data.taken, stages.end().await, Used::Home(figures)))
        }
        Case::City => {
            let data = city::Data::read(data)?;
            let mut stages = Stages::start(config.native).await?;
            let figures = city::judge(&data, &mut stages).await?;
            Ok(report::Report::new("city", data.taken, stages.end().await, Used::City(figures)))
        }
        Case::Industry => {
            let data = industry::Data::read(data)?;
            let mut stages = Stages::start(config.native).await?;
            let figures = industry::judge(&data, &mut stages).await?;
            Ok(report::Report::new("industry", data.taken, stages.end().await, Used::Industry(figures)))
        }
    }
}
