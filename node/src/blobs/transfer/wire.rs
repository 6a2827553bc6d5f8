//! What is said on a stream before bytes follow: `[u16 length, big endian][CBOR]`, both ways.

use std::ops::Range;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use shoal_protocol::cbor;
use shoal_protocol::id::BlobId;
use shoal_protocol::residency::SignedManifest;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::super::tree::{Shape, slices};
use super::{TransferError, moved};

/// Version of this exchange.
const VERSION: u8 = 2;
/// Request or answer: the manifests of a blob with the most that owners may say fit.
pub(super) const HEADER_BYTES_MAX: usize = 24 * 1024;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Request {
    #[serde(rename = "v")]
    version: u8,
    #[serde(rename = "i")]
    pub(super) id: BlobId,
    /// The first group.
    #[serde(rename = "f", default)]
    from: u64,
    /// The one after the last; what is beyond the end of the blob does not count.
    #[serde(rename = "t", default)]
    to: u64,
    /// Whether the last group comes first: it proves the size, and is not sent again.
    #[serde(rename = "p", default)]
    proof: bool,
    /// Who asks enforces labels. The version before does not say so, and gets nothing that has any.
    #[serde(rename = "l", default)]
    pub(super) understands_labels: bool,
}

impl Request {
    pub(super) fn new(id: BlobId, groups: &Range<u64>, proof: bool) -> Self {
        Self { version: VERSION, id, from: groups.start, to: groups.end, proof, understands_labels: true }
    }

    pub(super) fn check(&self) -> Result<(), TransferError> {
        if self.version == VERSION {
            return Ok(());
        }
        Err(TransferError::Protocol(format!("version {} instead of {VERSION}", self.version)))
    }

    /// The groups that are sent of a blob of this shape, beside the proof.
    pub(super) fn groups(&self, shape: Shape) -> Range<u64> {
        let end = shape.groups() - u64::from(self.proof);
        self.from.min(end)..self.to.clamp(self.from.min(end), end)
    }

    /// Everything that is sent of a blob of this shape, in this order.
    pub(super) fn slices(&self, shape: Shape) -> impl Iterator<Item = Range<u64>> + use<> {
        self.proof.then(|| shape.last()).into_iter().chain(slices(self.groups(shape)))
    }
}

/// What the holder says before the first byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answer {
    #[serde(rename = "v")]
    version: u8,
    #[serde(rename = "s")]
    pub(super) status: Status,
    /// Size of the whole blob.
    #[serde(rename = "b", default)]
    pub(super) bytes: u64,
    /// What its owners have signed of it; in the first answer of a stream.
    #[serde(rename = "m", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) manifests: Vec<SignedManifest>,
}

impl Answer {
    pub(super) fn new(status: Status, bytes: u64) -> Self {
        Self { version: VERSION, status, bytes, manifests: Vec::new() }
    }

    /// The blob is here, of this size, and this is what its owners have signed of it.
    pub(super) fn here(bytes: u64, manifests: Vec<SignedManifest>) -> Self {
        Self { manifests, ..Self::new(Status::Here, bytes) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Here,
    NotHere,
    Busy,
    Refused,
    /// Its labels do not let who asks have it; said to those only that understand labels.
    Withheld,
}

pub(super) async fn write<S: AsyncWrite + Unpin, T: Serialize>(
    stream: &mut S,
    header: &T,
    at: u64,
) -> Result<(), TransferError> {
    let body = cbor::encode(header);
    let Some(length) = u16::try_from(body.len()).ok().filter(|_| body.len() <= HEADER_BYTES_MAX) else {
        return Err(TransferError::Protocol(format!("a header of {} bytes", body.len())));
    };
    let mut frame = length.to_be_bytes().to_vec();
    frame.extend(body);
    moved(stream.write_all(&frame), at).await?;
    moved(stream.flush(), at).await
}

pub(super) async fn read<S: AsyncRead + Unpin, T: DeserializeOwned>(
    stream: &mut S,
    at: u64,
) -> Result<T, TransferError> {
    let length = moved(stream.read_u16(), at).await?;
    read_body(stream, length, at).await
}

/// The same, or nothing where the stream ends instead.
pub(super) async fn read_next<S: AsyncRead + Unpin, T: DeserializeOwned>(
    stream: &mut S,
    at: u64,
) -> Result<Option<T>, TransferError> {
    let mut length = [0; 2];
    if moved(stream.read(&mut length[..1]), at).await? == 0 {
        return Ok(None);
    }
    moved(stream.read_exact(&mut length[1..]), at).await?;
    read_body(stream, u16::from_be_bytes(length), at).await.map(Some)
}

async fn read_body<S: AsyncRead + Unpin, T: DeserializeOwned>(
    stream: &mut S,
    length: u16,
    at: u64,
) -> Result<T, TransferError> {
    let length = usize::from(length);
    if length > HEADER_BYTES_MAX {
        return Err(TransferError::Protocol(format!("a header of {length} bytes")));
    }
    let mut body = vec![0; length];
    moved(stream.read_exact(&mut body), at).await?;
    cbor::decode(&body).map_err(|error| TransferError::Protocol(error.to_string()))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use shoal_fuzz::mutated;

    use super::*;

    fn check(body: &[u8]) {
        if let Ok(request) = cbor::decode::<Request>(body) {
            for bytes in [0, 1, 1 << 20, shoal_protocol::config::INPUT_BYTES_MAX] {
                let shape = Shape::of(bytes);
                let sent: u64 = request.slices(shape).map(|slice| slice.end - slice.start).sum();
                assert!(sent <= shape.groups(), "more is sent than there is: {request:?}");
            }
        }
        let _ = cbor::decode::<Answer>(body);
    }

    #[test]
    fn no_header_makes_either_side_promise_more_than_there_is() {
        let request = cbor::encode(&Request::new(BlobId([7; 32]), &(3..900), true));
        let answer = cbor::encode(&Answer::new(Status::Here, 1 << 40));
        let mut rng = rand_pcg::Pcg64Mcg::seed_from_u64(1);
        for _ in 0..20_000 {
            check(&mutated(&mut rng, &request, &answer));
            check(&mutated(&mut rng, &answer, &request));
        }
    }
}
