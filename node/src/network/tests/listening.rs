//! Addresses that cannot be listened on, and what a person is told.

use super::*;

#[tokio::test(flavor = "current_thread")]
async fn a_port_in_use_is_a_clear_error() {
    let a = Node::start(1).await;
    let mut config = config(2, certificate_for(&mesh(), &key(2)).sign(&Issuer::of(&mesh())));
    config.listen = vec![a.address()];

    let error = Network::start(config).await.map(|_| ()).unwrap_err();

    assert!(matches!(error, NetworkError::AddressInUse { .. }), "{error}");
    assert!(error.to_string().contains(&a.address()), "{error}");
    assert!(error.hint().contains("another port"), "{}", error.hint());
}

#[tokio::test(flavor = "current_thread")]
async fn addresses_that_are_no_quic_addresses_are_clear_errors() {
    for bad in ["127.0.0.1:7700", "/ip4/127.0.0.1/tcp/7700"] {
        let mut config = config(2, certificate_for(&mesh(), &key(2)).sign(&Issuer::of(&mesh())));
        config.listen = vec![bad.into()];

        let error = Network::start(config).await.map(|_| ()).unwrap_err();

        assert!(matches!(error, NetworkError::BadAddress { .. }), "{error}");
        assert!(error.to_string().contains(bad), "{error}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn an_address_of_another_machine_is_a_clear_error() {
    let mut config = config(2, certificate_for(&mesh(), &key(2)).sign(&Issuer::of(&mesh())));
    config.listen = vec!["/ip4/203.0.113.77/udp/0/quic-v1".into()];

    let error = Network::start(config).await.map(|_| ()).unwrap_err();

    assert!(matches!(error, NetworkError::Listen { .. }), "{error}");
}
