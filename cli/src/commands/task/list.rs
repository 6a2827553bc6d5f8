//! `shoal task ls`

use core::fmt;

use owo_colors::Style;
use serde::Serialize;
use shoal_protocol::api::{Listing, TaskView};
use shoal_protocol::config::{FINISHED_TASKS_MAX, HOME_TASKS_MAX};
use shoal_protocol::task::TaskState;

use crate::Printer;
use crate::client::Client;
use crate::error::Failure;
use crate::format;
use crate::table::{Cell, Table};

/// Tasks shown when nobody says how many.
const LISTED: usize = 50;

/// List the tasks of this peer's users, newest first
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  shoal task ls --state running")]
pub struct List {
    /// Only those in this state
    #[arg(long, value_parser = parse_state)]
    state: Option<TaskState>,
    /// At most this many; 50 when absent
    #[arg(short = 'n', long)]
    limit: Option<usize>,
}

fn parse_state(text: &str) -> Result<TaskState, String> {
    use TaskState::{Accepted, Cancelled, Done, Failed, Fetching, Placing, Queued, Running};
    let states = [Accepted, Placing, Fetching, Queued, Running, Done, Failed, Cancelled];
    states
        .into_iter()
        .find(|state| format::task_state(*state) == text)
        .ok_or_else(|| format!("expected one of {}", states.map(format::task_state).join(", ")))
}

impl List {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        let mut tasks = client.tasks(HOME_TASKS_MAX + FINISHED_TASKS_MAX).await?;
        let all = tasks.items.len();
        tasks.items.retain(|task| self.state.is_none_or(|state| task.state == state));
        let found = tasks.items.len();
        tasks.items.truncate(self.limit.unwrap_or(LISTED));
        if found == 0 && all > 0 {
            printer.say(format_args!("none of {all} tasks is in that state   → shoal task ls"));
        } else if all == 0 {
            printer.say("no tasks   → shoal run wordcount -i README.md");
        }
        printer.show(&Tasks(tasks))?;
        if self.limit.is_none() && found > LISTED {
            printer.say(format_args!("{} more   → shoal task ls -n {found}", found - LISTED));
        }
        Ok(())
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Tasks(pub(crate) Listing<TaskView>);

impl fmt::Display for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["TASK", "MODULE", "STATE", "PEER", "INPUT", "TIME", "AGE"]);
        for task in &self.0.items {
            let state = match (task.state, task.exit_code) {
                (TaskState::Done, Some(code)) if code != 0 => format!("exit {code}"),
                (state, _) => format::task_state(state).to_owned(),
            };
            let style = match (task.state, task.exit_code) {
                (TaskState::Done, None | Some(0)) => Style::new().green(),
                (TaskState::Done | TaskState::Failed, _) => Style::new().red(),
                (TaskState::Running, _) => Style::new().cyan(),
                (TaskState::Cancelled, _) => Style::new().yellow(),
                (TaskState::Accepted | TaskState::Placing | TaskState::Fetching | TaskState::Queued, _) => Style::new(),
            };
            let dash = || "-".to_owned();
            table.row([
                Cell::from(format::task(task.task)),
                Cell::from(task.name.as_str()),
                Cell::styled(state, style),
                Cell::from(task.executor.as_ref().map_or(dash(), |executor| executor.name.clone())),
                Cell::from(if task.input_bytes > 0 { format::bytes(task.input_bytes) } else { dash() }),
                Cell::from(task.timings.map_or(dash(), |timings| format::micros(timings.total_us))),
                Cell::from(format::micros(task.age_us)),
            ]);
        }
        table.fmt(f)
    }
}
