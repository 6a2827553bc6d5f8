//! Verbs about where data may go, and about the mesh's business rules.

pub(crate) mod check;
pub(crate) mod deploy;
mod file;
pub(crate) mod lint;
pub(crate) mod show;

use crate::Printer;
use crate::client::Client;
use crate::error::Failure;

#[derive(Debug, clap::Subcommand)]
#[allow(clippy::large_enum_variant)] // one is made in the life of the process
pub enum Verb {
    Check(check::Check),
    Lint(lint::Lint),
    Deploy(deploy::Deploy),
    Show(show::Show),
}

impl Verb {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        match self {
            Self::Check(verb) => verb.run(client, printer).await,
            Self::Lint(verb) => verb.run(printer),
            Self::Deploy(verb) => verb.run(client, printer).await,
            Self::Show(verb) => verb.run(client, printer).await,
        }
    }
}
