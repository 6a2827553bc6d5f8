//! `shoal submit`

use core::fmt;
use core::time::Duration;

use shoal_protocol::api::{TaskRequest, TaskView};
use shoal_protocol::task::TaskState;

use super::inputs::with_uploads;
use super::request::{Prepared, TaskArguments};
use crate::Printer;
use crate::client::Client;
use crate::error::{Failure, own};
use crate::format::{self, parse_duration};

/// Hand in a task that outlives this command, and print its id once it is on disk
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  shoal submit wordcount -i README.md
  shoal submit digit.wasm -i take.wav --durable 2 --key take-17 --retention 48h
  shoal task result $(shoal submit wordcount -i README.md)

Exit: 0 it is kept · 75 no capacity or nobody to keep a second copy, try later · 69 it could not be kept, or as with 124 nobody
knows: the error says which")]
pub struct Submit {
    /// A file, a name (wordcount), or b3:HASH
    module: String,
    #[command(flatten)]
    task: TaskArguments,
    /// Copies on disk before its id is printed: 1 (at this peer), 2 (and at a peer elsewhere, which goes on without this one; a third
    /// peer is needed as a witness)
    #[arg(long, value_name = "COPIES", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    durable: u8,
    /// How long its result is kept, as in 48h, a week at most; without --deadline it also has that long to end
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse_duration)]
    retention: Duration,
    /// How long to try while the peer is overloaded
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    patience: Duration,
    /// Arguments of the module
    #[arg(last = true)]
    args: Vec<String>,
}

impl Submit {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        let Prepared { mut request, blobs } = self.task.prepare(&self.module, self.args)?;
        request.durable = self.durable;
        request.retention_ms = Some(u64::try_from(self.retention.as_millis()).unwrap_or(u64::MAX));
        request.submitter = Some(crate::user::submitter()?);
        let submitted =
            with_uploads(client, printer, &blobs, async || client.submit_patiently(&request, self.patience).await);
        let view = match submitted.await {
            Ok(view) => view,
            Err(failure) if [own::BROKEN, own::TIMEOUT].contains(&&*failure.code) => {
                return Err(unknown(failure, &request));
            }
            Err(failure) => return Err(super::refused(client, failure, &request).await),
        };
        let short = format::task(view.task);
        match view.state {
            TaskState::Done | TaskState::Failed | TaskState::Cancelled => printer.say(format_args!(
                "it was submitted before and is {}   → shoal task show {short}",
                format::task_state(view.state)
            )),
            TaskState::Accepted | TaskState::Placing | TaskState::Fetching | TaskState::Queued | TaskState::Running => {
                printer.say(format_args!("→ shoal task result {}", view.task));
            }
        }
        printer.show(&Submitted(view))
    }
}

/// The daemon was given the task, and nobody knows whether it kept it.
fn unknown(failure: Failure, request: &TaskRequest) -> Failure {
    failure.what("it may have been kept all the same").fix(match &request.idempotency_key {
        Some(key) => format!("submit it again with --key {key}: it is the same task then"),
        None => "see whether it is there with `shoal task ls`; with --key KEY it can be submitted again without being run twice".into(),
    })
}

/// Its id is the data.
#[derive(Debug, serde::Serialize)]
#[serde(transparent)]
struct Submitted(TaskView);

impl fmt::Display for Submitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.task.fmt(f)
    }
}
