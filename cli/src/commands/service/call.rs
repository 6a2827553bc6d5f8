//! `shoal service call`

use core::time::Duration;
use std::io::{IsTerminal, Read};
use std::path::PathBuf;

use shoal_protocol::service::ServiceName;

use crate::Printer;
use crate::client::{CallOptions, Client};
use crate::commands::task::output::stream;
use crate::error::{Exit, Failure, own, plain};
use crate::format::{self, parse_duration};

/// Call a service, and print what it writes
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  shoal service call wordcount -i README.md
  echo 'to be or not to be' | shoal service call wordcount -v
  shoal service call wordcount --key user-17 -i -      # the same key, the same version

Exit: 0 ok · 1 the module failed · 2 there is no such service · 75 no capacity, try later")]
pub struct Call {
    /// Its name
    name: ServiceName,
    /// What it reads: a file, or `-` for standard input
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Calls with the same key get the same version, as long as its share does not shrink
    #[arg(long)]
    key: Option<String>,
    /// Only at this peer: a name, an id, or a prefix
    #[arg(long)]
    peer: Option<String>,
    /// When its answer is wanted, as in 200ms
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    deadline: Option<Duration>,
    /// Write the output here instead of to standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Say on standard error which version ran, where, and for how long
    #[arg(short, long)]
    verbose: bool,
}

impl Call {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        let input = self.read_input()?;
        let options = CallOptions { key: self.key, peer: self.peer, deadline: self.deadline };
        let answered = match client.call(self.name.as_str(), &options, input).await {
            Ok(answered) => answered,
            Err(error) => return Err(super::failure(client, &self.name, error).await),
        };
        if self.verbose {
            let run = format::micros(u64::try_from(answered.run.as_micros()).unwrap_or(u64::MAX));
            printer.say(format_args!("version {} at {}, {run}", answered.version, answered.peer));
        }
        stream(printer, answered.output, self.output.as_deref()).await
    }

    /// Nothing from a terminal, which nobody types into by intent.
    fn read_input(&self) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        match &self.input {
            Some(path) if path.as_os_str() != "-" => {
                return std::fs::read(path).map_err(|error| Failure::read(path, &error));
            }
            None if std::io::stdin().is_terminal() => return Ok(bytes),
            Some(_) | None => {}
        }
        std::io::stdin().lock().read_to_end(&mut bytes).map_err(|error| {
            Failure::new(Exit::Usage, own::READ, "cannot read standard input")
                .why(plain(&error))
                .fix("give a file with -i")
        })?;
        Ok(bytes)
    }
}
