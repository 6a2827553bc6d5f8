//! Where an inviter receives those who come with a ticket.
//!
//! **Invariant:** at most [`VISITORS_MAX`] are inside, each for a handshake and [`PATIENCE`]; those who wait for a person are
//! counted by the office.

use std::sync::Arc;

use quinn::crypto::rustls::QuicServerConfig;
use rustls::pki_types::CertificateDer;
use shoal_protocol::certificate::joining::{
    EXPORTER_BYTES, EXPORTER_LABEL, JOIN_REQUEST_BYTES_MAX, JoinAnswer, JoinRequest, LOCATOR_BYTES,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::super::card;
use super::super::settings::HANDSHAKE_MAX;
use super::super::tls::{Shown, TlsError};
use super::{PATIENCE, tls, transport, wire};
use crate::joining::{Decision, Office, Visitor};

/// Machines at the desk at once: each holds some tens of kilobytes.
const VISITORS_MAX: usize = 16;

/// The desk of one listener or of several. Cheap to clone.
#[derive(Debug, Clone)]
pub(in super::super) struct Desk {
    office: Office,
    server: Arc<quinn::ServerConfig>,
    places: Arc<Semaphore>,
}

impl Desk {
    pub(in super::super) fn new(office: Office, shown: &Arc<Shown>) -> Result<Self, TlsError> {
        let crypto = QuicServerConfig::try_from(tls::server(shown)?);
        let crypto = crypto.map_err(|error| rustls::Error::General(error.to_string()))?;
        let mut server = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        server.transport_config(Arc::new(transport()));
        Ok(Self { office, server: Arc::new(server), places: Arc::new(Semaphore::new(VISITORS_MAX)) })
    }

    /// Whether whoever begins like that has a ticket, or has seen one used.
    pub(in super::super) fn expects(&self, incoming: &quinn::Incoming) -> bool {
        let id = incoming.orig_dst_cid();
        let locator: Option<&[u8; LOCATOR_BYTES]> = id.first_chunk();
        locator.is_some_and(|locator| self.office.expects(incoming.remote_address(), *locator))
    }

    /// Lets it in as far as the desk.
    pub(in super::super) fn receive(&self, incoming: quinn::Incoming) {
        let from = incoming.remote_address();
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            tracing::warn!(%from, "too many machines want to join at once");
            return incoming.ignore();
        };
        match incoming.accept_with(Arc::clone(&self.server)) {
            Ok(connecting) => drop(tokio::spawn(attend(self.office.clone(), connecting, place))),
            Err(error) => tracing::debug!(%from, %error, "no handshake with a joiner"),
        }
    }
}

async fn attend(office: Office, connecting: quinn::Connecting, place: OwnedSemaphorePermit) {
    let from = connecting.remote_address();
    let connection = match timeout(HANDSHAKE_MAX, connecting).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return tracing::debug!(%from, %error, "a joiner's handshake has failed"),
        Err(_) => return tracing::debug!(%from, "a joiner's handshake took too long"),
    };
    if let Err(why) = converse(&office, &connection, place).await {
        tracing::debug!(%from, why, "a joiner was not heard out");
    }
    connection.close(0_u32.into(), &[]);
}

async fn converse(office: &Office, connection: &quinn::Connection, place: OwnedSemaphorePermit) -> Result<(), String> {
    let late = || "it took too long".to_owned();
    let listening = async {
        let (send, mut receive) = connection.accept_bi().await.map_err(|error| error.to_string())?;
        let request: JoinRequest =
            wire::read(&mut receive, JOIN_REQUEST_BYTES_MAX).await.map_err(|error| error.to_string())?;
        Ok::<_, String>((send, request))
    };
    let (mut send, request) = timeout(PATIENCE, listening).await.map_err(|_| late())??;
    let visitor = visitor(connection, request)?;
    let answer = match office.knock(visitor).await {
        Decision::Now(answer) => answer,
        Decision::Later(waits) => {
            // Others may come to the desk meanwhile.
            drop(place);
            let waiting = wire::write(&mut send, &JoinAnswer::Waiting);
            timeout(PATIENCE, waiting).await.map_err(|_| late())?.map_err(|error| error.to_string())?;
            tokio::select! {
                answer = waits.answer() => answer,
                gone = connection.closed() => return Err(gone.to_string()),
            }
        }
    };
    let saying = async {
        wire::write(&mut send, &answer).await.map_err(|error| error.to_string())?;
        // It cannot have ended before: this is its only end.
        let _ = send.finish();
        // Closing now could overtake what was just written: the joiner closes first.
        connection.closed().await;
        Ok(())
    };
    timeout(PATIENCE, saying).await.map_err(|_| late())?
}

fn visitor(connection: &quinn::Connection, request: JoinRequest) -> Result<Visitor, String> {
    let shown = connection.peer_identity().and_then(|shown| shown.downcast::<Vec<CertificateDer<'static>>>().ok());
    let shown = shown.ok_or("it has shown no key")?;
    let key = shown.first().ok_or("it has shown no key")?;
    let key = card::holder(key).map_err(|error| error.to_string())?;
    Ok(Visitor { from: connection.remote_address(), key, exported: exported(connection)?, request })
}

/// What both sides of this handshake know, and nobody else.
pub(super) fn exported(connection: &quinn::Connection) -> Result<[u8; EXPORTER_BYTES], String> {
    let mut exported = [0; EXPORTER_BYTES];
    let made = connection.export_keying_material(&mut exported, EXPORTER_LABEL, &[]);
    made.map_err(|_| "the handshake gives no keys".to_owned())?;
    Ok(exported)
}
