//! `shoal audit show`

use core::fmt;

use owo_colors::OwoColorize;
use serde::Serialize;
use shoal_protocol::audit::{Entry, Happening};

use super::date::utc;
use super::read::Which;
use crate::Printer;
use crate::error::Failure;
use crate::format;

/// Show what the audit log says, if it is as it was written
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  shoal audit show --last 20 --json | jq 'select(.kind == \"refused\")'")]
pub struct Show {
    #[command(flatten)]
    which: Which,
    /// Only so many, the latest
    #[arg(long, value_name = "COUNT")]
    last: Option<usize>,
}

impl Show {
    pub(crate) fn run(self, printer: Printer) -> Result<(), Failure> {
        let entries = self.which.read()?.entries;
        let skipped = self.last.map_or(0, |last| entries.len().saturating_sub(last));
        entries.into_iter().skip(skipped).try_for_each(|entry| printer.show_line(&Line(entry)))
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Line(Entry);

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Entry { seq, at_unix_ms, count, happening, .. } = &self.0;
        write!(f, "{} {seq:>6}  ", utc(*at_unix_ms).dimmed())?;
        match happening {
            Happening::Started { peer, version, .. } => write!(f, "started, as {}… of version {version}", peer.short()),
            Happening::Configured { values, .. } => {
                let values: Vec<_> = values.iter().map(|(key, value)| format!("{key}={value}")).collect();
                write!(f, "configured  {}", values.join(" ").dimmed())
            }
            Happening::Stopped => write!(f, "stopped"),
            Happening::Joined { peer, name, role } => write!(f, "joined  {name}, {role}, {}…", peer.short()),
            Happening::Refused { address, reason } => write!(f, "{}  {address}  {reason}", "refused".yellow()),
            Happening::ApiDenied { who, reason } => write!(f, "{}  {who}  {reason}", "denied".yellow()),
            Happening::MoreDenied => write!(f, "{}  others", "refused".yellow()),
            Happening::Revoked { peer, version } => {
                write!(f, "{}  {}… by list {version}", "revoked".red(), peer.short())
            }
            Happening::RulesDeployed { version, issuer } => {
                write!(f, "business rules  version {version} in force, signed by {}…", issuer.short())
            }
            Happening::RulesRefused { from, version, reason } => {
                write!(f, "{}  business rules", "refused".yellow())?;
                version.map_or(Ok(()), |version| write!(f, " of version {version}"))?;
                from.map_or(Ok(()), |from| write!(f, " from {}…", from.short()))?;
                write!(f, "  {reason}")
            }
            Happening::ServiceDeployed { name, version: 0, signer, .. } => {
                write!(f, "service {name}  removed, signed by {}…", signer.short())
            }
            Happening::ServiceDeployed { name, generation, version, signer } => {
                let signer = signer.short();
                write!(f, "service {name}  version {version} (generation {generation}) in force, signed by {signer}…")
            }
            Happening::ServiceRefused { from, name, reason } => {
                write!(f, "{}  service", "refused".yellow())?;
                name.as_ref().map_or(Ok(()), |name| write!(f, " {name}"))?;
                from.map_or(Ok(()), |from| write!(f, " from {}…", from.short()))?;
                write!(f, "  {reason}")
            }
            Happening::ServiceHeldBack { name, version, failures, calls } => {
                let held_back = "held back".red();
                write!(f, "{held_back}  service {name}, version {version}: {failures} of {calls} calls failed")
            }
            Happening::Banned { peer, reason, for_s } => {
                write!(f, "{}  {}… for {for_s} s  {reason}", "banned".red(), peer.short())
            }
            Happening::Mismatch { task, peer } => {
                write!(f, "{}  task {} at {}…", "mismatch".red(), format::task(*task), peer.short())
            }
            Happening::Garbage { peer, reason } => {
                write!(f, "{}  from {}…  {reason}", "garbage".yellow(), peer.short())
            }
            Happening::Withheld { peer, what, why, .. } => {
                write!(f, "{}  {what} from {}…  {why}", "withheld".yellow(), peer.short())
            }
            Happening::StoreDamaged { task, why } => {
                let task = task.map_or_else(|| "the store".to_owned(), |task| format!("task {}", format::task(task)));
                write!(f, "{}  {task}  {why}", "damaged".red())
            }
            Happening::StatisticReleased { dataset, query, asker, epsilon, rho, .. } => {
                let rho = rho.as_ref().map_or_else(String::new, |rho| format!(" (ρ = {rho})"));
                write!(f, "released  {query} of {dataset} to {}…, ε = {epsilon}{rho}", asker.short())
            }
            Happening::StatisticRefused { dataset, asker, why } => {
                write!(f, "{}  a statistic of {dataset} to {}…  {why}", "refused".yellow(), asker.short())
            }
            Happening::LogDamaged { why } => write!(f, "{}  this log  {why}", "damaged".red()),
            Happening::Lost => write!(f, "{}  entries that could not be written", "lost".red()),
        }?;
        if *count > 1 { write!(f, "  ×{count}") } else { Ok(()) }
    }
}
