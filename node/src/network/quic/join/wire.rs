//! Values on the one stream of a joiner: a big-endian `u16` length, then so many bytes of CBOR.

use std::io;

use quinn::{RecvStream, SendStream};
use serde::Serialize;
use serde::de::DeserializeOwned;
use shoal_protocol::cbor;
use tokio::io::AsyncReadExt as _;

pub(super) async fn write<T: Serialize>(stream: &mut SendStream, value: &T) -> io::Result<()> {
    let body = cbor::encode(value);
    let length = u16::try_from(body.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    stream.write_all(&[&length.to_be_bytes()[..], &body].concat()).await?;
    Ok(())
}

/// Reads one of at most so many bytes; a longer one is an error before a byte of it is read.
pub(super) async fn read<T: DeserializeOwned>(stream: &mut RecvStream, bytes_max: usize) -> io::Result<T> {
    let length = usize::from(stream.read_u16().await?);
    if length > bytes_max {
        let why = format!("{length} bytes were announced; the limit is {bytes_max}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.map_err(io::Error::other)?;
    cbor::decode(&body).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
