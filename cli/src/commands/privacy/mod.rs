//! Verbs about statistics that leave only within a privacy budget.

mod declare;
mod release;
mod status;

use crate::Printer;
use crate::client::Client;
use crate::error::Failure;

#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    Declare(declare::Declare),
    Release(release::Release),
    Status(status::Status),
}

impl Verb {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        match self {
            Self::Declare(verb) => verb.run(client, printer).await,
            Self::Release(verb) => verb.run(client, printer).await,
            Self::Status(verb) => verb.run(client, printer).await,
        }
    }
}
