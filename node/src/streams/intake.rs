//! The way from a source to its stream: bounded in deliveries and in bytes, so that a source waits when the stream does.

use std::sync::Arc;

use bytes::Bytes;
use shoal_protocol::stream::Mark;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// Deliveries that wait to be written.
const DELIVERIES_MAX: usize = 4_096;
/// Bytes of records that wait to be written.
const WAITING_BYTES_MAX: usize = 8 * 1024 * 1024;
/// What a delivery counts for at least: its own place in memory.
const DELIVERY_BYTES_MIN: usize = 128;

/// In place of a packet id, which is never 0: something was not taken, and the broker gives it again on another connection.
pub(super) const NOT_TAKEN: u16 = 0;

/// What a source hears of a delivery once it is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Records taken now.
    pub(crate) records: u64,
    /// Where the feed, or the file, that it belongs to has been taken to.
    pub(crate) place: u64,
    /// It had been taken before, all of it.
    pub(crate) known: bool,
}

/// Why a delivery was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotTaken {
    /// Lines before these are missing.
    #[error("the feed was taken up to line {place}, and this begins after it")]
    Gap {
        /// Lines taken.
        place: u64,
    },
    /// The disk.
    #[error("it could not be written: {0}")]
    Disk(String),
    /// Its stream does not run here, or not any more.
    #[error("the stream is not running here")]
    Ended,
}

/// Who hears that a delivery is on disk.
#[derive(Debug)]
pub(super) enum Done {
    /// One caller.
    Reply(oneshot::Sender<Result<Taken, NotTaken>>),
    /// A connection to a broker, by packet id. Bounded by what a broker may have unacknowledged.
    Packet(mpsc::UnboundedSender<u16>, u16),
}

/// Records that are taken together or not at all.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) records: Vec<Bytes>,
    pub(super) mark: Option<Mark>,
    /// The source says that it may have been delivered before.
    pub(super) repeated: bool,
    pub(super) done: Done,
    /// Given back when it is written.
    pub(super) room: Option<OwnedSemaphorePermit>,
}

/// The source's end.
#[derive(Debug, Clone)]
pub(crate) struct Intake {
    sender: mpsc::Sender<Delivery>,
    room: Arc<Semaphore>,
}

/// The stream's end.
pub(super) type Deliveries = mpsc::Receiver<Delivery>;

impl Intake {
    pub(super) fn new() -> (Self, Deliveries) {
        let (sender, deliveries) = mpsc::channel(DELIVERIES_MAX);
        (Self { sender, room: Arc::new(Semaphore::new(WAITING_BYTES_MAX)) }, deliveries)
    }

    /// Hands it over, or gives it back while there is no room.
    pub(super) fn try_hand(&self, mut delivery: Delivery) -> Result<(), Delivery> {
        let Ok(place) = self.sender.try_reserve() else { return Err(delivery) };
        match Arc::clone(&self.room).try_acquire_many_owned(weight(&delivery)) {
            Ok(room) => {
                delivery.room = Some(room);
                place.send(delivery);
                Ok(())
            }
            Err(_) => Err(delivery),
        }
    }

    /// Hands it over when there is room; false when the stream has ended.
    pub(super) async fn hand(&self, mut delivery: Delivery) -> bool {
        let Ok(room) = Arc::clone(&self.room).acquire_many_owned(weight(&delivery)).await else { return false };
        delivery.room = Some(room);
        self.sender.send(delivery).await.is_ok()
    }

    /// Whether the stream has ended.
    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

/// One that is larger than all the room takes all of it.
fn weight(delivery: &Delivery) -> u32 {
    let bytes = delivery.records.iter().map(Bytes::len).sum::<usize>();
    bytes.clamp(DELIVERY_BYTES_MIN, WAITING_BYTES_MAX) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(bytes: usize) -> Delivery {
        let (reply, _) = oneshot::channel();
        let records = vec![Bytes::from(vec![0; bytes])];
        Delivery { records, mark: None, repeated: false, done: Done::Reply(reply), room: None }
    }

    #[test]
    fn what_there_is_no_room_for_is_given_back_until_something_was_written() {
        let (intake, mut deliveries) = Intake::new();
        assert!(intake.try_hand(delivery(WAITING_BYTES_MAX)).is_ok());

        let back = intake.try_hand(delivery(1)).unwrap_err();
        drop(deliveries.try_recv().unwrap());

        assert!(intake.try_hand(back).is_ok());
    }

    #[test]
    fn not_more_deliveries_wait_than_may() {
        let (intake, _deliveries) = Intake::new();
        let taken = (0..2 * DELIVERIES_MAX).take_while(|_| intake.try_hand(delivery(0)).is_ok()).count();

        assert_eq!(taken, DELIVERIES_MAX);
    }
}
