//! `shoal events`

use core::fmt;

use owo_colors::{OwoColorize, Style};
use serde::Serialize;
use shoal_protocol::api::EventView;
use shoal_protocol::id::PeerId;
use shoal_protocol::output::{Event, Judgement};
use shoal_protocol::task::TaskState;

use crate::Printer;
use crate::client::Client;
use crate::commands::peer::list::state_style;
use crate::error::{Exit, Failure, own};
use crate::format;

/// Follow what happens to tasks and peers, until Ctrl-C
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  shoal events -f --json | jq .event")]
pub struct Events {
    /// Follow: the only way there is, spelled out for those used to it
    #[arg(short, long)]
    follow: bool,
    /// End after this many events
    #[arg(short = 'n', long, value_name = "N")]
    count: Option<u64>,
}

impl Events {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        let mut events = client.events().await?;
        printer.say("following events; Ctrl-C ends");
        let mut left = self.count.unwrap_or(u64::MAX);
        let mut missed = 0;
        while left > 0 {
            let Some(event) = events.next().await? else {
                return Err(Failure::new(Exit::Unreachable, own::BROKEN, "shoald ended the stream of events")
                    .fix("see whether it still runs: shoal status"));
            };
            if events.missed() > missed {
                printer.say(format_args!("{} events were missed", events.missed() - missed));
                missed = events.missed();
            }
            printer.show_line(&Line(event))?;
            left -= 1;
        }
        Ok(())
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Line(pub(crate) EventView);

impl Line {
    fn name(&self, peer: &PeerId) -> String {
        self.0.names.get(peer).cloned().unwrap_or_else(|| peer.short())
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  ", format_args!("{:>9.3}s", self.0.at_us as f64 / 1e6).dimmed())?;
        match &self.0.event {
            Event::TaskChanged { task, state, executor, epoch, note } => {
                write!(f, "task {}  {}", format::task(*task), colored(*state))?;
                if let Some(executor) = executor {
                    write!(f, " at {}", self.name(executor))?;
                }
                if *epoch > 1 {
                    write!(f, " (attempt {epoch})")?;
                }
                note.as_ref().map_or(Ok(()), |note| write!(f, "  {note}"))
            }
            Event::PipelineChanged { pipeline, stage, state, note } => {
                write!(f, "pipeline {}", format::task(*pipeline))?;
                stage.as_ref().map_or(Ok(()), |stage| write!(f, " stage {stage}"))?;
                write!(f, "  {state}")?;
                note.as_ref().map_or(Ok(()), |note| write!(f, "  {note}"))
            }
            Event::PeerChanged { peer, name, state } => {
                let name = if name.is_empty() { self.name(peer) } else { name.clone() };
                write!(f, "peer {name}  {}", format::peer_state(*state).style(state_style(*state)))
            }
            Event::PeerRevoked { peer, name } => {
                let name = if name.is_empty() { self.name(peer) } else { name.clone() };
                write!(f, "peer {name}  {}", "revoked".red())
            }
            Event::RulesDeployed { version } => write!(f, "business rules of version {version} are in force"),
            Event::ServiceDeployed { name, removed: true, .. } => write!(f, "service {name} is removed"),
            Event::ServiceDeployed { name, generation, .. } => {
                write!(f, "service {name}: generation {generation} is in force")
            }
            Event::ServiceHeldBack { name, version, failures, calls } => write!(
                f,
                "service {name}: version {version} is {}, {failures} of {calls} calls from here failed",
                "held back".red()
            ),
            Event::RevocationsForked { version } => write!(
                f,
                "{}: two lists of version {version} are signed with one key",
                "revocations contradict each other".red()
            ),
            Event::AnswerNotBelieved { task, peer } => write!(
                f,
                "peer {}  {}: its answer to task {} was not that of the others",
                self.name(peer),
                "not believed".red(),
                format::task(*task)
            ),
            Event::PeerJudged { peer, judgement, for_s } => {
                let follows = match judgement {
                    Judgement::Distrusted => "does not do what it says: nothing is placed on it",
                    Judgement::CoolsOff => "floods us or talks nonsense: it is not heard",
                    Judgement::Banned => "went on: it is banned",
                };
                write!(f, "peer {}  {} for {for_s} s", self.name(peer), follows.red())
            }
            Event::Withheld { peer, what, why, .. } => {
                write!(f, "{what} was withheld from {}: {why}", self.name(peer))
            }
            Event::RecordDamaged { task, why } => {
                let task = task.map_or_else(|| "something".to_owned(), format::task);
                write!(f, "the record of {task} is {}: {why}", "damaged".red())
            }
        }
    }
}

fn colored(state: TaskState) -> String {
    let style = match state {
        TaskState::Accepted | TaskState::Placing | TaskState::Fetching | TaskState::Queued => Style::new(),
        TaskState::Running => Style::new().cyan(),
        TaskState::Done => Style::new().green(),
        TaskState::Failed => Style::new().red(),
        TaskState::Cancelled => Style::new().yellow(),
    };
    format::task_state(state).style(style).to_string()
}
