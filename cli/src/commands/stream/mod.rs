//! Verbs about streams.

mod feed;
mod file;
mod list;
mod start;
mod status;
mod stop;
mod view;

use crate::Printer;
use crate::client::Client;
use crate::error::Failure;

#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    Start(start::Start),
    Status(status::Status),
    Stop(stop::Stop),
    Ls(list::List),
    Feed(feed::Feed),
}

impl Verb {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        match self {
            Self::Start(verb) => verb.run(client, printer).await,
            Self::Status(verb) => verb.run(client, printer).await,
            Self::Stop(verb) => verb.run(client, printer).await,
            Self::Ls(verb) => verb.run(client, printer).await,
            Self::Feed(verb) => verb.run(client, printer).await,
        }
    }
}
