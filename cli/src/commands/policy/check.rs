//! `shoal policy check`

use core::fmt;
use std::path::Path;

use owo_colors::Style;
use serde::Serialize;
use shoal_protocol::api::{PolicyCheck, PolicyCheckRequest, PolicySubject, codes};

use crate::Printer;
use crate::client::Client;
use crate::commands::pipeline::file;
use crate::commands::task::inputs::with_uploads;
use crate::commands::task::request::{Prepared, TaskArguments};
use crate::error::{Exit, Failure};
use crate::format;
use crate::table::{Cell, Table};

/// Say of each peer whether it might run a task on these data, and which label forbids it; nothing moves and nothing runs
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  shoal policy check wordcount -i letters.txt --residency eu
  shoal policy check wordcount -i b3:…64 digits…
  shoal policy check examples/pipelines/words.toml --json

Exit: 0 each task has a peer that may run it · 77 one has none")]
pub struct Check {
    /// A module, or a pipeline's file (its name ends in .toml)
    #[arg(value_name = "MODULE|FILE.toml")]
    subject: String,
    #[command(flatten)]
    task: TaskArguments,
}

impl Check {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        let (request, blobs) = if self.subject.ends_with(".toml") {
            let file::Prepared { request, blobs } = file::prepare(Path::new(&self.subject))?;
            (PolicyCheckRequest { task: None, pipeline: Some(request) }, blobs)
        } else {
            let Prepared { request, blobs } = self.task.prepare(&self.subject, Vec::new())?;
            (PolicyCheckRequest { task: Some(request), pipeline: None }, blobs)
        };
        let checked = with_uploads(client, printer, &blobs, async || client.check_policy(&request).await).await?;
        let forbidden = nowhere(&checked);
        printer.show(&Checked(checked))?;
        match forbidden {
            Some(what) => Err(Failure::new(Exit::Denied, codes::RESIDENCY, format!("no peer may run {what}")).fix(
                "give a peer of the region its label (shoal peer label PEER residency=REGION), or name more places",
            )),
            None => Ok(()),
        }
    }
}

/// The first of what is checked that no peer may run.
fn nowhere(checked: &PolicyCheck) -> Option<String> {
    let subject = checked.subjects.iter().find(|subject| !subject.peers.iter().any(|peer| peer.allowed))?;
    Some(subject.stage.as_ref().map_or_else(|| "it".to_owned(), |stage| format!("stage `{stage}`")))
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Checked(PolicyCheck);

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for subject in &self.0.subjects {
            show(f, subject)?;
        }
        Ok(())
    }
}

fn show(f: &mut fmt::Formatter<'_>, subject: &PolicySubject) -> fmt::Result {
    let labels = format::labels(&subject.labels);
    let said = if labels.is_empty() { "no label: it may go anywhere".to_owned() } else { labels };
    let stage = subject.stage.as_ref().map(|stage| format!("stage {stage}: ")).unwrap_or_default();
    writeln!(f, "{stage}reads data with {said}")?;
    let mut table = Table::new(["PEER", "ROLE", "RESIDENCY", "SITE", "VERDICT", "why"]).indented("  ");
    for peer in &subject.peers {
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let verdict = match peer.allowed {
            true => Cell::styled("may", Style::new().green()),
            false => Cell::styled("may not", Style::new().red()),
        };
        table.row([
            Cell::from(peer.name.clone()),
            Cell::from(peer.role.to_string()),
            Cell::from(or_dash(&peer.residency)),
            Cell::from(or_dash(&peer.site)),
            verdict,
            Cell::from(peer.why.clone()),
        ]);
    }
    write!(f, "{table}")
}
