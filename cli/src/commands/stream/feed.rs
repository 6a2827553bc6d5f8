//! `shoal stream feed`

use core::fmt;
use core::time::Duration;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsFd;

use serde::Serialize;
use shoal_protocol::api::{codes, schema};

use super::view::failure;
use crate::Printer;
use crate::client::{Client, ClientError};
use crate::error::{Exit, Failure, own, plain};

/// Lines in one request, and bytes, unless a line is larger.
const LINES_MAX: usize = 4_096;
const BYTES_MAX: usize = 512 * 1024;
/// A stream without room is asked again after this long.
const PAUSE: Duration = Duration::from_millis(200);

/// Feed the lines of standard input to a stream whose source is `stdin` or `http`
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  shoal stream feed words < book.txt
  shoal stream feed words --id book < book.txt    # again, after an interruption: lines that were taken are passed over

Reading waits while the stream has no room. A line counts once it is on disk.")]
pub struct Feed {
    /// The name of the stream
    stream: String,
    /// What this input is called: the same input under the same name is taken once
    #[arg(long, value_name = "NAME")]
    id: Option<String>,
}

impl Feed {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        let id = match self.id {
            Some(id) => id,
            None => random_id()?,
        };
        let input = std::io::stdin().as_fd().try_clone_to_owned().map_err(|error| unreadable(&error))?;
        let input = BufReader::with_capacity(BYTES_MAX, File::from(input));
        let fed = feed(client, &self.stream, &id, input).await?;
        printer.show(&fed)
    }
}

fn random_id() -> Result<String, Failure> {
    let number = getrandom::u64().map_err(|error| {
        Failure::new(Exit::Unreachable, own::READ, "the system gives no randomness").why(error.to_string())
    })?;
    Ok(format!("{number:016x}"))
}

fn unreadable(error: &std::io::Error) -> Failure {
    Failure::new(Exit::Usage, own::READ, "cannot read standard input").why(plain(error))
}

/// Reading blocks: nothing else goes on in this process meanwhile.
async fn feed(client: &Client, stream: &str, id: &str, mut input: BufReader<impl Read>) -> Result<Fed, Failure> {
    // What was taken of it before.
    let (_, place) = hand_in(client, stream, id, 0, Vec::new()).await?;
    let mut fed = Fed { schema: schema(), stream: stream.to_owned(), lines: 0, taken: 0 };
    loop {
        let (mut lines, mut body) = (0, Vec::new());
        while lines < LINES_MAX as u64 && body.len() < BYTES_MAX {
            if input.read_until(b'\n', &mut body).map_err(|error| unreadable(&error))? == 0 {
                break;
            }
            lines += 1;
            // What is here is handed in: the next line may come in an hour.
            if !input.buffer().contains(&b'\n') {
                break;
            }
        }
        if lines == 0 {
            return Ok(fed);
        }
        let first = fed.lines;
        fed.lines += lines;
        if fed.lines > place {
            fed.taken += hand_in(client, stream, id, first, body).await?.0;
        }
    }
}

/// Lines from the `first`-th; waits while there is no room. How many were taken now, and how many of the feed in all.
async fn hand_in(client: &Client, stream: &str, id: &str, first: u64, body: Vec<u8>) -> Result<(u64, u64), Failure> {
    loop {
        match client.feed_stream(stream, id, first, body.clone()).await {
            Ok(answer) => return Ok((answer.taken, answer.feed_lines.unwrap_or(0))),
            Err(ClientError::Problem(problem)) if problem.code == codes::OVERLOADED => tokio::time::sleep(PAUSE).await,
            Err(error) => return Err(failure(error)),
        }
    }
}

/// What was fed.
#[derive(Debug, Serialize)]
struct Fed {
    schema: String,
    stream: String,
    /// Lines read.
    lines: u64,
    /// Of these, taken now: the others were before.
    taken: u64,
}

impl fmt::Display for Fed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} lines read, {} taken", self.lines, self.taken)
    }
}
