//! `shoal task result`

use std::path::PathBuf;

use super::output::{stream, wrote_nothing};
use crate::Printer;
use crate::client::Client;
use crate::error::Failure;

/// Wait for a task to end and print what it wrote
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  shoal task result last -o report.txt")]
pub struct ResultOf {
    /// Its id, the beginning of it, or `last`
    task: String,
    /// Write it here instead of to standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl ResultOf {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        // `last` may name another task a moment later.
        let named = client.task(&self.task).await.map_err(super::failure)?.task.to_string();
        let view = client.wait(&named).await.map_err(super::failure)?;
        let failure = Failure::of_task(&view);
        let leaves_file = self.output.is_some() && wrote_nothing(&view);
        if view.state == shoal_protocol::task::TaskState::Done && !leaves_file {
            let download = client.result(&view.task.to_string()).await.map_err(super::failure)?;
            stream(printer, download, self.output.as_deref()).await?;
        }
        failure.map_or(Ok(()), Err)
    }
}
