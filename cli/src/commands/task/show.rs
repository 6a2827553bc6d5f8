//! `shoal task show`

use core::fmt;

use owo_colors::OwoColorize;
use serde::Serialize;
use shoal_protocol::api::{OutputView, TaskView};
use shoal_protocol::task::TaskState;

use crate::Printer;
use crate::client::Client;
use crate::error::Failure;
use crate::format;

/// Show a task: its state, where it ran, where its time went
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  shoal task show last")]
pub struct Show {
    /// Its id, the beginning of it, or `last`
    task: String,
}

impl Show {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        printer.show(&TaskDetails(client.task(&self.task).await.map_err(super::failure)?))
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct TaskDetails(pub(crate) TaskView);

impl fmt::Display for TaskDetails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(task) = self;
        let mut line = |name: &str, value: String| writeln!(f, "{}  {value}", format_args!("{name:<8}").dimmed());
        line("task", task.task.to_string())?;
        line("module", task.name.clone())?;
        let mut state = format::task_state(task.state).to_owned();
        if let Some(code) = task.exit_code {
            state.push_str(&format!(", exit code {code}"));
        }
        if let Some(limit) = task.limit {
            state.push_str(&format!(", hit its {} limit", format::limit(limit)));
        }
        if matches!(task.state, TaskState::Placing) && task.age_us > 1_000_000 {
            state.push_str(&format!("   → shoal explain {}", format::task(task.task)));
        }
        line("state", state)?;
        if let Some(executor) = &task.executor {
            let attempts = if task.attempt > 1 { format!(", attempt {}", task.attempt) } else { String::new() };
            line("peer", format!("{} ({}{attempts})", executor.name, executor.role))?;
        }
        if let Some(variant) = task.variant.as_ref().filter(|variant| !variant.is_empty()) {
            line("build", variant.clone())?;
        }
        // Of another peer's, or of one from before a restart, it is not known.
        if task.input_bytes > 0 {
            line("input", format::bytes(task.input_bytes))?;
        }
        match &task.output {
            Some(OutputView::Text(text)) => line("output", format::bytes(text.len() as u64))?,
            Some(OutputView::Base64(text)) => line("output", format::bytes(text.len() as u64 / 4 * 3))?,
            Some(OutputView::Blob { id, bytes, .. }) => line("output", format!("{} {id}", format::bytes(*bytes)))?,
            None => {}
        }
        line("age", format::micros(task.age_us))?;
        if let Some(timings) = &task.timings {
            let [placing, prepare, queued, run, total] =
                [timings.placing_us, timings.prepare_us, timings.queued_us, timings.run_us, timings.total_us]
                    .map(format::micros);
            let parts = format!("placing {placing} · preparing {prepare} · queued {queued} · running {run}");
            line("time", format!("{total}   ({parts})"))?;
        }
        if let Some(problem) = &task.problem {
            line("problem", format!("{}: {}", problem.code, problem.title))?;
        }
        if !task.log.is_empty() {
            line("log", task.log.trim_end().replace('\n', "\n          "))?;
        }
        Ok(())
    }
}
