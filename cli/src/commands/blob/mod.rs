//! Verbs about blobs.

pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod pin;
pub(crate) mod put;
pub(crate) mod remove;
pub(crate) mod stat;

use crate::Printer;
use crate::client::Client;
use crate::error::Failure;

#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    Put(put::Put),
    Get(get::Get),
    Ls(list::List),
    Stat(stat::Stat),
    Pin(pin::Pin),
    Unpin(pin::Unpin),
    Rm(remove::Remove),
}

impl Verb {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        match self {
            Self::Put(verb) => verb.run(client, printer).await,
            Self::Get(verb) => verb.run(client, printer).await,
            Self::Ls(verb) => verb.run(client, printer).await,
            Self::Stat(verb) => verb.run(client, printer).await,
            Self::Pin(verb) => verb.run(client, printer).await,
            Self::Unpin(verb) => verb.run(client, printer).await,
            Self::Rm(verb) => verb.run(client, printer).await,
        }
    }
}
