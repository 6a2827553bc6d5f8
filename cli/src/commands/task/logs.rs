//! `shoal logs`

use core::time::Duration;

use crate::Printer;
use crate::client::Client;
use crate::error::Failure;

/// How long one look at an unfinished task lasts.
const LOOK: Duration = Duration::from_millis(500);

/// Print the end of what a task wrote to standard error
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  shoal logs last -f")]
pub struct Logs {
    /// Its id, the beginning of it, or `last`
    task: String,
    /// Wait for the task to end
    #[arg(short, long)]
    follow: bool,
}

impl Logs {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        // `last` may name another task a moment later.
        let mut view = client.task(&self.task).await.map_err(super::failure)?;
        let id = view.task.to_string();
        let mut shown = Vec::new();
        loop {
            let log = client.logs(&id).await.map_err(super::failure)?;
            // Only the end is kept, so a log that outgrew its bound is shown anew.
            let fresh = log.strip_prefix(shown.as_slice()).unwrap_or(&log);
            printer.data(fresh)?;
            shown = log.to_vec();
            if view.state.is_final() {
                return Ok(());
            }
            if !self.follow {
                printer.say(format_args!(
                    "the task is still {}   → shoal logs {id} -f",
                    crate::format::task_state(view.state)
                ));
                return Ok(());
            }
            view = client.task_after(&id, LOOK).await.map_err(super::failure)?;
        }
    }
}
