//! Why something came to nothing, in the words of whoever knows: the layers above wrap them and repeat each other.

use std::error::Error;
use std::io;

use libp2p::core::transport::TransportError;
use libp2p::swarm::DialError;

use super::super::identity::from_libp2p;

pub(super) fn dial_reason(error: &DialError) -> String {
    match error {
        DialError::LocalPeerId { .. } => "it is this peer's own address".into(),
        // The swarm leaves out the addresses it listens on itself.
        DialError::NoAddresses => "no address but this peer's own".into(),
        DialError::DialPeerConditionFalse(_) | DialError::Aborted => "the dial was given up".into(),
        DialError::WrongPeerId { obtained, .. } => match from_libp2p(obtained) {
            Some(peer) => format!("another peer answers there: {peer}"),
            None => "something else than a peer answers there".into(),
        },
        DialError::Denied { cause } => root(cause),
        DialError::Transport(tried) => {
            let tried: Vec<_> = tried
                .iter()
                .map(|(address, error)| match error {
                    TransportError::MultiaddrNotSupported(_) => format!("{address} is not a QUIC address"),
                    TransportError::Other(error) => format!("{address}: {}", root(error)),
                })
                .collect();
            tried.join("; ")
        }
    }
}

/// The innermost words of an error: the layers above repeat each other.
pub(super) fn root(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// The error of this type inside of another.
pub(super) fn cause<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        // An I/O error that wraps another leaves it out of its sources.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = wrapped.map(|error| error as &(dyn Error + 'static)).or_else(|| error.source());
    }
    None
}
