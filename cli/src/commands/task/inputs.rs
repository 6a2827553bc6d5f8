//! What a task reads: carried in the request when small, a blob named by its hash otherwise.
//!
//! **Invariant:** a blob is uploaded only after the daemon said that it does not have it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use base64::Engine;
use hyper::body::Bytes;
use shoal_protocol::api::{InputRequest, LabelsRequest, codes};
use shoal_protocol::config::{INLINE_BYTES_MAX, INPUT_BYTES_MAX};
use shoal_protocol::id::BlobId;

use crate::Printer;
use crate::client::{Client, ClientError};
use crate::commands::blob::put::upload_file;
use crate::error::{Exit, Failure, own, plain};
use crate::format;

/// Bytes here that the daemon may need.
#[derive(Debug, Clone)]
pub(crate) struct LocalBlob {
    pub(crate) id: BlobId,
    name: String,
    source: Source,
    labels: LabelsRequest,
}

#[derive(Debug, Clone)]
enum Source {
    Memory(Bytes),
    File(PathBuf),
}

impl LocalBlob {
    pub(crate) fn in_memory(name: String, bytes: Vec<u8>) -> Self {
        Self::new(BlobId::of(&bytes), name, Source::Memory(bytes.into()))
    }

    fn new(id: BlobId, name: String, source: Source) -> Self {
        Self { id, name, source, labels: LabelsRequest::default() }
    }

    /// Its size, where it is in memory.
    pub(crate) fn bytes(&self) -> u64 {
        match &self.source {
            Source::Memory(bytes) => bytes.len() as u64,
            Source::File(_) => 0,
        }
    }

    /// The same, of which this is said.
    pub(crate) fn labelled(self, labels: &LabelsRequest) -> Self {
        Self { labels: labels.clone(), ..self }
    }

    async fn upload(&self, client: &Client, printer: Printer) -> Result<(), Failure> {
        let stored = match &self.source {
            Source::Memory(bytes) => client.put_labelled_blob(bytes.clone(), &self.labels).await?,
            Source::File(path) => upload_file(client, printer, path, &self.labels).await?,
        };
        if stored.id != self.id {
            return Err(Failure::new(Exit::Usage, own::CHANGED, format!("`{}` changed while it was read", self.name))
                .fix("run it again when nobody writes to the file"));
        }
        Ok(())
    }
}

/// One `-i`, or the standard input that is read without one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum InputArgument {
    Standard,
    File(PathBuf),
    Blob(BlobId),
}

impl InputArgument {
    /// Reads the form on the command line: `-`, `b3:HASH` or a path.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "-" => Ok(Self::Standard),
            hash if hash.starts_with("b3:") => hash.parse().map(Self::Blob).map_err(|error| format!("{error}")),
            path => Ok(Self::File(path.into())),
        }
    }

    /// The same of what need not be text: the name of a file.
    pub(crate) fn of(given: OsString) -> Result<Self, String> {
        given.to_str().map_or_else(|| Ok(Self::File(given.clone().into())), Self::parse)
    }

    /// What is read when no `-i` is given: nothing from a terminal, which nobody types into by intent.
    pub(crate) fn implied() -> Vec<Self> {
        if std::io::stdin().is_terminal() { Vec::new() } else { vec![Self::Standard] }
    }
}

/// What of a pipeline's inputs still fits its request. The daemon takes small elements as they are, since a blob would cost more, and
/// stores what is larger, beyond a MiB of all together.
#[derive(Debug)]
pub(crate) struct Room {
    small: u64,
    large: u64,
}

impl Room {
    /// Up to this an element is small.
    const SMALL_MAX: u64 = INLINE_BYTES_MAX / 64;

    pub(crate) fn of_a_pipeline() -> Self {
        // A request may have 16 MiB, and some bytes are written as four or six.
        Self { small: 2 * 1024 * 1024, large: 1024 * 1024 }
    }

    /// The largest element that fits.
    pub(crate) fn most(&self) -> u64 {
        self.small.min(Self::SMALL_MAX).max(self.large)
    }

    /// An element of so many bytes rides along.
    pub(crate) fn take(&mut self, bytes: u64) {
        let room = if bytes <= Self::SMALL_MAX && self.small >= bytes { &mut self.small } else { &mut self.large };
        *room = room.saturating_sub(bytes);
    }
}

/// The inputs of a task, in order, and the blobs among them that are here.
#[derive(Debug, Default)]
pub(crate) struct Inputs {
    pub(crate) requests: Vec<InputRequest>,
    pub(crate) blobs: Vec<LocalBlob>,
    inline_bytes_max: u64,
    inline_bytes: u64,
    total_bytes: u64,
}

impl Inputs {
    /// Bytes of them that ride along.
    pub(crate) fn inline_bytes(&self) -> u64 {
        self.inline_bytes
    }

    pub(crate) fn read(arguments: &[InputArgument]) -> Result<Self, Failure> {
        Self::read_within(arguments, INLINE_BYTES_MAX)
    }

    /// The same where less may ride along.
    pub(crate) fn read_within(arguments: &[InputArgument], inline_bytes_max: u64) -> Result<Self, Failure> {
        let mut inputs = Self { inline_bytes_max: inline_bytes_max.min(INLINE_BYTES_MAX), ..Self::default() };
        for argument in arguments {
            match argument {
                InputArgument::Standard => inputs.bytes("standard input".to_owned(), standard_input()?)?,
                InputArgument::File(path) => inputs.file(path)?,
                InputArgument::Blob(id) => inputs.requests.push(InputRequest::Blob(*id)),
            }
        }
        Ok(inputs)
    }

    fn file(&mut self, path: &Path) -> Result<(), Failure> {
        let failed = |error: std::io::Error| Failure::read(path, &error);
        let metadata = std::fs::metadata(path).map_err(failed)?;
        if metadata.is_dir() {
            return Err(Failure::read(path, &std::io::Error::other("it is a directory")));
        }
        let name = path.display().to_string();
        // The size of a pipe or device is known only once it is read.
        if !metadata.is_file() || metadata.len() <= self.inline_bytes_max - self.inline_bytes {
            let file = std::fs::File::open(path).map_err(failed)?;
            return self.bytes(name.clone(), read_bounded(file, &name).map_err(failed)?);
        }
        self.count(&name, metadata.len())?;
        let mut hasher = blake3::Hasher::new();
        std::fs::File::open(path).and_then(|file| hasher.update_reader(file).map(drop)).map_err(failed)?;
        let id = BlobId(*hasher.finalize().as_bytes());
        self.requests.push(InputRequest::Blob(id));
        self.blobs.push(LocalBlob::new(id, name, Source::File(path.to_owned())));
        Ok(())
    }

    fn bytes(&mut self, name: String, bytes: Vec<u8>) -> Result<(), Failure> {
        let size = bytes.len() as u64;
        self.count(&name, size)?;
        if self.inline_bytes + size > self.inline_bytes_max {
            let blob = LocalBlob::in_memory(name, bytes);
            self.requests.push(InputRequest::Blob(blob.id));
            self.blobs.push(blob);
            return Ok(());
        }
        self.inline_bytes += size;
        self.requests.push(match String::from_utf8(bytes) {
            Ok(text) => InputRequest::Text(text),
            Err(error) => InputRequest::Base64(base64::engine::general_purpose::STANDARD.encode(error.as_bytes())),
        });
        Ok(())
    }

    fn count(&mut self, name: &str, size: u64) -> Result<(), Failure> {
        self.total_bytes = self.total_bytes.saturating_add(size);
        if self.total_bytes > INPUT_BYTES_MAX {
            return Err(Failure::new(Exit::Usage, codes::TOO_LARGE, format!("the input is too large at `{name}`"))
                .why(format!("a task reads at most {}", format::bytes(INPUT_BYTES_MAX)))
                .fix("split the work into several tasks"));
        }
        Ok(())
    }
}

fn standard_input() -> Result<Vec<u8>, Failure> {
    read_bounded(std::io::stdin().lock(), "standard input").map_err(|error| {
        Failure::new(Exit::Usage, own::READ, "cannot read standard input").why(plain(&error)).fix("give a file with -i")
    })
}

/// One byte more than may be, so that the caller's size check sees what is too large.
fn read_bounded(from: impl Read, name: &str) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(INPUT_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    debug_assert!(bytes.len() as u64 <= INPUT_BYTES_MAX + 1, "{name}");
    Ok(bytes)
}

/// Makes a request that names blobs, uploading those the daemon turns out not to have.
pub(crate) async fn with_uploads<T>(
    client: &Client,
    printer: Printer,
    blobs: &[LocalBlob],
    request: impl AsyncFn() -> Result<T, ClientError>,
) -> Result<T, Failure> {
    match request().await {
        // Asking first would cost every run a round trip; nearly always the module is there already.
        Err(error) if error.code() == Some(codes::NO_BLOB) && !blobs.is_empty() => {}
        Err(error) => return Err(error.into()),
        Ok(answer) => return Ok(answer),
    }
    let held: BTreeSet<BlobId> =
        client.blobs().await?.items.iter().filter(|blob| blob.complete).map(|blob| blob.id).collect();
    for blob in blobs.iter().filter(|blob| !held.contains(&blob.id)) {
        blob.upload(client, printer).await?;
    }
    Ok(request().await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_inputs_ride_along_and_large_ones_become_blobs() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).expect("written");
            InputArgument::File(path)
        };
        let large = vec![b'x'; INLINE_BYTES_MAX as usize + 1];
        let given = BlobId::of(b"elsewhere");

        let inputs =
            Inputs::read(&[file("a", b"text"), file("b", &large), file("c", &[0xff]), InputArgument::Blob(given)])
                .expect("readable");

        let expected = [
            InputRequest::Text("text".into()),
            InputRequest::Blob(BlobId::of(&large)),
            InputRequest::Base64("/w==".into()),
            InputRequest::Blob(given),
        ];
        assert_eq!(inputs.requests, expected);
        assert_eq!(inputs.blobs.iter().map(|blob| blob.id).collect::<Vec<_>>(), [BlobId::of(&large)]);
    }

    #[test]
    fn inputs_that_are_small_only_one_by_one_do_not_overfill_the_request() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let half = vec![b'x'; INLINE_BYTES_MAX as usize / 2 + 1];
        let arguments = ["a", "b"].map(|name| {
            let path = dir.path().join(name);
            std::fs::write(&path, &half).expect("written");
            InputArgument::File(path)
        });

        let inputs = Inputs::read(&arguments).expect("readable");

        assert!(matches!(inputs.requests[..], [InputRequest::Text(_), InputRequest::Blob(_)]));
    }

    #[test]
    fn a_missing_input_is_a_usage_error() {
        let failure = Inputs::read(&[InputArgument::File("/nowhere/at/all".into())]).expect_err("missing");

        assert_eq!(failure.exit, Exit::Usage);
        assert_eq!(&*failure.code, own::READ);
    }
}
