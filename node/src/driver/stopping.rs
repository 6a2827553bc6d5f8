//! The end: work is handed back for as long as that may take, and the last frames leave.

use std::time::Duration;

use shoal_protocol::{Input, Time};
use tokio::sync::mpsc;

use super::{Driver, records};
use crate::network::NetworkEvent;

/// Time that handing work back may take at the end.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);
/// Time that the last frames have to leave.
const GOODBYE_TIMEOUT: Duration = Duration::from_millis(500);

/// How the end was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stopping {
    No,
    /// Work is being handed back, until then at the latest.
    Until(Time),
    Ready,
}

impl Driver {
    /// Lets the peer hand back its work; asked again, it ends at once.
    pub(super) fn stop(&mut self) {
        match self.stopping {
            Stopping::No => {
                tracing::info!("shutting down; ask again to end at once");
                self.begin_stopping();
                self.take_facts();
            }
            Stopping::Until(_) | Stopping::Ready => self.stopping = Stopping::Ready,
        }
    }

    /// The same, from within an order: the peer hears of it after that.
    pub(super) fn begin_stopping(&mut self) {
        if self.stopping == Stopping::No {
            self.stopping = Stopping::Until(self.clock.now() + SHUTDOWN_TIMEOUT);
            self.inputs.push_back(Input::ShutdownRequested);
        }
    }

    pub(super) fn is_over(&self) -> bool {
        match self.stopping {
            Stopping::No => false,
            Stopping::Until(time) => {
                let late = self.clock.now() >= time;
                if late {
                    tracing::warn!("not everything could be handed back in time");
                }
                late
            }
            Stopping::Ready => true,
        }
    }

    /// Last frames leave, and what is known of peers is kept.
    pub(super) async fn end(mut self, events: &mut mpsc::Receiver<NetworkEvent>) {
        for peer in self.connected.keys() {
            self.network.disconnect(*peer, "this peer is shutting down");
        }
        let goodbyes = async {
            while !self.connected.is_empty() {
                match events.recv().await {
                    Some(NetworkEvent::Disconnected { peer }) => drop(self.connected.remove(&peer)),
                    Some(_) => {}
                    None => return,
                }
            }
        };
        // Whoever does not hear the goodbye will find out by silence.
        let _ = tokio::time::timeout(GOODBYE_TIMEOUT, goodbyes).await;
        if let Some((path, bytes)) = self.records.unsaved() {
            records::write(&path, &bytes);
        }
    }
}
