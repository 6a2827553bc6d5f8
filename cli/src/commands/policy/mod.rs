//! Verbs about where data may go.

pub(crate) mod check;

use crate::Printer;
use crate::client::Client;
use crate::error::Failure;

#[derive(Debug, clap::Subcommand)]
#[allow(clippy::large_enum_variant)] // one is made in the life of the process
pub enum Verb {
    Check(check::Check),
}

impl Verb {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        match self {
            Self::Check(verb) => verb.run(client, printer).await,
        }
    }
}
