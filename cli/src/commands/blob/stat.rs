//! `shoal blob stat`

use core::fmt;

use serde::Serialize;
use shoal_protocol::api::BlobStat;
use shoal_protocol::id::BlobId;

use crate::Printer;
use crate::client::Client;
use crate::error::Failure;
use crate::format;

/// Show a blob: its size, whether it is here, who else has it, and what keeps it
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  shoal blob stat b3:…64 digits… --seek")]
pub struct Stat {
    /// Its name: b3: and 64 hexadecimal digits
    blob: BlobId,
    /// Ask the neighbours who has it, instead of telling only what is known
    #[arg(long)]
    seek: bool,
}

impl Stat {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        printer.show(&Shown(client.blob_stat(self.blob, self.seek).await?))
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Shown(pub(crate) BlobStat);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stat = &self.0;
        let mut line = |name: &str, value: String| writeln!(f, "{name:<8}  {value}");
        line("blob", stat.id.to_string())?;
        line("size", stat.bytes.map_or_else(|| "unknown".to_owned(), format::bytes))?;
        let here = match (stat.local, stat.partial_bytes) {
            (true, _) if stat.durable => "complete, survives a power cut".to_owned(),
            (true, _) => "complete".to_owned(),
            (false, Some(bytes)) => format!("partial, about {}", format::bytes(bytes)),
            (false, None) => "no".to_owned(),
        };
        line("here", here)?;
        let mut kept = Vec::new();
        if stat.pinned {
            kept.push("pinned".to_owned());
        }
        match stat.leases {
            0 => {}
            1 => kept.push("the output of a task, left here for its home".to_owned()),
            count => kept.push(format!("the output of {count} tasks, left here for their homes")),
        }
        line("kept", if kept.is_empty() { "until room is wanted".to_owned() } else { kept.join(", ") })?;
        if !stat.labels.is_empty() {
            line("labels", format::labels(&stat.labels))?;
        }
        if !stat.owners.is_empty() {
            let owners = stat.owners.iter().map(|owner| owner.name.as_str()).collect::<Vec<_>>();
            line("says", owners.join(", "))?;
        }
        if stat.is_module {
            line("kind", "module".to_owned())?;
        }
        let holders = stat.holders.iter().map(|holder| holder.name.as_str()).collect::<Vec<_>>();
        line("also at", if holders.is_empty() { "nobody that is known".to_owned() } else { holders.join(", ") })
    }
}
