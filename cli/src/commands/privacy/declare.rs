//! `shoal privacy declare`

use std::path::{Path, PathBuf};

use serde::Deserialize;
use shoal_protocol::api::{LabelsRequest, codes};
use shoal_protocol::id::BlobId;
use shoal_protocol::privacy::declaration::ValueTerms;
use shoal_protocol::privacy::{BudgetTerms, DatasetName, Declaration, Population};

use super::status::Shown;
use crate::Printer;
use crate::client::Client;
use crate::commands::blob::put::upload_file;
use crate::commands::task::inputs::InputArgument;
use crate::error::{Exit, Failure};
use crate::format::parse_duration;

/// A file of this size is not a declaration that somebody wrote.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Declare a data set at this peer: whom it protects, and how much may be told of it
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  shoal privacy declare examples/privacy/street.toml
  shoal privacy release street mean --epsilon 0.1

A declaration is for good: a budget that can be changed is none. The keys are in docs/privacy.md.")]
pub struct Declare {
    /// The declaration
    file: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    name: DatasetName,
    subject: String,
    rows_per_subject: u32,
    value: ValueTerms,
    #[serde(default)]
    groups: Vec<String>,
    budget: BudgetTerms,
    #[serde(default)]
    window: Option<String>,
    #[serde(default)]
    population: Option<PopulationEntry>,
    #[serde(default)]
    data: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PopulationEntry {
    name: DatasetName,
    budget: BudgetTerms,
    #[serde(default)]
    window: Option<String>,
}

impl Declare {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        let document = read(&self.file)?;
        let data = match &document.data {
            Some(data) => Some(rows(client, printer, &self.file, data).await?),
            None => None,
        };
        let declared = document.declaration(&self.file, data)?;
        // What is wrong with it is told before anything is asked of the daemon.
        declared.clone().check().map_err(|refused| wrong(&self.file, &refused.to_string()))?;
        let view = client.declare(&declared).await?;
        if let Some(data) = data {
            client.pin_blob(data).await?;
        }
        printer.say(format_args!("→ shoal privacy release {} count --epsilon 0.1", declared.name));
        printer.show(&Shown(view))
    }
}

impl Document {
    fn declaration(self, path: &Path, data: Option<BlobId>) -> Result<Declaration, Failure> {
        let seconds = |window: Option<String>| match window.map(|text| parse_duration(&text)).transpose() {
            Ok(window) => Ok(window.map(|window| window.as_secs())),
            Err(why) => Err(wrong(path, &format!("`window`: {why}"))),
        };
        let population = self.population.map(|it| {
            let window_s = seconds(it.window)?;
            Ok::<_, Failure>(Population { name: it.name, budget: it.budget, window_s })
        });
        Ok(Declaration {
            name: self.name,
            subject: self.subject,
            rows_per_subject: self.rows_per_subject,
            value: self.value,
            groups: self.groups,
            budget: self.budget,
            window_s: seconds(self.window)?,
            population: population.transpose()?,
            data,
        })
    }
}

fn wrong(path: &Path, why: &str) -> Failure {
    let title = format!("{}: {why}", path.display());
    Failure::new(Exit::Usage, codes::BAD_RELEASE, title).fix("see the keys there are in docs/privacy.md")
}

fn read(path: &Path) -> Result<Document, Failure> {
    let size = std::fs::metadata(path).map_err(|error| Failure::read(path, &error))?.len();
    if size > FILE_BYTES_MAX {
        return Err(Failure::usage(format!("`{}` is too large for a declaration", path.display())));
    }
    let text = std::fs::read_to_string(path).map_err(|error| Failure::read(path, &error))?;
    toml::from_str(&text).map_err(|error| {
        let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        let at = line.map_or_else(String::new, |line| format!("line {line}: "));
        wrong(path, &format!("{at}{}", error.message()))
    })
}

/// The rows the data set is about: a blob by its name, or a file beside the declaration that is stored here.
async fn rows(client: &Client, printer: Printer, path: &Path, data: &str) -> Result<BlobId, Failure> {
    match InputArgument::parse(data).map_err(|why| wrong(path, &format!("`data`: {why}")))? {
        InputArgument::Blob(id) => Ok(id),
        InputArgument::File(file) => {
            let file = path.parent().unwrap_or(Path::new(".")).join(file);
            Ok(upload_file(client, printer, &file, &LabelsRequest::default()).await?.id)
        }
        InputArgument::Standard => Err(wrong(path, "`data` is a file or b3:HASH")),
    }
}
