//! A client that follows the handshake and nothing else, for whoever tries what a peer stands.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use shoal_protocol::MeshId;
use shoal_protocol::certificate::{Chain, SecretKey};

use super::settings::{Congestion, Settings};
use crate::network::revoked::Revoked;

/// An endpoint that dials with the keys and the certificate it is given, right or wrong. No peer uses it.
#[derive(Debug)]
pub struct Probe {
    endpoint: quinn::Endpoint,
    client: quinn::ClientConfig,
}

impl Probe {
    /// One at this address of this machine, which takes `mesh` for its own and shows `certificate`.
    pub fn new(from: IpAddr, key: SecretKey, mesh: MeshId, certificate: &Chain) -> Result<Self, String> {
        let settings = Settings::new(&Arc::new(key), mesh, certificate, Congestion::Cubic, &Revoked::default())
            .map_err(|e| e.to_string())?;
        let (endpoint, _) = settings.endpoint(SocketAddr::new(from, 0), false).map_err(|error| error.to_string())?;
        Ok(Self { endpoint, client: settings.client })
    }

    /// Begins a handshake.
    pub fn connect(&self, to: SocketAddr) -> Result<quinn::Connecting, String> {
        self.endpoint
            .connect_with(self.client.clone(), to, super::transport::NO_NAME)
            .map_err(|error| error.to_string())
    }
}
