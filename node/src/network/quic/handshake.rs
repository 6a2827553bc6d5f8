//! From a handshake that has begun to a connection with a member.
//!
//! **Invariant:** at most [`UNDER_WAY_MAX`] handshakes of strangers are under way at a listener; when another begins, the
//! oldest of the address with the most is given up, so that nobody is kept out by one who begins many.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::{AbortHandle, Abortable, BoxFuture};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use libp2p::PeerId;
use rustls::pki_types::{CertificateDer, UnixTime};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::arrivals::{Arrival, Arrivals};
use super::error::QuicError;
use super::muxer::Muxer;
use super::settings::{HANDSHAKE_MAX, Settings};
use super::tls::{Membership, Proven};
use crate::network::identity::to_libp2p;
use crate::network::limits::BULK_IN_MAX;

/// Handshakes of strangers under way at a listener: each holds some tens of kilobytes for at most [`HANDSHAKE_MAX`].
pub(super) const UNDER_WAY_MAX: usize = 64;

/// A connection with a member, or why there is none.
pub(in crate::network) type Outcome = Result<(PeerId, Muxer), QuicError>;

/// Waits for handshakes to end, and looks once more at who is there.
#[derive(Clone)]
pub(in crate::network) struct Finish {
    pub(super) membership: Arc<Membership>,
    pub(super) arrivals: Arrivals,
}

impl Finish {
    /// Connections are announced in `arrivals` as well.
    pub(in crate::network) fn new(settings: &Settings, arrivals: Arrivals) -> Self {
        Self { membership: Arc::clone(&settings.membership), arrivals }
    }

    /// `remote` is where the other side is, unless it is behind a relay.
    pub(super) async fn finish(
        self,
        connecting: quinn::Connecting,
        dialled: bool,
        remote: Option<SocketAddr>,
    ) -> Outcome {
        let connection = timeout(HANDSHAKE_MAX, connecting).await.map_err(|_| QuicError::Slow)??;
        let proven = self.member(&connection).map_err(QuicError::Refused)?;
        let peer =
            to_libp2p(proven.certificate.peer).ok_or_else(|| QuicError::Refused("its key is no Ed25519 key".into()))?;
        let (for_link, bulk) = mpsc::channel(BULK_IN_MAX);
        self.arrivals.add(Arrival { connection: connection.clone(), proven, bulk, dialled, remote });
        Ok((peer, Muxer::new(connection, for_link)))
    }

    /// Who the handshake has proven to be there.
    fn member(&self, connection: &quinn::Connection) -> Result<Proven, String> {
        let shown = connection.peer_identity().and_then(|shown| shown.downcast::<Vec<CertificateDer<'static>>>().ok());
        let shown = shown.ok_or("it has shown no certificate")?;
        self.membership.check(&shown, UnixTime::now()).map_err(|error| error.to_string())
    }
}

/// Handshakes that strangers have begun.
pub(super) struct UnderWay {
    finish: Finish,
    running: FuturesUnordered<BoxFuture<'static, (u64, SocketAddr, Outcome)>>,
    /// In the order of their beginning.
    begun: BTreeMap<u64, (IpAddr, AbortHandle)>,
    next: u64,
}

impl UnderWay {
    pub(super) fn new(finish: Finish) -> Self {
        Self { finish, running: FuturesUnordered::new(), begun: BTreeMap::new(), next: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.begun.len()
    }

    pub(super) fn begin(&mut self, from: SocketAddr, connecting: quinn::Connecting) {
        if self.begun.len() >= UNDER_WAY_MAX {
            self.give_one_up();
        }
        let (handle, registration) = AbortHandle::new_pair();
        let number = self.next;
        self.next += 1;
        self.begun.insert(number, (from.ip(), handle));
        let finishing = Abortable::new(self.finish.clone().finish(connecting, false, Some(from)), registration);
        self.running
            .push(finishing.map(move |outcome| (number, from, outcome.unwrap_or(Err(QuicError::GivenUp)))).boxed());
    }

    fn give_one_up(&mut self) {
        let mut count = BTreeMap::<IpAddr, usize>::new();
        for (address, _) in self.begun.values() {
            *count.entry(*address).or_default() += 1;
        }
        let Some((most, _)) = count.into_iter().max_by_key(|(_, count)| *count) else { return };
        if let Some(number) = self.begun.iter().find(|(_, (address, _))| *address == most).map(|(number, _)| *number)
            && let Some((_, handle)) = self.begun.remove(&number)
        {
            handle.abort();
        }
    }

    /// The next that has ended.
    pub(super) fn poll_ended(&mut self, context: &mut Context<'_>) -> Poll<(SocketAddr, Outcome)> {
        let Poll::Ready(Some((number, from, outcome))) = Pin::new(&mut self.running).poll_next_unpin(context) else {
            return Poll::Pending;
        };
        self.begun.remove(&number);
        Poll::Ready((from, outcome))
    }
}
