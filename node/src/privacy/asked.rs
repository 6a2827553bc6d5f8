//! Asking a keeper elsewhere, on a stream between two members; the words are in `shoal_protocol::privacy::words`.
//!
//! **Not here:** who is asked, and what the answer is.

use std::io;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use shoal_protocol::cbor;
use shoal_protocol::privacy::words::{ANSWER_BYTES_MAX, ASK_BYTES_MAX, Answer, Ask, OPENING};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// Whoever opens a stream says within this what for.
const OPENING_TIMEOUT: Duration = Duration::from_secs(10);
/// A keeper may have to fetch the rows, and others may ask before.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// Asks; an error where there is no answer, for people.
pub(crate) async fn ask<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, ask: &Ask) -> Result<Answer, String> {
    let exchange = async {
        stream.write_all(&OPENING).await?;
        write(stream, ask, ASK_BYTES_MAX).await?;
        stream.shutdown().await?;
        read::<_, Answer>(stream, ANSWER_BYTES_MAX).await
    };
    match timeout(ANSWER_TIMEOUT, exchange).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
            Err(format!("its answer cannot be read; it may be of an earlier version ({error})"))
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", ANSWER_TIMEOUT.as_secs())),
    }
}

/// The question on a stream that began as one does.
pub(crate) async fn question<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Ask> {
    let reading = async {
        let mut opening = [0; OPENING.len()];
        stream.read_exact(&mut opening).await?;
        if opening != OPENING {
            return Err(invalid("it begins as nothing that is known"));
        }
        read(stream, ASK_BYTES_MAX).await
    };
    timeout(OPENING_TIMEOUT, reading).await?
}

/// Answers it, and ends the stream.
pub(crate) async fn answer<S: AsyncWrite + Unpin>(stream: &mut S, answer: &Answer) -> io::Result<()> {
    let writing = async {
        write(stream, answer, ANSWER_BYTES_MAX).await?;
        stream.shutdown().await
    };
    timeout(OPENING_TIMEOUT, writing).await?
}

fn invalid(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.into())
}

async fn write<S: AsyncWrite + Unpin, T: Serialize>(stream: &mut S, value: &T, bytes_max: usize) -> io::Result<()> {
    let body = cbor::encode(value);
    let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= bytes_max);
    let length = length.ok_or_else(|| io::Error::other(format!("{} bytes are too many to say", body.len())))?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(&body).await?;
    stream.flush().await
}

async fn read<S: AsyncRead + Unpin, T: DeserializeOwned>(stream: &mut S, bytes_max: usize) -> io::Result<T> {
    let length = stream.read_u32().await? as usize;
    if length > bytes_max {
        return Err(invalid(format!("{length} bytes are too many")));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    cbor::decode(&body).map_err(|error| invalid(error.to_string()))
}

#[cfg(test)]
mod tests {
    use shoal_protocol::privacy::{Noise, Query, Refused};
    use shoal_protocol::task::spec::Payload;
    use tokio::io::duplex;

    use super::*;

    fn sum() -> Ask {
        let noise = Noise::Epsilon("0.1".parse().unwrap());
        Ask { dataset: "street".into(), query: Query::Sum, noise, data: vec![Payload::inline("a,1\n")] }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_question_and_its_answer_arrive_as_they_were() {
        let (mut here, mut there) = duplex(64);
        let refused = Err(Refused::Busy { limit: 2 });

        let keeping = async {
            let asked = question(&mut there).await.unwrap();
            answer(&mut there, &refused).await.unwrap();
            asked
        };
        let words = sum();
        let (answered, asked) = tokio::join!(ask(&mut here, &words), keeping);

        assert_eq!((answered.unwrap(), asked), (refused.clone(), words.clone()));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_is_no_answer_is_told_as_none() {
        // A peer of an earlier version takes the question for one after a blob, and refuses it in its own way.
        for (said, why) in [
            (&b"\x00\x10\xa2\x61v\x02\x61s\x67refused"[..], "earlier version"),
            (b"", "unexpected end of file"),
            (b"\xff\xff\xff\xff", "too many"),
        ] {
            let (mut here, mut there) = duplex(4_096);
            let peer = async {
                there.write_all(said).await.unwrap();
                there.shutdown().await.unwrap();
            };
            let words = sum();
            let (answered, ()) = tokio::join!(ask(&mut here, &words), peer);

            assert!(answered.unwrap_err().contains(why));
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_question_that_is_none_is_refused_before_it_is_read() {
        for said in [&b"stax\0\0\0\x01a"[..], b"stat\xff\xff\xff\xff", b"stat\0\0\0\x02\xa0\xa0", b"sta"] {
            let (mut here, mut there) = duplex(4_096);
            here.write_all(said).await.unwrap();
            here.shutdown().await.unwrap();

            assert!(question(&mut there).await.is_err());
        }
    }
}
