//! `shoal stream start`

use std::path::PathBuf;

use super::file::{self, Prepared};
use super::view::Details;
use crate::Printer;
use crate::client::Client;
use crate::commands::task::inputs::with_uploads;
use crate::error::Failure;

/// Start a stream: records come in, each window of them is run, its result is written once
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  shoal stream start examples/streams/words.toml
  shoal stream status words
  shoal stream stop words

A stream that was stopped goes on where it was. It is this peer's until another takes it over.")]
pub struct Start {
    /// The stream, as docs/streams.md has it
    file: PathBuf,
}

impl Start {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        let Prepared { request, blobs } = file::prepare(&self.file)?;
        let view = with_uploads(client, printer, &blobs, async || client.start_stream(&request).await).await?;
        printer.say(format_args!("→ shoal stream status {}", view.name));
        printer.show(&Details(view))
    }
}
