//! The joiner's side: finds the peer in the ticket, proves the secret, and takes what it is given.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use quinn::crypto::rustls::QuicClientConfig;
use shoal_protocol::certificate::joining::{
    APPROVAL_MAX_S, JoinAnswer, JoinRequest, LOCATOR_BYTES, PAPERS_BYTES_MAX, Refused, Welcome,
};
use shoal_protocol::certificate::{SecretKey, Ticket};
use tokio::time::{sleep, timeout};

use super::super::error::QuicError;
use super::super::settings::HANDSHAKE_MAX;
use super::super::transport::NO_NAME;
use super::desk::exported;
use super::{PATIENCE, tls, transport, wire};
use crate::joining::six_words;

/// The next address is tried when the one before has not answered by then.
const NEXT_AFTER: Duration = Duration::from_millis(250);
/// Time that the goodbye has to leave.
const GOODBYE_MAX: Duration = Duration::from_millis(50);
/// RFC 9000, 7.2: an initial connection id has eight bytes at least that nobody can foresee.
const UNFORESEEN_BYTES: usize = 8;

/// What a joiner comes with.
#[derive(Debug)]
pub struct Visit {
    /// The node key; the certificate will be for it.
    pub key: SecretKey,
    /// What it was handed.
    pub ticket: Ticket,
    /// What it would like to be called.
    pub wish: Option<String>,
    /// The date here, in seconds since 1970.
    pub clock_unix_s: u64,
}

/// What became of it.
#[derive(Debug)]
pub struct Visited {
    /// What a new member needs.
    pub welcome: Welcome,
    /// Where the inviter answered, as a multiaddress.
    pub address: String,
}

/// Why it came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum VisitError {
    /// No UDP socket, or no TLS.
    #[error("this machine cannot begin a connection: {0}")]
    Local(String),
    /// Nobody at any of the addresses.
    #[error("the inviting peer does not answer: {0}")]
    NoAnswer(String),
    /// Somebody is there who takes this machine for a stranger.
    #[error("the inviting peer does not know this ticket: it has expired, was withdrawn, or is of another peer")]
    Stranger,
    /// Somebody else is there.
    #[error("who answers there is not the peer in the ticket: {0}")]
    Other(String),
    /// The conversation broke off.
    #[error("the inviting peer broke off: {0}")]
    BrokeOff(String),
    /// It said no.
    #[error("{why}")]
    Refused {
        /// Why.
        why: Refused,
        /// The date there, in seconds since 1970.
        clock_unix_s: u64,
    },
}

impl Visit {
    /// Goes there. `waiting` is told the six words when a person is asked; that can take ten minutes.
    pub async fn pay(self, waiting: impl FnOnce(&str)) -> Result<Visited, VisitError> {
        let Reached { connection, address, endpoint } = self.begin().await?;
        let welcome = self.converse(&connection, waiting).await;
        connection.close(0_u32.into(), &[]);
        // Otherwise the inviter would wait for the goodbye.
        let _ = timeout(GOODBYE_MAX, endpoint.wait_idle()).await;
        Ok(Visited { welcome: welcome?, address: super::super::address::format(address).to_string() })
    }

    /// The handshake with the peer in the ticket.
    pub(super) async fn begin(&self) -> Result<Reached, VisitError> {
        let local = |error: &dyn std::fmt::Display| VisitError::Local(error.to_string());
        let key = Arc::new(SecretKey::from_bytes(&self.key.to_bytes()));
        let crypto = tls::client(&key, self.ticket.mesh, self.ticket.inviter).map_err(|error| local(&error))?;
        let crypto = QuicClientConfig::try_from(crypto).map_err(|error| local(&error))?;
        let mut client = quinn::ClientConfig::new(Arc::new(crypto));
        client.transport_config(Arc::new(transport()));
        let locator = self.ticket.secret.invitation().locator();
        let mut unforeseen = [0; UNFORESEEN_BYTES];
        getrandom::fill(&mut unforeseen).map_err(|error| local(&error))?;
        client.initial_dst_cid_provider(Arc::new(move || first_id(locator, unforeseen)));
        reach(&self.ticket.addresses, &client).await
    }

    async fn converse(
        &self,
        connection: &quinn::Connection,
        waiting: impl FnOnce(&str),
    ) -> Result<Welcome, VisitError> {
        let exported = exported(connection).map_err(VisitError::BrokeOff)?;
        let me = self.key.peer();
        let request = JoinRequest {
            invitation: self.ticket.secret.invitation(),
            proof: self.ticket.secret.proof_key().prove(&exported, me, self.wish.as_deref()),
            name: self.wish.clone(),
            clock_unix_s: self.clock_unix_s,
        };
        let late = |_| VisitError::BrokeOff(format!("no answer within {} s", PATIENCE.as_secs()));
        let opening = async {
            let (mut send, mut receive) = connection.open_bi().await.map_err(std::io::Error::other)?;
            wire::write(&mut send, &request).await?;
            let answer = wire::read(&mut receive, PAPERS_BYTES_MAX).await?;
            Ok::<_, std::io::Error>((send, receive, answer))
        };
        let opened = timeout(PATIENCE, opening).await.map_err(late)?;
        let (_send, mut receive, mut answer) = opened.map_err(|error| broke_off(&error, connection))?;
        if answer == JoinAnswer::Waiting {
            waiting(&six_words(&exported, self.ticket.inviter, me));
            let patience = Duration::from_secs(APPROVAL_MAX_S) + PATIENCE;
            let said = timeout(patience, wire::read(&mut receive, PAPERS_BYTES_MAX)).await.map_err(late)?;
            answer = said.map_err(|error| broke_off(&error, connection))?;
        }
        match answer {
            JoinAnswer::Welcome(welcome) => Ok(*welcome),
            JoinAnswer::Refused { why, clock_unix_s } => Err(VisitError::Refused { why, clock_unix_s }),
            JoinAnswer::Waiting => Err(VisitError::BrokeOff("it asks a person twice".into())),
        }
    }
}

fn first_id(locator: [u8; LOCATOR_BYTES], unforeseen: [u8; UNFORESEEN_BYTES]) -> quinn::ConnectionId {
    quinn::ConnectionId::new(&[locator, unforeseen].concat())
}

fn broke_off(error: &std::io::Error, connection: &quinn::Connection) -> VisitError {
    match connection.close_reason() {
        Some(reason) => named(reason.into()),
        None => VisitError::BrokeOff(error.to_string()),
    }
}

/// The peer in the ticket.
#[derive(Debug)]
pub(super) struct Reached {
    pub(super) connection: quinn::Connection,
    /// Where it answered.
    pub(super) address: SocketAddr,
    pub(super) endpoint: quinn::Endpoint,
}

/// The first of the addresses where the handshake succeeds.
async fn reach(addresses: &[SocketAddr], client: &quinn::ClientConfig) -> Result<Reached, VisitError> {
    let mut tries: FuturesUnordered<_> = (0_u32..)
        .zip(addresses)
        .map(|(turn, address)| async move {
            sleep(NEXT_AFTER * turn).await;
            (*address, dial(*address, client.clone()).await)
        })
        .collect();
    let mut worst = None;
    while let Some((address, tried)) = tries.next().await {
        match tried {
            Ok((connection, endpoint)) => return Ok(Reached { connection, address, endpoint }),
            // What somebody said is worth more than that nobody was there.
            Err(error) if matches!(worst, None | Some(VisitError::NoAnswer(_))) => {
                worst = Some(match error {
                    VisitError::NoAnswer(why) => VisitError::NoAnswer(format!("{address}: {why}")),
                    error => error,
                });
            }
            Err(_) => {}
        }
    }
    Err(worst.unwrap_or_else(|| VisitError::NoAnswer("the ticket names no address".into())))
}

async fn dial(to: SocketAddr, client: quinn::ClientConfig) -> Result<(quinn::Connection, quinn::Endpoint), VisitError> {
    let any = if to.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let endpoint = quinn::Endpoint::client(any).map_err(|error| VisitError::Local(error.to_string()))?;
    let connecting =
        endpoint.connect_with(client, to, NO_NAME).map_err(|error| VisitError::NoAnswer(error.to_string()))?;
    match timeout(HANDSHAKE_MAX, connecting).await {
        Ok(Ok(connection)) => Ok((connection, endpoint)),
        Ok(Err(error)) => Err(named(error.into())),
        Err(_) => Err(VisitError::NoAnswer(QuicError::Slow.to_string())),
    }
}

fn named(error: QuicError) -> VisitError {
    match error {
        QuicError::Refused(why) => VisitError::Other(why),
        QuicError::RefusedThere(_) => VisitError::Stranger,
        error => VisitError::NoAnswer(error.to_string()),
    }
}
