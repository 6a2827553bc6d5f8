//! What a person sees while it runs: a table that is drawn again on a terminal, a line now and then elsewhere.
//!
//! **Invariant:** all of it goes to standard error.

use std::fmt::Write;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::board::{Board, Place};
use super::mode::Mode;
use super::work;

/// Time between two lines where there is no terminal.
const LINE: Duration = Duration::from_secs(4);

#[derive(Debug)]
pub(super) struct Live {
    table: Option<ProgressBar>,
    shown: Mutex<Shown>,
}

#[derive(Debug)]
struct Shown {
    mode: Mode,
    /// Since the phase began, when the last line was printed.
    line_at: Duration,
}

impl Live {
    pub(super) fn new() -> Self {
        let table = std::io::stderr().is_terminal().then(|| {
            // The template is a constant, and without it only the spinner would be drawn too.
            let style = ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
            ProgressBar::new_spinner().with_style(style)
        });
        Self { table, shown: Mutex::new(Shown { mode: Mode::Mesh, line_at: Duration::ZERO }) }
    }

    /// Something to be told once, above the table.
    pub(super) fn say(&self, line: impl AsRef<str>) {
        match &self.table {
            Some(table) => table.suspend(|| anstream::eprintln!("{}", line.as_ref())),
            None => anstream::eprintln!("{}", line.as_ref()),
        }
    }

    pub(super) fn begin(&self, mode: Mode) {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Shown { mode, line_at: Duration::ZERO };
        if let Some(table) = &self.table {
            table.reset();
        }
    }

    pub(super) fn show(&self, board: &Board) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        match &self.table {
            Some(table) => table.set_message(drawn(shown.mode, board)),
            None => {
                let elapsed = board.elapsed();
                if elapsed >= shown.line_at + LINE {
                    shown.line_at = elapsed;
                    anstream::eprintln!("{}", line(shown.mode, board));
                }
            }
        }
    }

    pub(super) fn end(&self, board: &Board) {
        let mode = self.shown.lock().unwrap_or_else(PoisonError::into_inner).mode;
        if let Some(table) = &self.table {
            table.finish_and_clear();
        }
        anstream::eprintln!("{}", line(mode, board));
    }
}

/// One line about all users.
fn line(mode: Mode, board: &Board) -> String {
    let (tasks, tallies) = board.tallies();
    let sum = |part: fn(&super::board::Tally) -> usize| tallies.values().map(part).sum::<usize>();
    let done = sum(|tally| tally.done);
    let at = |place| tallies.values().filter_map(|tally| tally.places.get(&place)).sum::<usize>();
    let latencies = tallies.values().flat_map(|tally| tally.latencies.iter().copied());
    let p50 = super::percentiles::Latency::of(latencies).map_or_else(|| "-".into(), |all| format!("{:.0}", all.p50_ms));
    format!(
        "{:5.1} s  {mode}: {done} of {tasks} answered, {} under way, {} home · {} neighbour · {} cloud, p50 {p50} ms",
        board.elapsed().as_secs_f64(),
        sum(|tally| tally.sent) - done,
        at(Place::Home),
        at(Place::Neighbour),
        at(Place::Cloud),
    )
}

fn drawn(mode: Mode, board: &Board) -> String {
    let (_, tallies) = board.tallies();
    let mut text = format!("{}\n", line(mode, board));
    let _ = write!(text, "  USER      SENT  UNDER WAY  DONE   HOME  NEIGHBOUR  CLOUD     P50");
    for user in work::users() {
        let tally = tallies.get(user).cloned().unwrap_or_default();
        let p50 = tally.latency().map_or_else(|| "-".into(), |latency| format!("{:.0} ms", latency.p50_ms));
        let _ = write!(
            text,
            "\n  {user:8}  {:4}  {:9}  {:4}  {:4.0}%  {:8.0}%  {:4.0}%  {p50:>6}",
            tally.sent,
            tally.sent - tally.done,
            tally.done,
            tally.percent(Place::Home),
            tally.percent(Place::Neighbour),
            tally.percent(Place::Cloud),
        );
    }
    text
}
