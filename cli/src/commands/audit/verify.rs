//! `shoal audit verify`

use core::fmt;

use owo_colors::OwoColorize;
use serde::Serialize;
use shoal_protocol::api::schema;
use shoal_protocol::audit::{Fault, Hash};
use shoal_protocol::id::PeerId;

use super::read::Which;
use crate::Printer;
use crate::error::{Exit, Failure, own};

/// Check that no entry of the audit log was changed, removed, added or cut off
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  shoal audit verify --noted 814:9f3c…\n\n\
    Note the last number and hash somewhere else: whoever has the node's key could write another log,\n\
    and whoever can write the directory could put back an older one.")]
pub struct Verify {
    #[command(flatten)]
    which: Which,
    /// A number and hash that were printed before: the log must still have that entry
    #[arg(long, value_name = "NUMBER:HASH", value_parser = noted)]
    noted: Option<(u64, Hash)>,
}

fn noted(text: &str) -> Result<(u64, Hash), String> {
    let (number, hash) = text.split_once(':').ok_or("it is NUMBER:HASH, as `shoal audit verify` prints it")?;
    let number = number.parse().map_err(|_| "the part before the colon is the number of an entry")?;
    Ok((number, hash.parse()?))
}

impl Verify {
    pub(crate) fn run(self, printer: Printer) -> Result<(), Failure> {
        let good = self.which.read()?;
        if let Some((number, hash)) = self.noted
            && good.hash_of(number) != Some(hash)
        {
            return Err(Failure::new(Exit::Denied, own::AUDIT, "the audit log is not the one that was noted")
                .why(Fault::OtherLog { seq: number }.to_string())
                .fix("keep its files as they are, and look for who could write them"));
        }
        printer.show(&Good {
            schema: schema(),
            peer: good.head.peer,
            first: good.head.first,
            last: good.head.last,
            hash: good.head.hash,
            torn: good.torn,
        })
    }
}

#[derive(Debug, Serialize)]
struct Good {
    schema: String,
    peer: PeerId,
    first: u64,
    last: u64,
    hash: Hash,
    torn: bool,
}

impl fmt::Display for Good {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} entries {} to {}, as peer {}… wrote them",
            "good".green(),
            self.first,
            self.last,
            self.peer.short()
        )?;
        if self.torn {
            writeln!(f, "one more was begun and not ended, as a loss of power leaves it")?;
        }
        write!(f, "{}:{}", self.last, self.hash)
    }
}
