//! `shoal pipeline run`

use core::fmt;
use core::time::Duration;
use std::path::PathBuf;

use base64::Engine;
use serde::Serialize;
use shoal_protocol::api::{OutputView, PipelineView};
use shoal_protocol::pipeline::PipelineState;

use super::file::{self, Prepared};
use super::status::{Details, failure_of};
use crate::Printer;
use crate::client::{Client, ClientError};
use crate::commands::task::inputs::with_uploads;
use crate::error::{Exit, Failure, own};
use crate::format;
use crate::interrupt;

/// How often a watched wait says what is going on.
const LOOK: Duration = Duration::from_millis(400);
/// How long a wait that nobody watches lasts before it is asked again.
const LOOK_UNWATCHED: Duration = Duration::from_secs(20);

/// Run a graph of tasks, and print what its last stages write
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  shoal pipeline run examples/pipelines/words.toml
  shoal pipeline run words.toml --detach --key today
  shoal pipeline status --follow

Exit: 0 ok · 1 a stage failed · 75 no capacity, try later · 124 its deadline passed · 130 interrupted")]
pub struct Run {
    /// The pipeline, as docs/pipelines.md has it
    file: PathBuf,
    /// Print its id and leave it running
    #[arg(short, long)]
    detach: bool,
    /// The same key always names the same pipeline, so a repeated command runs it once
    #[arg(long, value_name = "KEY", visible_alias = "idempotency-key")]
    key: Option<String>,
}

impl Run {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        let Prepared { mut request, blobs } = file::prepare(&self.file)?;
        if let Some(key) = self.key {
            request.idempotency_key = Some(key);
            request.submitter = Some(crate::user::submitter()?);
        }
        let accepted = with_uploads(client, printer, &blobs, async || client.submit_pipeline(&request).await).await?;
        let (id, short) = (accepted.pipeline.to_string(), format::task(accepted.pipeline));
        if self.detach {
            printer.say(format_args!("→ shoal pipeline status {short} --follow"));
            return printer.show(&Detached(accepted));
        }
        let view = tokio::select! {
            view = ended(client, printer, accepted) => view?,
            _ = tokio::signal::ctrl_c() => {
                let title = format!("interrupted; pipeline {short} was cancelled");
                return Err(match client.cancel_pipeline(&id).await {
                    Ok(_) => Failure::interrupted(title),
                    Err(error) => Failure::interrupted("interrupted, and the pipeline could not be cancelled")
                        .why(error.to_string())
                        .fix(format!("shoal pipeline cancel {id}")),
                });
            }
        };
        interrupt::ends_at_once();
        if printer.is_json() {
            printer.show(&Details(view.clone()))?;
        } else if view.state == PipelineState::Done {
            deliver(client, printer, &view).await?;
        }
        match failure_of(&view) {
            Some(failure) => Err(failure),
            None if printer.is_json() => Ok(()),
            None => {
                printer.say(summary(&view));
                Ok(())
            }
        }
    }
}

/// Waits for the end, telling whoever watches.
async fn ended(client: &Client, printer: Printer, mut view: PipelineView) -> Result<PipelineView, ClientError> {
    let look = if printer.is_watched() { LOOK } else { LOOK_UNWATCHED };
    let id = view.pipeline.to_string();
    let spinner = printer.spinner("");
    while !view.state.is_final() {
        spinner.set_message(progress(&view));
        view = client.pipeline(&id, look).await?;
    }
    spinner.finish_and_clear();
    Ok(view)
}

/// `count 3/8, total waiting: …`
fn progress(view: &PipelineView) -> String {
    let open = view.stages.iter().filter(|stage| stage.done + stage.skipped < stage.tasks);
    let stages: Vec<String> = open
        .take(3)
        .map(|stage| {
            let note = if stage.note.is_empty() { String::new() } else { format!(" ({})", stage.note) };
            format!("{} {}/{}{note}", stage.name, stage.done, stage.tasks)
        })
        .collect();
    stages.join(", ")
}

/// What the last stages wrote, one after the other; their bytes exactly.
async fn deliver(client: &Client, printer: Printer, view: &PipelineView) -> Result<(), Failure> {
    for result in view.stages.iter().filter_map(|stage| view.results.get(&stage.name)).flatten() {
        match &result.output {
            OutputView::Text(text) => printer.data(text.as_bytes())?,
            OutputView::Base64(text) => {
                let bytes = base64::engine::general_purpose::STANDARD.decode(text).map_err(|error| {
                    let title = "the output of the pipeline cannot be read";
                    Failure::new(Exit::VersionMismatch, own::VERSION, title).why(error.to_string())
                })?;
                printer.data(&bytes)?;
            }
            OutputView::Blob { id, .. } => {
                let holder = result.holder.map(|peer| peer.to_string());
                let mut download = match client.blob(*id, None).await {
                    Ok(download) => download,
                    Err(_) => client.blob(*id, holder.as_deref()).await?,
                };
                while let Some(bytes) = download.chunk().await? {
                    printer.data(&bytes)?;
                }
            }
        }
    }
    Ok(())
}

/// `pipeline 7Kq2 words: 3 stages, 9 tasks in 120 ms   → shoal pipeline status 7Kq2`
fn summary(view: &PipelineView) -> String {
    let id = format::task(view.pipeline);
    let tasks: u32 = view.stages.iter().map(|stage| stage.tasks).sum();
    let time = view.total_us.map(|us| format!(" in {}", format::micros(us))).unwrap_or_default();
    let stages = view.stages.len();
    format!("pipeline {id} {}: {stages} stages, {tasks} tasks{time}   → shoal pipeline status {id}", view.name)
}

/// A pipeline left running: its id is the data.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Detached(PipelineView);

impl fmt::Display for Detached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.pipeline.fmt(f)
    }
}
