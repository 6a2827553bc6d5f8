//! The addresses that this peer listens on, and what becomes of them.

use std::io;
use std::time::Duration;

use futures::StreamExt;
use libp2p::Multiaddr;
use libp2p::core::transport::{ListenerId, TransportError};
use libp2p::swarm::SwarmEvent;
use nix::errno::Errno;
use tokio::time::timeout;

use super::super::NetworkEvent;
use super::super::error::NetworkError;
use super::Task;
use super::reasons::root;

/// Time for the system to name the addresses of a wildcard listener.
const FIRST_ADDRESS_MAX: Duration = Duration::from_secs(1);

impl Task {
    /// Opens the configured listeners, and waits until each has an address.
    pub(in crate::network) async fn listen(&mut self, addresses: &[String]) -> Result<(), NetworkError> {
        let mut unnamed = Vec::new();
        for address in addresses {
            unnamed.push(self.listen_on(address)?);
        }
        let all_named = async {
            while !unnamed.is_empty() {
                let event = self.swarm.select_next_some().await;
                if let SwarmEvent::NewListenAddr { listener_id, .. } = &event {
                    unnamed.retain(|id| id != listener_id);
                }
                self.on_swarm_event(event);
            }
        };
        // A machine without any network has no address for a wildcard listener yet, and is no error.
        let _ = timeout(FIRST_ADDRESS_MAX, all_named).await;
        Ok(())
    }

    fn listen_on(&mut self, address: &str) -> Result<ListenerId, NetworkError> {
        let bad = |why: String| NetworkError::BadAddress { address: address.into(), why };
        let parsed: Multiaddr = address.parse().map_err(|error| bad(format!(": {error}")))?;
        self.swarm.listen_on(parsed).map_err(|error| match error {
            TransportError::MultiaddrNotSupported(_) => bad(String::new()),
            TransportError::Other(error) if is_in_use(&error) => NetworkError::AddressInUse { address: address.into() },
            TransportError::Other(error) => NetworkError::Listen { address: address.into(), why: root(&error) },
        })
    }

    pub(super) fn on_address(&mut self, address: &Multiaddr) {
        let address = address.to_string();
        self.shared.addresses().push(address.clone());
        self.emit(NetworkEvent::Listening { address });
    }

    pub(super) fn on_address_gone(&mut self, address: &Multiaddr) {
        let address = address.to_string();
        self.shared.addresses().retain(|known| *known != address);
        self.emit(NetworkEvent::AddressGone { address });
    }
}

/// The transport hides the kind of its errors behind types without names, but not their words.
fn is_in_use(error: &io::Error) -> bool {
    root(error).contains(&io::Error::from(Errno::EADDRINUSE).to_string())
}
