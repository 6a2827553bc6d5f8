//! Verbs about pipelines.

mod cancel;
pub(crate) mod file;
mod lines;
mod plan;
mod run;
mod status;

use crate::Printer;
use crate::client::Client;
use crate::error::Failure;

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
