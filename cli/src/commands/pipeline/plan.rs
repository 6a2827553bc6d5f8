//! `shoal pipeline plan`

use core::fmt;
use std::path::PathBuf;

use owo_colors::OwoColorize;
use serde::Serialize;
use shoal_protocol::api::PlanView;

use super::file::{self, Prepared};
use crate::Printer;
use crate::client::Client;
use crate::commands::task::inputs::with_uploads;
use crate::error::Failure;
use crate::format;
use crate::table::{Cell, Table};

/// Tasks shown of a large plan.
const SHOWN: usize = 60;

/// Show where the tasks of a pipeline would run, what would move and how long it would take, without running it
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  shoal pipeline plan examples/pipelines/words.toml")]
pub struct Plan {
    /// The pipeline, as docs/pipelines.md has it
    file: PathBuf,
}

impl Plan {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        let Prepared { request, blobs } = file::prepare(&self.file)?;
        let plan = with_uploads(client, printer, &blobs, async || client.plan(request.clone()).await).await?;
        printer.show(&Planned(plan))
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Planned(PlanView);

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(plan) = self;
        let mut table = Table::new(["STAGE", "PEER", "READS", "OF THAT FROM", "WRITES", "START", "END"]);
        let ms = |ms: f64| format::micros((ms.max(0.0) * 1_000.0) as u64);
        for task in plan.tasks.iter().take(SHOWN) {
            let several = plan.tasks.iter().filter(|other| other.stage == task.stage).nth(1).is_some();
            let stage = if several { format!("{}#{}", task.stage, task.element) } else { task.stage.clone() };
            let from: Vec<_> = task.from.iter().map(|it| format!("{} {}", it.peer, format::bytes(it.bytes))).collect();
            table.row([
                Cell::from(stage),
                Cell::from(format!("{} ({})", task.name, task.role)),
                Cell::from(format::bytes(task.input_bytes)),
                Cell::from(if from.is_empty() { "-".to_owned() } else { from.join(", ") }),
                Cell::from(format::bytes(task.output_bytes)),
                Cell::from(ms(task.start_ms)),
                Cell::from(ms(task.end_ms)),
            ]);
        }
        table.fmt(f)?;
        if plan.tasks.len() > SHOWN {
            writeln!(f, "… and {} more: --json shows all", plan.tasks.len() - SHOWN)?;
        }
        let deadline = match plan.within_deadline {
            Some(true) => ", within the deadline".to_owned(),
            Some(false) => format!(", {}", "too late for the deadline".red()),
            None => String::new(),
        };
        let (moved, tiers) = (format::bytes(plan.moved_bytes), format::bytes(plan.between_tiers_bytes));
        writeln!(
            f,
            "done in {}{deadline}; {moved} move, {tiers} of that between edge and cloud",
            ms(plan.completion_ms)
        )?;
        for stage in &plan.without_peer {
            let what = format!("stage `{}` can run nowhere now", stage.stage);
            writeln!(f, "{}: {}", what.red(), stage.why)?;
        }
        Ok(())
    }
}
