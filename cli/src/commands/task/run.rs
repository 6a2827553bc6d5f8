//! `shoal run`

use core::time::Duration;
use std::path::PathBuf;

use indicatif::ProgressBar;
use shoal_protocol::api::{OutputView, Problem, TaskView};
use shoal_protocol::output::Event;
use shoal_protocol::task::TaskState;

use super::explain::{Explained, Subject};
use super::inputs::with_uploads;
use super::output::deliver;
use super::request::{Prepared, TaskArguments};
use super::show::TaskDetails;
use crate::Printer;
use crate::client::{Client, ClientError, EventStream, Patience};
use crate::commands::node::events::Line;
use crate::error::Failure;
use crate::format::{self, parse_duration};
use crate::interrupt;
use crate::new_file::is_special;

/// How often a watched wait says what the task is doing.
const LOOK: Duration = Duration::from_millis(400);
/// How long a wait that nobody watches lasts before it is asked again.
const LOOK_UNWATCHED: Duration = Duration::from_secs(20);

/// Run a module on the peer where it costs least, and print what it writes
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  shoal run wordcount -i README.md
  shoal run digit.wasm -i take.wav --deadline 200ms --no-cloud
  cat a.csv | shoal run anomaly --on site=a -o report.txt -- --window 12
  shoal run digit --variant small=digit_small:0.0125 --dry-run -i take.wav
  shoal run digit --variant small=digit_small:0.0125 --min-accuracy 0.95 -i take.wav

Exit: 0 ok · 1 the task failed · 75 no capacity, try later · 124 it ran out of time · 130 interrupted")]
pub struct Run {
    /// A file, a name (wordcount), or b3:HASH
    module: String,
    #[command(flatten)]
    task: TaskArguments,
    /// Write the output here instead of to standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// How long to try while the mesh is overloaded
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = parse_duration)]
    patience: Duration,
    /// Print the task's id and leave it running
    #[arg(short, long, conflicts_with_all = ["output", "follow"])]
    detach: bool,
    /// Say each step of its life on standard error
    #[arg(short, long)]
    follow: bool,
    /// Only say where it would run, and why
    #[arg(long, conflicts_with_all = ["detach", "follow", "output"])]
    dry_run: bool,
    /// Arguments of the module
    #[arg(last = true)]
    args: Vec<String>,
}

impl Run {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        let Prepared { request, blobs } = self.task.prepare(&self.module, self.args)?;
        if self.dry_run {
            let decision = with_uploads(client, printer, &blobs, async || client.dry_run(request.clone()).await);
            let decision = match decision.await {
                Ok(decision) => decision,
                Err(failure) => return Err(super::refused(client, failure, &request).await),
            };
            return printer.show(&Explained::new(Subject::dry_run(request), vec![decision]));
        }

        // Subscribed before the task exists, so that its first step is not missed.
        let events = if self.follow { Some(client.events().await?) } else { None };
        let mut patience = Patience::of(self.patience);
        let submitted =
            with_uploads(client, printer, &blobs, async || client.submit_patiently(&request, self.patience).await);
        let mut accepted = match submitted.await {
            Ok(accepted) => accepted,
            Err(failure) => return Err(super::refused(client, failure, &request).await),
        };
        let short = format::task(accepted.task);
        if self.detach {
            printer.say(format_args!("→ shoal task show {short}   → shoal task result {short}"));
            return printer.show(&Detached(accepted));
        }

        let mut events = events;
        let view = loop {
            let (id, short) = (accepted.task.to_string(), format::task(accepted.task));
            let view = tokio::select! {
                view = ended(client, printer, accepted, events.take()) => view?,
                pressed = tokio::signal::ctrl_c() => {
                    let title = format!("interrupted; task {short} was cancelled");
                    return Err(match (pressed, client.cancel(&id).await) {
                        (Ok(()), Ok(_)) => Failure::interrupted(title),
                        (_, Err(error)) => Failure::interrupted("interrupted, and the task could not be cancelled")
                            .why(error.to_string())
                            .fix(format!("shoal task cancel {id}")),
                        (Err(error), Ok(_)) => Failure::interrupted(title).why(error.to_string()),
                    });
                }
            };
            // It was taken, and nobody had room for it: it was not begun, and another is as good.
            match &view.problem {
                Some(problem) if request.idempotency_key.is_none() && outlasts(&mut patience, problem).await? => {}
                Some(_) | None => break view,
            }
            accepted = loop {
                let submitted = tokio::select! {
                    submitted = client.submit(&request) => submitted,
                    _ = tokio::signal::ctrl_c() => {
                        let title = "interrupted; whether the task was taken is not known";
                        return Err(Failure::interrupted(title).fix("see whether it is there: shoal task ls"));
                    }
                };
                match submitted {
                    Err(ClientError::Problem(problem)) if outlasts(&mut patience, &problem).await? => {}
                    answer => break answer?,
                }
            };
        };
        let (id, is_for_file) = (view.task, !self.output.as_deref().is_none_or(is_special));
        let reporting = report(client, printer, view, self.output, request.keep_output);
        if !is_for_file {
            interrupt::ends_at_once();
            return reporting.await;
        }
        tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => Err(Failure::interrupted("interrupted")
                .fix(format!("its output is still there: shoal task result {id} -o FILE"))),
            reported = reporting => reported,
        }
    }
}

/// Waits while the mesh has no room, as long as patience lasts.
async fn outlasts(patience: &mut Patience, problem: &Problem) -> Result<bool, Failure> {
    tokio::select! {
        lasts = patience.outlasts(problem) => Ok(lasts),
        _ = tokio::signal::ctrl_c() => {
            Err(Failure::interrupted("interrupted; the mesh had no room, and the task was not begun"))
        }
    }
}

/// Waits for the end, telling whoever watches.
async fn ended(
    client: &Client,
    printer: Printer,
    accepted: TaskView,
    events: Option<EventStream>,
) -> Result<TaskView, Failure> {
    let id = accepted.task.to_string();
    let following = async {
        let Some(mut events) = events else { return core::future::pending().await };
        while let Ok(Some(view)) = events.next().await {
            let ours = matches!(&view.event, Event::TaskChanged { task, .. } if *task == accepted.task);
            let last = matches!(&view.event, Event::TaskChanged { state, .. } if state.is_final());
            if ours {
                printer.say(Line(view));
            }
            if ours && last {
                return;
            }
        }
    };
    let mut following = core::pin::pin!(following);
    let waiting = wait(client, printer, &id);
    tokio::select! {
        view = waiting => {
            // The last events are on their way when the answer is; a stream that lags is not waited for long.
            let _ = tokio::time::timeout(LAST_EVENTS, &mut following).await;
            view
        }
        () = &mut following => wait(client, printer, &id).await,
    }
}

const LAST_EVENTS: Duration = Duration::from_millis(50);

async fn wait(client: &Client, printer: Printer, id: &str) -> Result<TaskView, Failure> {
    let look = if printer.is_watched() { LOOK } else { LOOK_UNWATCHED };
    // Only a wait that lasts deserves a spinner; most tasks have ended by the first look.
    let mut spinner: Option<ProgressBar> = None;
    loop {
        let view = client.task_after(id, look).await?;
        if view.state.is_final() {
            if let Some(spinner) = spinner {
                spinner.finish_and_clear();
            }
            return Ok(view);
        }
        let place = view.executor.as_ref().map(|executor| format!(" at {}", executor.name)).unwrap_or_default();
        let doing = format!("{}{place}", format::task_state(view.state));
        spinner.get_or_insert_with(|| printer.spinner("")).set_message(doing);
    }
}

/// Hands over what the task wrote, and says how it went.
async fn report(
    client: &Client,
    printer: Printer,
    view: TaskView,
    file: Option<PathBuf>,
    stays: bool,
) -> Result<(), Failure> {
    let mut failure = Failure::of_task(&view);
    // A module that exits with an error has still written what it wrote.
    if view.state == TaskState::Done && !(printer.is_json() && file.is_none()) {
        match &view.output {
            // Whoever leaves an output where it is wants its name.
            Some(OutputView::Blob { id, .. }) if stays && file.is_none() => {
                printer.data(format!("{id}\n").as_bytes())?
            }
            Some(_) | None => deliver(client, printer, &view, file.as_deref()).await?,
        }
    }
    if !view.log.is_empty() && !printer.is_json() {
        let log = view.log.trim_end();
        printer.say(log);
        // What the reader has just seen need not be said again.
        failure = failure.map(|failure| if log.ends_with(&*failure.why) { failure.why("") } else { failure });
    }
    if printer.is_json() {
        printer.show(&TaskDetails(view.clone()))?;
    }
    match failure {
        Some(failure) => Err(failure),
        None => {
            if !printer.is_json() {
                printer.say(summary(&view));
            }
            Ok(())
        }
    }
}

/// `task 7Kq2 wordcount.wasm → nas in 12 ms   → shoal explain 7Kq2`
fn summary(view: &TaskView) -> String {
    let id = format::task(view.task);
    let place = view.executor.as_ref().map(|executor| format!(" → {}", executor.name)).unwrap_or_default();
    let time = view.timings.map(|timings| format!(" in {}", format::micros(timings.total_us))).unwrap_or_default();
    let attempts = if view.attempt > 1 { format!(" (attempt {})", view.attempt) } else { String::new() };
    let agreed = view.agreed.map_or_else(String::new, |agreed| format!(", {agreed} runs agree"));
    format!("task {id} {}{place}{time}{attempts}{agreed}   → shoal explain {id}", view.name)
}

/// A task left running: its id is the data.
#[derive(Debug, serde::Serialize)]
#[serde(transparent)]
struct Detached(TaskView);

impl core::fmt::Display for Detached {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.task.fmt(f)
    }
}
