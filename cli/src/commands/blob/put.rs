//! `shoal blob put`

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use serde::Serialize;
use shoal_protocol::api::BlobView;
use shoal_protocol::config::INPUT_BYTES_MAX;
use tokio::io::{AsyncRead, ReadBuf};

use crate::Printer;
use crate::client::Client;
use crate::error::{Exit, Failure, own, plain};

/// Below this an upload is over before a person has seen its bar.
const BAR_BYTES_MIN: u64 = 4 * 1024 * 1024;

/// Store a file at this peer and print its b3: name
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  shoal run wordcount -i $(shoal blob put book.txt)")]
pub struct Put {
    /// The file, or `-` for standard input
    file: PathBuf,
}

impl Put {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        let stored = if self.file.as_os_str() == "-" {
            let mut bytes = Vec::new();
            io::stdin().lock().take(INPUT_BYTES_MAX).read_to_end(&mut bytes).map_err(|error| {
                Failure::new(Exit::Usage, own::READ, "cannot read standard input").why(plain(&error))
            })?;
            client.put_blob(bytes).await?
        } else {
            upload_file(client, printer, &self.file).await?
        };
        printer.show(&Stored(stored))
    }
}

/// Sends a file without holding it in memory, with a bar when it is large.
pub(crate) async fn upload_file(client: &Client, printer: Printer, path: &Path) -> Result<BlobView, Failure> {
    let failed = |error: io::Error| Failure::read(path, &error);
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    let metadata = file.metadata().await.map_err(failed)?;
    if !metadata.is_file() {
        return Err(Failure::read(path, &io::Error::other("it is not a plain file")));
    }
    let length = metadata.len();
    let bar =
        if length < BAR_BYTES_MIN { ProgressBar::hidden() } else { printer.bar(&path.display().to_string(), length) };
    let stored = client.put_blob_from(Counted { reader: file, bar: bar.clone() }, length).await;
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
