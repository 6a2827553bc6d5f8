//! `shoal policy lint`

use core::fmt;
use std::path::PathBuf;

use owo_colors::OwoColorize;
use serde::Serialize;
use shoal_protocol::api::policy::RuleView;
use shoal_protocol::api::schema;

use super::file::{Fault, PolicyFile};
use super::show::write_rules;
use crate::Printer;
use crate::error::Failure;

/// Look for what is wrong with a file of business rules, and say in words what it means
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  shoal policy lint city.toml")]
pub struct Lint {
    /// The file; docs/policy.md has all that a rule can say
    file: PathBuf,
}

impl Lint {
    pub(crate) fn run(self, printer: Printer) -> Result<(), Failure> {
        let file = PolicyFile::read(&self.file)?;
        let rules = file.rules().iter().map(RuleView::of).collect();
        printer.show(&Linted {
            schema: schema(),
            file: self.file.display().to_string(),
            rules,
            warnings: file.warnings,
        })
    }
}

#[derive(Debug, Serialize)]
struct Linted {
    schema: String,
    file: String,
    rules: Vec<RuleView>,
    warnings: Vec<Fault>,
}

impl fmt::Display for Linted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {} rules, nothing is wrong with them", self.file.bold(), self.rules.len())?;
        write_rules(f, &self.rules)?;
        self.warnings.iter().try_for_each(|warning| writeln!(f, "{} {warning}", "!".yellow().bold()))
    }
}
