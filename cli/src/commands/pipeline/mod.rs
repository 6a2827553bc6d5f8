//! Verbs about pipelines.

mod cancel;
pub(crate) mod file;
pub(crate) mod lines;
mod plan;
mod run;
mod status;

use std::path::Path;

use shoal_protocol::api::PipelineRequest;

use crate::Printer;
use crate::client::Client;
use crate::commands::task::inputs::LocalBlob;
use crate::error::Failure;

/// A pipeline's file as a request, with what it names that is here.
pub(crate) fn prepared(path: &Path) -> Result<(PipelineRequest, Vec<LocalBlob>), Failure> {
    let file::Prepared { request, blobs } = file::prepare(path)?;
    Ok((request, blobs))
}

#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    Run(run::Run),
    Plan(plan::Plan),
    Status(status::Status),
    Cancel(cancel::Cancel),
}

impl Verb {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        match self {
            Self::Run(verb) => verb.run(client, printer).await,
            Self::Plan(verb) => verb.run(client, printer).await,
            Self::Status(verb) => verb.run(client, printer).await,
            Self::Cancel(verb) => verb.run(client, printer).await,
        }
    }
}
