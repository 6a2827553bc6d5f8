//! `shoal blob get`

use std::path::{Path, PathBuf};

use shoal_protocol::id::BlobId;

use crate::Printer;
use crate::client::{Client, Download};
use crate::error::{Exit, Failure, own};
use crate::interrupt;
use crate::new_file::NewFile;

/// Print a blob, fetched from a neighbour when it is not here
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  shoal blob get b3:…64 digits… -o book.txt --from nas")]
pub struct Get {
    /// Its name: b3: and 64 hexadecimal digits
    blob: BlobId,
    /// Write it here instead of to standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Fetch it from this peer
    #[arg(long, value_name = "PEER")]
    from: Option<String>,
}

impl Get {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        let download = match client.blob(self.blob, self.from.as_deref()).await {
            Ok(download) => download,
            Err(error) => {
                let names: Vec<&str> = self.from.as_deref().into_iter().collect();
                return Err(crate::commands::peer::failure(client, error, &names).await);
            }
        };
        match &self.output {
            None => self.to_standard_output(download, printer).await,
            Some(path) => self.to_file(download, printer, path).await,
        }
    }

    async fn to_standard_output(&self, mut download: Download, printer: Printer) -> Result<(), Failure> {
        let mut hasher = blake3::Hasher::new();
        while let Some(bytes) = download.chunk().await? {
            hasher.update(&bytes);
            printer.data(&bytes)?;
        }
        self.check(&hasher)
    }

    /// The file appears only when all of it is there and right.
    async fn to_file(&self, mut download: Download, printer: Printer, path: &Path) -> Result<(), Failure> {
        let bar = printer.bar(&path.display().to_string(), download.length().unwrap_or(0));
        let mut hasher = blake3::Hasher::new();
        let writing = async {
            let mut out = NewFile::create(path)?;
            while let Some(bytes) = download.chunk().await? {
                hasher.update(&bytes);
                out.write(&bytes)?;
                bar.inc(bytes.len() as u64);
            }
            self.check(&hasher)?;
            out.keep()
        };
        let written = interrupt::stops(path, writing).await;
        bar.finish_and_clear();
        written
    }

    fn check(&self, hasher: &blake3::Hasher) -> Result<(), Failure> {
        let came = BlobId(*hasher.finalize().as_bytes());
        if came == self.blob {
            return Ok(());
        }
        Err(Failure::new(Exit::Unreachable, own::CHANGED, "the bytes that came are not the blob")
            .why(format!("they hash to {came}"))
            .fix("try again, or from another peer with --from"))
    }
}
