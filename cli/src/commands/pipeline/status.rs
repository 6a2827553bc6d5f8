//! `shoal pipeline status`

use core::fmt;
use core::time::Duration;

use owo_colors::{OwoColorize, Style};
use serde::Serialize;
use shoal_protocol::api::{Listing, PipelineView, StageView, codes};
use shoal_protocol::output::Event;
use shoal_protocol::pipeline::{PipelineState, StageState};

use crate::Printer;
use crate::client::{Client, ClientError};
use crate::error::{Exit, Failure};
use crate::format;
use crate::table::{Cell, Table};

/// Pipelines shown in the listing.
const LISTED: usize = 50;
/// A followed pipeline is looked at this often, whatever its events say.
const LOOK: Duration = Duration::from_secs(1);
/// Events that come close together are one look.
const TOGETHER: Duration = Duration::from_millis(100);

/// Show the graph of a pipeline and how far it is; without an id, list the pipelines of this peer's users
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  shoal pipeline status\n  shoal pipeline status last --follow")]
pub struct Status {
    /// Its id, the beginning of it, or `last`
    pipeline: Option<String>,
    /// Show it again whenever something changes, until it has ended
    #[arg(short, long)]
    follow: bool,
}

impl Status {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        match (self.pipeline, self.follow) {
            (None, false) => {
                let pipelines = client.pipelines(LISTED).await?;
                if pipelines.items.is_empty() {
                    printer.say("no pipelines   → shoal pipeline run examples/pipelines/words.toml");
                }
                printer.show(&Pipelines(pipelines))
            }
            (Some(id), false) => printer.show(&Details(client.pipeline(&id, Duration::ZERO).await.map_err(failure)?)),
            (id, true) => follow(client, printer, id.as_deref().unwrap_or("last")).await,
        }
    }
}

async fn follow(client: &Client, printer: Printer, id: &str) -> Result<(), Failure> {
    let mut events = client.events().await?;
    let mut view = client.pipeline(id, Duration::ZERO).await.map_err(failure)?;
    let id = view.pipeline.to_string();
    loop {
        printer.show_again(&Details(view.clone()))?;
        if view.state.is_final() {
            return failure_of(&view).map_or(Ok(()), Err);
        }
        let ours = async {
            while let Ok(Some(event)) = events.next().await {
                if matches!(&event.event, Event::PipelineChanged { pipeline, .. } if *pipeline == view.pipeline) {
                    return;
                }
            }
            // The stream is over; the clock goes on.
            core::future::pending::<()>().await;
        };
        if tokio::time::timeout(LOOK, ours).await.is_ok() {
            tokio::time::sleep(TOGETHER).await;
        }
        view = client.pipeline(&id, Duration::ZERO).await?;
    }
}

/// The failure of a request that named a pipeline.
pub(super) fn failure(error: ClientError) -> Failure {
    let unknown = error.code() == Some(codes::NO_PIPELINE);
    let failure = Failure::from(error);
    if unknown { failure.fix("see the pipelines there are: shoal pipeline status") } else { failure }
}

/// How a pipeline that has ended failed, if it did.
pub(super) fn failure_of(view: &PipelineView) -> Option<Failure> {
    if matches!(view.state, PipelineState::Done | PipelineState::Accepted | PipelineState::Running) {
        return None;
    }
    let failure = match &view.problem {
        Some(problem) => Failure::from(problem.clone()),
        None => Failure::new(Exit::TaskFailed, codes::INTERNAL, "the pipeline has no result"),
    };
    let exit = match view.problem.as_ref().map(|problem| problem.code.as_str()) {
        Some(codes::DEADLINE_PASSED) => Exit::TimedOut,
        Some(codes::CANCELLED) => Exit::Interrupted,
        _ => Exit::TaskFailed,
    };
    Some(Failure { exit, ..failure })
}

fn word(state: PipelineState) -> (&'static str, Style) {
    match state {
        PipelineState::Accepted => ("accepted", Style::new()),
        PipelineState::Running => ("running", Style::new().cyan()),
        PipelineState::Done => ("done", Style::new().green()),
        PipelineState::Failed => ("failed", Style::new().red()),
        PipelineState::Cancelled => ("cancelled", Style::new().yellow()),
    }
}

fn stage_word(state: StageState) -> (&'static str, Style) {
    match state {
        StageState::Waiting => ("waiting", Style::new()),
        StageState::Running => ("running", Style::new().cyan()),
        StageState::Done => ("done", Style::new().green()),
        StageState::Skipped => ("skipped", Style::new().dimmed()),
        StageState::Failed => ("failed", Style::new().red()),
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Pipelines(Listing<PipelineView>);

impl fmt::Display for Pipelines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["PIPELINE", "NAME", "STATE", "STAGES", "TASKS", "TIME"]);
        for view in &self.0.items {
            let (state, style) = word(view.state);
            let sum = |of: fn(&StageView) -> u32| view.stages.iter().map(of).sum::<u32>();
            let over = view.stages.iter().filter(|stage| stage.done + stage.skipped == stage.tasks).count();
            table.row([
                Cell::from(format::task(view.pipeline)),
                Cell::from(view.name.as_str()),
                Cell::styled(state, style),
                Cell::from(format!("{over}/{}", view.stages.len())),
                Cell::from(format!("{}/{}", sum(|stage| stage.done + stage.skipped), sum(|stage| stage.tasks))),
                Cell::from(format::micros(view.total_us.unwrap_or(view.age_us))),
            ]);
        }
        table.fmt(f)
    }
}

/// One pipeline with its stages.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Details(pub(super) PipelineView);

impl fmt::Display for Details {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(view) = self;
        let (state, style) = word(view.state);
        write!(f, "pipeline {} {}  {}", format::task(view.pipeline), view.name.bold(), state.style(style))?;
        match (view.total_us, view.deadline_in_ms) {
            (Some(us), _) => writeln!(f, " in {}", format::micros(us))?,
            (None, Some(left)) => {
                let age = format::micros(view.age_us);
                writeln!(f, " since {age}, {} left", format::micros(left.saturating_mul(1_000)))?;
            }
            (None, None) => writeln!(f, " since {}", format::micros(view.age_us))?,
        }
        let mut table = Table::new(["STAGE", "AFTER", "STATE", "TASKS", "PEERS", "RAN", "WROTE", "NOTE"]);
        for stage in &view.stages {
            let (state, style) = stage_word(stage.state);
            let dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
            table.row([
                Cell::from(stage.name.as_str()),
                Cell::from(dash(stage.after.join(", "))),
                Cell::styled(state, style),
                Cell::from(format!("{}/{}", stage.done + stage.skipped, stage.tasks)),
                Cell::from(dash(stage.peers.join(", "))),
                Cell::from(format::micros(stage.run_us)),
                Cell::from(format::bytes(stage.output_bytes)),
                Cell::from(note(stage)),
            ]);
        }
        table.fmt(f)?;
        if let Some(problem) = &view.problem {
            writeln!(f, "{} {}", format_args!("{}:", problem.code).red(), problem.title)?;
        }
        Ok(())
    }
}

fn note(stage: &StageView) -> String {
    let mut notes = Vec::new();
    if stage.remembered > 0 {
        notes.push(format!("{} known", stage.remembered));
    }
    if stage.runs > stage.tasks {
        notes.push(format!("{} runs", stage.runs));
    }
    if let Some(code) = stage.exit_code.filter(|code| *code != 0) {
        notes.push(format!("exit {code}"));
    }
    if !stage.note.is_empty() {
        notes.push(stage.note.clone());
    }
    notes.join("; ")
}
