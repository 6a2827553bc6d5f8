//! `shoal task cancel`

use core::fmt;

use serde::Serialize;
use shoal_protocol::api::TaskView;
use shoal_protocol::task::TaskState;

use crate::Printer;
use crate::client::Client;
use crate::error::Failure;
use crate::format;

/// Withdraw a task that was handed in at this peer, wherever it runs
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  shoal task cancel last")]
pub struct Cancel {
    /// Its id, the beginning of it, or `last`
    task: String,
}

impl Cancel {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        printer.show(&Cancelled(client.cancel(&self.task).await.map_err(super::failure)?))
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Cancelled(TaskView);

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = format::task(self.0.task);
        match self.0.state {
            TaskState::Cancelled => write!(f, "task {id} is cancelled"),
            TaskState::Done | TaskState::Failed => {
                write!(f, "task {id} had already ended: {}", format::task_state(self.0.state))
            }
            TaskState::Accepted | TaskState::Placing | TaskState::Fetching | TaskState::Queued | TaskState::Running => {
                write!(f, "task {id} is being cancelled")
            }
        }
    }
}
