//! `shoal explain`

use core::fmt;

use owo_colors::{OwoColorize, Style};
use serde::Serialize;
use shoal_protocol::api::{Explanation, Listing, TaskRequest, TaskView, codes};
use shoal_protocol::placement::explain::{AppliedRule, BuildCost, Candidate, Decision, Method, Verdict};

use super::inputs::with_uploads;
use super::request::{Prepared, TaskArguments};
use crate::Printer;
use crate::client::Client;
use crate::error::Failure;
use crate::format::{self, short_number};
use crate::table::{Cell, Table};

/// Show why a task ran where it ran: every peer, each term of its cost, and what would have changed the choice
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  shoal explain last\n  shoal explain --dry-run wordcount -i README.md --no-cloud")]
pub struct Explain {
    /// A task (its id, the beginning of it, or `last`); a module with --dry-run
    #[arg(value_name = "TASK|MODULE")]
    subject: String,
    /// Say where this module would run now, without running it
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    task: TaskArguments,
    /// Arguments of the module, with --dry-run
    #[arg(last = true)]
    args: Vec<String>,
}

impl Explain {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        if self.dry_run {
            let Prepared { request, blobs } = self.task.prepare(&self.subject, self.args)?;
            let ask = async || client.dry_run(request.clone()).await;
            let decision = match with_uploads(client, printer, &blobs, ask).await {
                Ok(decision) => decision,
                Err(failure) => return Err(super::refused(client, failure, &request).await),
            };
            return printer.show(&Explained::new(Subject::dry_run(request), vec![decision]));
        }
        let task = client.task(&self.subject).await.map_err(super::failure)?;
        let decisions = match client.explain(&task.task.to_string()).await {
            // Another peer told what became of it, and not how it was placed.
            Err(error) if error.code() == Some(codes::NO_TASK) => Listing::new(Vec::new()),
            answer => answer.map_err(super::failure)?,
        };
        if decisions.items.is_empty() {
            let what = match task.state.is_final() {
                true => "how it was placed is not remembered: it was before a restart, at another peer, or long ago",
                false => "nothing has been decided for it yet, or it is placed at another peer",
            };
            printer.say(format_args!("{what}   → shoal task show {}", self.subject));
        }
        printer.show(&Explained::new(Subject::Task(Box::new(task)), decisions.items))
    }
}

/// What is explained.
#[derive(Debug)]
pub(super) enum Subject {
    /// A task that was handed in.
    Task(Box<TaskView>),
    /// A module that would be, and the names of its builds.
    DryRun { module: String, builds: Vec<String> },
}

impl Subject {
    pub(super) fn dry_run(request: TaskRequest) -> Self {
        let builds = request.variants.into_iter().map(|variant| variant.name).collect();
        Self::DryRun { module: request.name, builds }
    }

    /// What to call a build: its name where that is known, its number otherwise.
    fn build(&self, index: u8) -> String {
        match self {
            Self::DryRun { builds, .. } => builds.get(usize::from(index)).cloned(),
            Self::Task(_) => None,
        }
        .unwrap_or_else(|| format!("#{index}"))
    }
}

/// The decisions of one task, an attempt each.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Explained {
    decisions: Explanation,
    #[serde(skip)]
    subject: Subject,
}

impl Explained {
    pub(super) fn new(subject: Subject, decisions: Vec<Decision>) -> Self {
        Self { decisions: Listing::new(decisions), subject }
    }

    fn headline(&self, decision: &Decision) -> String {
        let mut line = match &self.subject {
            Subject::Task(task) => format!("task {} {}", format::task(task.task), task.name),
            Subject::DryRun { module, .. } => format!("{module} would go"),
        };
        if self.decisions.items.len() > 1 {
            line.push_str(&format!(", attempt {}", decision.epoch));
        }
        let winner = decision.candidates.iter().find(|candidate| Some(candidate.peer) == decision.executor);
        match (winner, decision.executor) {
            (Some(winner), _) => format!("{line} → {}", winner.name),
            (None, Some(peer)) => format!("{line} → {}", peer.short()),
            (None, None) => format!("{line} → nowhere"),
        }
    }

    /// What to call the build that a candidate would run.
    fn build(&self, candidate: &Candidate) -> String {
        let said = candidate.builds.iter().find(|of| of.variant == candidate.variant);
        said.map_or_else(|| self.subject.build(candidate.variant), |of| of.name.clone())
    }

    fn candidates(&self, decision: &Decision) -> Table {
        let header = ["PEER", "VERDICT", "cost", "= loss", "+ wait", "+ transfer", "+ compute", "home in", "note"];
        let mut table = Table::new(header).indented("  ");
        // Costs are compared down a column, so they share their number of decimals.
        let decimals = if decision.candidates.iter().any(small) { 2 } else { 1 };
        let number = |value: f64| if value == 0.0 { "0".to_owned() } else { format!("{value:.decimals$}") };
        let has_builds = decision.candidates.iter().any(|candidate| candidate.variant > 0);
        for candidate in &decision.candidates {
            let note = match &candidate.note {
                note if !has_builds || candidate.cost.is_none() => note.clone(),
                note if note.is_empty() => format!("build {}", self.build(candidate)),
                note => format!("build {}; {note}", self.build(candidate)),
            };
            let ahead = candidate.cost.map(|cost| cost.ahead).filter(|ahead| *ahead > 0.0);
            let note = match ahead.map(|ahead| format!("+ {} for what follows in its pipeline", number(ahead))) {
                None => note,
                Some(ahead) if note.is_empty() => ahead,
                Some(ahead) => format!("{ahead}; {note}"),
            };
            let term = |sign: &str, value: Option<f64>| {
                Cell::from(value.map_or(String::new(), |value| format!("{sign} {}", number(value))))
            };
            let cost = candidate.cost;
            table.row([
                Cell::from(candidate.name.as_str()),
                Cell::styled(verdict(candidate.verdict), verdict_style(candidate.verdict)),
                Cell::from(cost.map_or("-".to_owned(), |cost| number(cost.total()))),
                term("=", cost.map(|cost| cost.loss)),
                term("+", cost.map(|cost| cost.wait)),
                term("+", cost.map(|cost| cost.transfer)),
                term("+", cost.map(|cost| cost.compute)),
                Cell::from(cost.map_or(String::new(), |cost| format!("{} ms", short_number(cost.completion_ms)))),
                Cell::from(note),
            ]);
        }
        table
    }
}

/// What each build would have cost at one peer: `builds at nas: full 208.1 = 0 + 208.1 (chosen) · int8 395.2 = 333.0 + 62.2`.
fn builds(candidate: &Candidate) -> Option<String> {
    if candidate.builds.is_empty() {
        return None;
    }
    let build = |of: &BuildCost| {
        let chosen = if of.variant == candidate.variant { " (chosen)" } else { "" };
        let (total, loss, time) = (of.cost.total(), of.cost.loss, of.cost.time());
        format!("{} {total:.1} = {loss:.1} + {time:.1}{chosen}", of.name)
    };
    let builds = candidate.builds.iter().map(build).collect::<Vec<_>>().join(" · ");
    Some(format!("builds at {} (cost = loss + time): {builds}", candidate.name))
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.decisions.items.as_slice();
        let mut is_first = true;
        while let Some((decision, others)) = rest.split_first() {
            if !core::mem::take(&mut is_first) {
                writeln!(f)?;
            }
            // A task that nobody may run is looked at again and again, with the same result.
            let same = others.iter().take_while(|other| says_the_same(decision, other)).count();
            rest = others.get(same..).unwrap_or_default();
            let how = method(decision.method);
            let asked = if decision.asked > 0 { format!(", {} asked", decision.asked) } else { String::new() };
            // Without a question to anybody, a decision takes less than the clock is read for.
            let decided = match decision.decided_in_us {
                0 => "at once".to_owned(),
                us => format!("in {}", format::micros(us)),
            };
            let again = if same > 0 { format!(", and {same} times more") } else { String::new() };
            writeln!(
                f,
                "{}   (decided {} {how}{asked}{again}, λ={})",
                self.headline(decision).bold(),
                decided,
                short_number(decision.lambda),
            )?;
            write!(f, "{}", self.candidates(decision))?;
            for line in decision.candidates.iter().filter_map(builds) {
                writeln!(f, "  {line}")?;
            }
            for rule in &decision.rules {
                let AppliedRule { name, line, version, says } = rule;
                writeln!(f, "by rule `{name}` (line {line}, version {version}): {says}")?;
            }
            for (index, sentence) in decision.counterfactuals.iter().enumerate() {
                let lead = if index == 0 { "what would change it: " } else { "                      " };
                writeln!(f, "{lead}{sentence}")?;
            }
        }
        Ok(())
    }
}

/// Whether two decisions in a row found nobody, for the same reasons.
fn says_the_same(one: &Decision, other: &Decision) -> bool {
    let found = |decision: &Decision| decision.executor.is_some();
    !found(one) && !found(other) && one.candidates == other.candidates && one.rules == other.rules
}

fn small(candidate: &Candidate) -> bool {
    candidate.cost.is_some_and(|cost| cost.total() < 1.0)
}

fn method(method: Method) -> &'static str {
    match method {
        Method::Local => "where it arose",
        Method::Award => "by what was known",
        Method::Offers => "by offers",
        Method::Forwarded => "by the peer it was first awarded to",
        Method::Pinned => "as the only peer allowed",
        Method::None => "without finding a peer",
    }
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Won => "won",
        Verdict::Offered => "offered",
        Verdict::Ranked => "ranked",
        Verdict::Declined => "declined",
        Verdict::Lost => "lost",
        Verdict::Excluded => "excluded",
    }
}

fn verdict_style(verdict: Verdict) -> Style {
    match verdict {
        Verdict::Won => Style::new().green().bold(),
        Verdict::Offered | Verdict::Ranked => Style::new(),
        Verdict::Declined => Style::new().yellow(),
        Verdict::Lost => Style::new().red(),
        Verdict::Excluded => Style::new().dimmed(),
    }
}
