//! What our streams of one direction are for, told by their first byte.

use std::io;

use quinn::{Connection, RecvStream, SendStream};
use tokio::io::AsyncReadExt as _;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Frames, for as long as the connection lasts; the first that each side opens.
    Control = 0xC1,
    /// One long message.
    Long = 0xA1,
    /// What members say of their certificates.
    Papers = 0xA2,
    /// One name: a request to be called back.
    Callback = 0xA3,
}

impl Kind {
    pub(super) async fn open(self, connection: &Connection) -> io::Result<SendStream> {
        let mut stream = connection.open_uni().await?;
        stream.write_all(&[self as u8]).await?;
        Ok(stream)
    }

    /// Of a stream that the other side has opened; none that there is.
    pub(super) async fn of(stream: &mut RecvStream) -> io::Result<Option<Self>> {
        let first = stream.read_u8().await?;
        Ok([Self::Control, Self::Long, Self::Papers, Self::Callback].into_iter().find(|kind| *kind as u8 == first))
    }
}
