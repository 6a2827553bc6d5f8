//! What the network tells: who comes and goes, what they say, and what they ask to be served.

use shoal_protocol::{Input, Message, PeerId};

use super::{Driver, bulk, releases, status, unix_time};
use crate::blobs::{Asker, TransferError};
use crate::network::{BulkStream, NetworkEvent};

/// Unreadable frames a neighbour may send in the life of a connection.
const STRIKES_MAX: u8 = 3;

impl Driver {
    pub(super) fn on_network(&mut self, event: NetworkEvent) {
        match event {
            NetworkEvent::Listening { address } => {
                tracing::debug!(address, "listening");
                self.addresses_changed();
            }
            NetworkEvent::AddressGone { address } => {
                tracing::info!(address, "an address of this machine is gone");
                self.addresses_changed();
            }
            NetworkEvent::Discovered { peer, address } => {
                self.handle(Input::Discovered { peer, address, bootstrap: false });
            }
            NetworkEvent::Connected { member, certificate, issuer, address } => {
                self.connected.insert(member.peer, issuer);
                self.strikes.remove(&member.peer);
                self.news.learn_name(member.peer, &member.name);
                self.audit.joined(&member);
                if let Some(address) = &address {
                    self.fetcher.learn_addresses(member.peer, std::slice::from_ref(address));
                }
                if self.peer.revocations().issuers().contains(&issuer) {
                    // Its handshake was over before that was known.
                    self.network.disconnect(member.peer, "the issuer of its certificate has been revoked");
                }
                self.handle(Input::Connected { member, address });
                self.has_shown(certificate);
            }
            NetworkEvent::Disconnected { peer } => {
                self.connected.remove(&peer);
                self.shown.remove(&peer);
                self.strikes.remove(&peer);
                self.lanes.forget(peer);
                self.handle(Input::Disconnected { peer });
            }
            NetworkEvent::DialFailed { peer, address, reason } => {
                tracing::debug!(?peer, address, reason, "a dial came to nothing");
                self.handle(Input::DialFailed { peer, address, reason });
            }
            NetworkEvent::Refused { address, reason } => {
                self.strangers += 1;
                tracing::warn!(address, reason, "a stranger was refused");
                self.wrong_dates = status::wrong_dates(self.clock.now(), &address, &reason).or(self.wrong_dates.take());
                self.audit.refused(&address, &reason);
            }
            NetworkEvent::CutOff { peer, reason } => self.audit.garbage(peer, &reason),
            NetworkEvent::Frame { from, body } => self.on_frame(from, &body),
            NetworkEvent::Papers { from, body } => self.on_papers(from, &body),
            NetworkEvent::Bulk { from, stream } => self.serve(from, stream),
        }
    }

    fn on_frame(&mut self, from: PeerId, body: &[u8]) {
        match Message::decode(body) {
            Ok(message) => self.handle(Input::Received { from, message }),
            Err(error) => {
                self.garbage += 1;
                let strikes = self.strikes.entry(from).or_insert(0);
                *strikes = strikes.saturating_add(1);
                tracing::warn!(peer = ?from, strikes, %error, "an unreadable frame");
                if *strikes >= STRIKES_MAX {
                    self.audit.garbage(from, &error);
                    self.network.disconnect(from, "it sends frames that cannot be read");
                }
                self.handle(Input::Garbled { from });
            }
        }
    }

    /// Answers a request for a blob or for a statistic, or takes a shipment of a stream; the network bounds how many bulk
    /// streams are open, the server how many requests are answered.
    fn serve(&mut self, from: PeerId, mut stream: BulkStream) {
        let server = self.server.at(self.lanes.to(from, self.peer.is_far(from)));
        let (notices, streams) = (self.fetcher.notices(), self.streams.clone());
        let withheld = self.withheld.clone();
        let certified = self.peer.member(from).map(|member| member.labels).unwrap_or_default();
        let asker = Asker { peer: from, certified };
        tokio::spawn(async move {
            match bulk::purpose(&mut stream).await {
                bulk::Purpose::Question => return releases::hear(from, &mut stream, &notices).await,
                bulk::Purpose::Shipment => return streams.serve(from, stream).await,
                bulk::Purpose::Blobs => {}
            }
            match server.serve(&asker, &mut stream).await {
                Err(TransferError::Withheld { id, denial }) => {
                    withheld.note(from, format!("blob {id}"), denial.rule(), denial.to_string());
                }
                Ok(bytes) => tracing::debug!(peer = ?from, bytes, "served a blob"),
                Err(error) => tracing::debug!(peer = ?from, %error, "a blob was not served"),
            }
        });
    }

    pub(super) fn addresses_changed(&mut self) {
        let addresses = self.network.local_addresses();
        if !self.announced && !addresses.is_empty() {
            self.announced = true;
            let certificate = &self.identity.certificate;
            tracing::info!(
                name = certificate.name, role = %certificate.role, peer = %certificate.peer, mesh = %self.identity.mesh,
                addresses = addresses.join(" "), api = %self.config.socket.display(), "ready",
            );
        }
        self.office.listens_at(addresses.clone());
        let record = self.records.sign_own(&self.identity, addresses, unix_time());
        self.handle(Input::RecordSigned(record));
    }
}
