//! `shoal blob put`

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use serde::Serialize;
use shoal_protocol::api::{BlobView, LabelsRequest, codes};
use shoal_protocol::config::INPUT_BYTES_MAX;
use tokio::io::{AsyncRead, ReadBuf};

use crate::Printer;
use crate::client::Client;
use crate::commands::labels::LabelArguments;
use crate::error::{Exit, Failure, own, plain};
use crate::format::{self, parse_duration};

/// Below this an upload is over before a person has seen its bar.
const BAR_BYTES_MIN: u64 = 4 * 1024 * 1024;

/// Store a file at this peer and print its b3: name
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  shoal run wordcount -i $(shoal blob put book.txt)
  shoal blob put letters.txt --residency eu --class personal --ttl 24h")]
pub struct Put {
    /// The file, or `-` for standard input
    file: PathBuf,
    #[command(flatten)]
    labels: LabelArguments,
    /// It is not read, sent or kept after this long, as in 24h
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    ttl: Option<Duration>,
}

impl Put {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        let labels = self.labels.request(self.ttl);
        let stored = if self.file.as_os_str() == "-" {
            client.put_labelled_blob(standard_input()?, &labels).await?
        } else {
            upload_file(client, printer, &self.file, &labels).await?
        };
        if !stored.labels.is_empty() {
            printer.say(format_args!("labelled {}   → shoal blob stat {}", format::labels(&stored.labels), stored.id));
        }
        printer.show(&Stored(stored))
    }
}

fn standard_input() -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    // One byte more than may be, so that what is too large is seen to be.
    io::stdin()
        .lock()
        .take(INPUT_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::new(Exit::Usage, own::READ, "cannot read standard input").why(plain(&error)))?;
    if bytes.len() as u64 <= INPUT_BYTES_MAX {
        return Ok(bytes);
    }
    Err(too_large("standard input"))
}

fn too_large(what: &str) -> Failure {
    Failure::new(Exit::Usage, codes::TOO_LARGE, format!("{what} is too large for a blob"))
        .why(format!("a blob has at most {}", format::bytes(INPUT_BYTES_MAX)))
        .fix("cut it into several: split -b 256M")
}

/// Sends a file without holding it in memory, with a bar when it is large.
pub(crate) async fn upload_file(
    client: &Client,
    printer: Printer,
    path: &Path,
    labels: &LabelsRequest,
) -> Result<BlobView, Failure> {
    let failed = |error: io::Error| Failure::read(path, &error);
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    let metadata = file.metadata().await.map_err(failed)?;
    if !metadata.is_file() {
        return Err(Failure::read(path, &io::Error::other("it is not a plain file")));
    }
    let length = metadata.len();
    if length > INPUT_BYTES_MAX {
        return Err(too_large(&format!("`{}`", path.display())));
    }
    let bar =
        if length < BAR_BYTES_MIN { ProgressBar::hidden() } else { printer.bar(&path.display().to_string(), length) };
    let stored = client.put_blob_from(Counted { reader: file, bar: bar.clone() }, length, labels).await;
    bar.finish_and_clear();
    Ok(stored?)
}

/// A reader that moves a bar.
struct Counted<R> {
    reader: R,
    bar: ProgressBar,
}

impl<R: AsyncRead + Unpin> AsyncRead for Counted<R> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.reader).poll_read(cx, buffer);
        self.bar.inc((buffer.filled().len() - before) as u64);
        polled
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Stored(BlobView);

impl fmt::Display for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.id.fmt(f)
    }
}
