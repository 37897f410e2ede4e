//! A server that speaks TLS alone.

use crate::support::Server;
use adapter_testing::{block_on, broker_suite};
use broker_redis::{Redis, RedisBroker};
use free_port::free_port;
use std::{fs, time::Duration};

#[test]
fn a_server_with_tls_passes_the_suite_and_strangers_are_refused() {
    let authority =
        rcgen::generate_simple_self_signed(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let folder = std::env::temp_dir().join(format!("broker-redis-tls-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    fs::write(&certificate, authority.cert.pem()).unwrap();
    fs::write(&key, authority.signing_key.serialize_pem()).unwrap();
    let port = free_port().unwrap();
    let server = Server::start(&[
        &format!("tls-port {port}"),
        &format!("tls-cert-file {}", certificate.display()),
        &format!("tls-key-file {}", key.display()),
        "tls-auth-clients no",
    ]);
    let redis = Redis::url(format!("rediss://127.0.0.1:{port}")).time_limit(Duration::from_secs(4));
    let error = block_on(RedisBroker::connect(redis.clone())).map(drop).unwrap_err();
    assert!(error.message().contains(&port.to_string()), "{error}");
    let known = redis.root_certificate(authority.cert.pem());
    block_on(broker_suite(async || RedisBroker::connect(known.clone()).await.unwrap()));
    drop(server);
    let _ = fs::remove_dir_all(folder);
}
