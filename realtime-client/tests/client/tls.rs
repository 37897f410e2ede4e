//! `wss://`, with certificates made for each test.

use crate::support::{Network, Server, settle, soon};
use rcgen::{CertifiedKey, KeyPair};
use realtime_client::{Client, State};
use serde_json::json;
use std::sync::Arc;
use tokio::{io::DuplexStream, net::TcpListener};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer},
};

/// Returns a server's certificate for `name`, as PEM, and an acceptor that uses it.
fn certified(name: &str) -> (String, TlsAcceptor) {
    let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(KeyPair::serialize_der(&signing_key).into());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    (cert.pem(), TlsAcceptor::from(Arc::new(config)))
}

/// Returns the client's cause for refusing the connection to `acceptor`.
async fn failure(url: &str, trusted: &str, acceptor: &TlsAcceptor) -> String {
    let (mut network, dial) = Network::behind();
    let client = Client::builder(url).root_certificates(trusted).dial(dial).connect();
    let io: DuplexStream = network.dialed().await;
    assert!(soon(acceptor.accept(io)).await.is_err());
    settle().await;
    match client.state() {
        State::Reconnecting { cause, .. } => cause.to_string(),
        state => panic!("{state:?}"),
    }
}

/// Uses real sockets, and a port chosen by the system.
#[tokio::test]
async fn a_certificate_of_a_trusted_authority_makes_a_connection() {
    let (pem, acceptor) = certified("localhost");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("WSS://localhost:{}/__realtime/api", listener.local_addr().unwrap().port());
    let client = Client::builder(url).root_certificates(&pem).connect();
    let mut messages = client.messages::<String>();
    let io = soon(listener.accept()).await.unwrap().0;
    let mut server = Server::upgrade(soon(acceptor.accept(io)).await.unwrap()).await;
    server.send(json!({"type": "welcome", "connection": "c1", "heartbeatMs": 25_000})).await;
    soon(client.opened()).await.unwrap();
    client.send("x".repeat(100_000)).unwrap();
    let frame = server.recv().await;
    server.send(frame).await;
    assert_eq!(soon(messages.next()).await.unwrap().unwrap().len(), 100_000);
    tokio::join!(soon(client.close()), async { assert_eq!(server.closed().await, 1000) });
}

#[tokio::test(start_paused = true)]
async fn a_certificate_of_nobody_who_is_trusted_makes_none() {
    let (_, acceptor) = certified("localhost");
    let (other, _) = certified("localhost");
    let told = failure("wss://localhost/", &other, &acceptor).await;
    assert!(told.starts_with("connection lost: TLS failed: invalid peer certificate: "), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_certificate_of_another_host_makes_none() {
    let (pem, acceptor) = certified("localhost");
    let told = failure("wss://name:secret@elsewhere/?secret", &pem, &acceptor).await;
    assert!(told.contains("certificate not valid for name \"elsewhere\""), "{told}");
    assert!(!told.contains("secret"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_is_none_is_told() {
    for (pem, wrong) in [
        ("", "the PEM has none"),
        ("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", "invalid root certificates: "),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "invalid root certificate: "),
    ] {
        let (_network, dial) = Network::behind();
        let client = Client::builder("wss://localhost/").root_certificates(pem).dial(dial).connect();
        let error = soon(client.opened()).await.unwrap_err();
        assert!(error.is_closed() && error.message().contains(wrong), "{error}");
    }
}
