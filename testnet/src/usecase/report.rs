//! What a person and a program see of a judged use.

use std::fmt;

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde::Serialize;
use shoal_protocol::api::schema;

use super::city::City;
use super::error::UsecaseError;
use super::home::Home;
use super::industry::Industry;

/// Figures of one use; those of [`Used`] stand beside the others at the top.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub schema: String,
    pub usecase: &'static str,
    #[serde(flatten)]
    pub used: Used,
    /// Which file was taken for what.
    pub files: Vec<Taken>,
    /// What the mesh did; absent where only the native functions ran.
    pub mesh: Option<MeshUse>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Used {
    Home(Home),
    City(City),
    Industry(Industry),
}

#[derive(Debug, Clone, Serialize)]
pub struct Taken {
    pub file: String,
    pub taken_for: String,
}

#[derive(Debug, Clone, Serialize)]
pub struct MeshUse {
    pub cloud_peers: usize,
    pub edge_peers: usize,
    pub edge_tasks: usize,
    pub cloud_tasks: usize,
    /// Answers that were the native function's, byte for byte. Another answer ends the command.
    pub answers_as_native: usize,
    /// With the mesh's start.
    pub seconds: f64,
}

impl Taken {
    pub(super) fn new(file: impl Into<String>, taken_for: impl Into<String>) -> Self {
        Self { file: file.into(), taken_for: taken_for.into() }
    }
}

impl Report {
    pub(super) fn new(usecase: &'static str, files: Vec<Taken>, mesh: Option<MeshUse>, used: Used) -> Self {
        Self { schema: schema(), usecase, used, files, mesh }
    }

    /// The charts as SVG, each with its name.
    pub fn charts(&self) -> Result<Vec<(&'static str, String)>, UsecaseError> {
        let charts = match &self.used {
            Used::Home(home) => vec![home.chart()],
            Used::City(city) => vec![city.chart()],
            Used::Industry(industry) => industry.charts(),
        };
        charts.iter().map(|chart| Ok((chart.name, chart.svg()?))).collect()
    }
}

impl Used {
    fn rows(&self) -> Vec<[String; 2]> {
        match self {
            Self::Home(home) => home.rows(),
            Self::City(city) => city.rows(),
            Self::Industry(industry) => industry.rows(),
        }
    }

    fn meaning(&self) -> String {
        match self {
            Self::Home(home) => home.meaning(),
            Self::City(city) => city.meaning(),
            Self::Industry(industry) => industry.meaning(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for taken in &self.files {
            writeln!(formatter, "{}: {}", taken.file, taken.taken_for)?;
        }
        let mut table = Table::new();
        table.load_style(NOTHING).add_rows(self.used.rows());
        writeln!(formatter)?;
        for line in table.to_string().lines() {
            writeln!(formatter, "{}", line.trim())?;
        }
        writeln!(formatter)?;
        if let Some(mesh) = &self.mesh {
            writeln!(
                formatter,
                "{} tasks at the edge and {} in the cloud of {} + {} peers, every answer as the native function's, in {:.1} s",
                mesh.edge_tasks, mesh.cloud_tasks, mesh.edge_peers, mesh.cloud_peers, mesh.seconds,
            )?;
        }
        writeln!(formatter, "{}", self.used.meaning())
    }
}
