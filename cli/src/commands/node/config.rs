//! `shoal config`

use core::fmt;
use std::path::PathBuf;
use std::process::Command as Process;

use owo_colors::{OwoColorize, Style};
use serde::Serialize;
use shoal_protocol::api::{ConfigView, schema};

use crate::Printer;
use crate::client::{Client, ClientError};
use crate::error::{Exit, Failure, own, plain};
use crate::programs;
use crate::table::{Cell, Table};

#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    Show(Show),
    Check(Check),
}

impl Verb {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        match self {
            Self::Show(verb) => verb.run(client, printer).await,
            Self::Check(verb) => verb.run(printer),
        }
    }
}

/// Show the configuration the daemon runs with, or would
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  shoal config show --origin")]
pub struct Show {
    /// Say where each value came from: default, a file, the environment, a flag
    #[arg(long)]
    origin: bool,
}

impl Show {
    async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        let view = match client.config().await {
            Err(error @ ClientError::Unreachable { .. }) => {
                let view = unstarted().ok_or(error)?;
                printer.say("shoald does not run; this is what it would run with");
                view
            }
            answer => answer?,
        };
        printer.show(&Values { view, origin: self.origin })
    }
}

/// What a daemon started now would run with.
fn unstarted() -> Option<ConfigView> {
    let shown = Process::new(programs::beside("shoald").ok()?).arg("config-show").output().ok()?;
    serde_json::from_slice(&shown.stdout).ok()
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Values {
    pub(crate) view: ConfigView,
    #[serde(skip)]
    pub(crate) origin: bool,
}

impl fmt::Display for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.origin {
            return self.view.values.iter().try_for_each(|item| writeln!(f, "{} = {}", item.key, item.value));
        }
        let mut table = Table::new(["KEY", "VALUE", "ORIGIN"]);
        for item in &self.view.values {
            let style = if item.origin == "default" { Style::new().dimmed() } else { Style::new() };
            table.row([
                Cell::from(item.key.as_str()),
                Cell::from(item.value.as_str()),
                Cell::styled(item.origin.as_str(), style),
            ]);
        }
        table.fmt(f)
    }
}

/// Check a configuration file without starting anything
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  shoal config check /etc/shoal/shoal.toml")]
pub struct Check {
    /// The file
    file: PathBuf,
}

impl Check {
    fn run(self, printer: Printer) -> Result<(), Failure> {
        std::fs::metadata(&self.file).map_err(|error| Failure::read(&self.file, &error))?;
        let daemon = programs::beside("shoald")?;
        let checked = Process::new(&daemon).arg("--config").arg(&self.file).arg("--check-config").output();
        let checked = checked.map_err(|error| {
            Failure::new(Exit::Unreachable, own::PROGRAM, format!("cannot start {}", daemon.display()))
                .why(plain(&error))
        })?;
        if checked.status.success() {
            let file = self.file.display().to_string();
            return printer.show(&Good { schema: schema(), file, good: true });
        }
        let words = String::from_utf8_lossy(&checked.stderr);
        Err(Failure::new(
            Exit::BadConfiguration,
            own::CONFIGURATION,
            format!("`{}` is not a good configuration", self.file.display()),
        )
        .why(words.trim())
        .fix("correct it, then check again"))
    }
}

#[derive(Debug, Serialize)]
struct Good {
    schema: String,
    file: String,
    good: bool,
}

impl fmt::Display for Good {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.file, "is good".green())
    }
}
