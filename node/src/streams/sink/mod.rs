//! Where results go, each once, in the order of their numbers.
//!
//! **Invariant:** [`Sink::publish`] of a number returns when the result is where it belongs; called again with the same number,
//! after a crash at any moment, it leaves one result there. What that rests on is told by each sink.

mod file;
mod line;
mod mqtt;

use std::sync::Arc;

use shoal_protocol::stream::SinkSpec;

use super::persist::Persist;
use super::status::Status;

pub(super) use line::{Line, Outcome};

/// One place.
#[derive(Debug)]
pub(super) enum Sink {
    File(file::FileSink),
    Mqtt(Box<mqtt::MqttSink>),
}

/// Which of a stream's sinks; each has a record of its own on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    Results = b'o' as isize,
    Late = b'q' as isize,
}

impl Sink {
    /// A sink of this stream, whose run is `run`.
    pub(super) fn new(
        spec: &SinkSpec,
        client_id: String,
        run: u64,
        which: Which,
        persist: Persist,
        status: Arc<Status>,
    ) -> Self {
        match spec {
            SinkSpec::File { path } => {
                Self::File(file::FileSink::new(path.clone(), persist.name().to_owned(), run, status))
            }
            SinkSpec::Mqtt(broker) => {
                Self::Mqtt(Box::new(mqtt::MqttSink::new(broker.clone(), client_id, which, persist, status)))
            }
        }
    }

    /// Tries until it is done.
    pub(super) async fn publish(&mut self, sequence: u64, line: String) {
        match self {
            Self::File(sink) => sink.publish(sequence, line).await,
            Self::Mqtt(sink) => sink.publish(sequence, line).await,
        }
    }
}
