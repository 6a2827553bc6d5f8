//! A factory: engines' health at the edge, in the cloud how many cycles each has left and when to service which; and
//! alarms from a machine's temperature.

mod engines;
mod series;

use std::path::Path;

use serde::Serialize;

use super::error::UsecaseError;
use super::files;
use super::report::Taken;
use super::stages::Stages;
use crate::plot::Chart;
use engines::{Fleet, Lives};
use series::{Series, Watched};

/// Figures of a factory; what could not be judged is absent.
#[derive(Debug, Clone, Serialize)]
pub struct Industry {
    /// Root mean square error of the remaining useful life in cycles; a life above 125 counts as 125 on both sides.
    pub rul_rmse: Option<f64>,
    /// The same against lives that are not capped.
    pub rul_rmse_uncapped: Option<f64>,
    pub engines: usize,
    /// Labelled failures of all series, those with an alarm inside, and alarms outside of all of them.
    pub windows: Option<usize>,
    pub windows_found: Option<usize>,
    pub false_alarms: Option<usize>,
    /// Of all series together.
    pub months: Option<f64>,
    pub false_alarms_per_month: Option<f64>,
    /// Each series by itself.
    pub series: Vec<Watched>,
    /// What the plan of service says first.
    pub plan: Vec<String>,
    #[serde(skip)]
    lives: Option<Lives>,
}

/// What is judged.
#[derive(Debug)]
pub(super) struct Data {
    fleets: Vec<Fleet>,
    series: Vec<Series>,
    pub(super) taken: Vec<Taken>,
}

impl Data {
    pub(super) fn read(dir: Option<&Path>) -> Result<Self, UsecaseError> {
        let Some(dir) = dir else { return Self::held_back() };
        let paths = files::list(dir)?;
        let mut taken = Vec::new();
        let fleets = engines::read(&paths, &mut taken)?;
        let series = series::read(&paths, &mut taken)?;
        if fleets.is_empty() && series.is_empty() {
            let wanted =
                "`test_FD001.txt` with `RUL_FD001.txt`, and no series `*.csv` (timestamp,value) with `*windows*.json`";
            return Err(UsecaseError::NothingFound { dir: dir.to_path_buf(), wanted });
        }
        Ok(Self { fleets, series, taken })
    }

    fn held_back() -> Result<Self, UsecaseError> {
        let mut taken = Vec::new();
        let fleets = vec![engines::held_back(&mut taken)?];
        Ok(Self { fleets, series: series::held_back(&mut taken)?, taken })
    }
}

pub(super) async fn judge(data: &Data, stages: &mut Stages) -> Result<Industry, UsecaseError> {
    let lives = engines::judge(&data.fleets, stages).await?;
    let series = series::judge(&data.series, stages).await?;
    let sum = |of: fn(&Watched) -> usize| (!series.is_empty()).then(|| series.iter().map(of).sum::<usize>());
    let months = (!series.is_empty()).then(|| series.iter().map(|series| series.months).sum::<f64>());
    let false_alarms = sum(|series| series.false_alarms);
    Ok(Industry {
        rul_rmse: lives.rmse(true),
        rul_rmse_uncapped: lives.rmse(false),
        engines: lives.judged.len(),
        windows: sum(|series| series.windows),
        windows_found: sum(|series| series.windows_found),
        false_alarms,
        months,
        false_alarms_per_month: false_alarms.zip(months).map(|(alarms, months)| alarms as f64 / months),
        plan: lives.plan.clone(),
        series,
        lives: Some(lives).filter(|lives| !lives.judged.is_empty()),
    })
}

impl Industry {
    pub(super) fn rows(&self) -> Vec<[String; 2]> {
        let cycles = |rmse: Option<f64>| rmse.map_or("not judged".to_owned(), |rmse| format!("{rmse:.1} cycles"));
        let mut rows = vec![
            ["engines, cut at some cycle before failure".into(), self.engines.to_string()],
            ["root mean square error of the cycles left (capped at 125)".into(), cycles(self.rul_rmse)],
            ["the same against uncapped lives".into(), cycles(self.rul_rmse_uncapped)],
        ];
        rows.extend(self.plan.iter().take(3).map(|line| ["plan of service".into(), line.clone()]));
        for series in &self.series {
            let said = format!(
                "{} of {} failures found, {} false alarms in {:.1} months ({:.1} a month)",
                series.windows_found,
                series.windows,
                series.false_alarms,
                series.months,
                series.false_alarms as f64 / series.months,
            );
            rows.push([series.name.clone(), said]);
        }
        if self.series.is_empty() {
            rows.push(["machines' series".into(), "not judged".into()]);
        }
        rows
    }

    pub(super) fn meaning(&self) -> String {
        let lives =
            self.rul_rmse.map(|rmse| format!("An engine's remaining life is told to within about {rmse:.0} cycles"));
        let alarms =
            self.windows_found.zip(self.windows).zip(self.false_alarms_per_month).map(|((found, windows), rate)| {
                format!("{found} of {windows} failures raised an alarm at {rate:.1} false ones a month")
            });
        let said: Vec<String> = lives.into_iter().chain(alarms).collect();
        format!("{}.", said.join("; "))
    }

    pub(super) fn charts(&self) -> Vec<Chart> {
        let lives = self.lives.iter().map(engines::chart);
        lives.chain(self.series.first().map(Watched::chart)).collect()
    }
}
