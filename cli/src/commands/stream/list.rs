//! `shoal stream ls`

use super::view::Streams;
use crate::Printer;
use crate::client::Client;
use crate::error::Failure;

/// List the streams of this peer, and those it would take over
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  shoal stream ls --json")]
pub struct List {}

impl List {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        let streams = client.streams().await?;
        if streams.items.is_empty() {
            printer.say("no streams   → shoal stream start examples/streams/words.toml");
        }
        printer.show(&Streams(streams))
    }
}
