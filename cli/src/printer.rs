//! One value, two renderings: text for people, JSON for programs.
//!
//! **Invariant:** standard output carries data only; everything said about it goes to standard error.

use core::fmt::Display;
use std::io::{self, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::error::{Exit, Failure, own, plain};

/// Where and how a command's answer is shown.
#[derive(Debug, Clone, Copy)]
pub struct Printer {
    json: bool,
    quiet: bool,
}

impl Printer {
    /// JSON or text; with `quiet`, nothing but data and errors.
    pub fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet }
    }

    /// Whether programs read the answer.
    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// Shows a whole answer.
    pub(crate) fn show(self, value: &(impl Display + Serialize)) -> Result<(), Failure> {
        let mut out = anstream::stdout().lock();
        let written = if self.json {
            json(&mut out, value, serde_json::to_string_pretty)
        } else {
            let text = value.to_string();
            let end = if text.ends_with('\n') || text.is_empty() { "" } else { "\n" };
            write!(out, "{text}{end}")
        };
        finish(written.and_then(|()| out.flush()))
    }

    /// Shows one of a stream of answers: a line each, also as JSON.
    pub(crate) fn show_line(self, value: &(impl Display + Serialize)) -> Result<(), Failure> {
        let mut out = anstream::stdout().lock();
        let written = if self.json { json(&mut out, value, serde_json::to_string) } else { writeln!(out, "{value}") };
        finish(written.and_then(|()| out.flush()))
    }

    /// Replaces what the terminal shows; on anything else each showing follows the one before.
    pub(crate) fn show_again(self, value: &(impl Display + Serialize)) -> Result<(), Failure> {
        if self.json {
            return self.show_line(value);
        }
        if io::stdout().is_terminal() {
            finish(write!(anstream::stdout(), "\x1b[H\x1b[2J"))?;
        }
        self.show(value)
    }

    /// Bytes as they are.
    pub(crate) fn data(self, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        finish(out.write_all(bytes).and_then(|()| out.flush()))
    }

    /// A remark for the person, on standard error.
    pub(crate) fn say(self, remark: impl Display) {
        if !self.quiet {
            // There is nobody left to tell when standard error is gone.
            let _ = writeln!(anstream::stderr(), "{remark}");
        }
    }

    /// Whether a person watches standard error, so that progress makes sense.
    pub(crate) fn is_watched(self) -> bool {
        !self.quiet && !self.json && io::stderr().is_terminal()
    }

    /// A bar for `length` bytes to come; invisible when nobody watches.
    pub(crate) fn bar(self, what: &str, length: u64) -> ProgressBar {
        let style = ProgressStyle::with_template("{msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        ProgressBar::with_draw_target(Some(length), self.target()).with_style(style).with_message(what.to_owned())
    }

    /// A spinner for a wait of unknown length; invisible when nobody watches.
    pub(crate) fn spinner(self, what: impl Into<String>) -> ProgressBar {
        let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let spinner = ProgressBar::with_draw_target(None, self.target()).with_style(style).with_message(what.into());
        if self.is_watched() {
            spinner.enable_steady_tick(core::time::Duration::from_millis(120));
        }
        spinner
    }

    fn target(self) -> ProgressDrawTarget {
        if self.is_watched() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() }
    }

    /// Shows why the command failed.
    pub fn fail(self, failure: &Failure) {
        let mut err = anstream::stderr();
        // There is nobody left to tell when standard error is gone.
        let _ = if self.json { writeln!(err, "{}", failure.to_json()) } else { writeln!(err, "{failure}") };
    }
}

fn json<T: Serialize>(
    out: &mut impl Write,
    value: &T,
    render: impl Fn(&T) -> serde_json::Result<String>,
) -> io::Result<()> {
    writeln!(out, "{}", render(value).map_err(io::Error::other)?)
}

/// A reader that has seen enough (`| head`) is no failure of ours.
fn finish(written: io::Result<()>) -> Result<(), Failure> {
    match written {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => Err(Failure::new(Exit::Usage, own::WRITE, "cannot write to standard output").why(plain(&error))),
    }
}
