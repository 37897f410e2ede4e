//! Which addresses have a limit of their own.

use adapter_testing::{TestServer, block_on};
use realtime_core::{Config, Endpoint, PrivatePeers, Rate, Realtime};
use std::{net::IpAddr, time::Duration};

/// Connects this many clients from one address. Returns the first that is refused, by its number, and the status.
async fn refused(config: Config, address: &str, clients: usize) -> Option<(usize, u16)> {
    let server = TestServer::new(Realtime::builder().config(config).endpoint("api", Endpoint::new(())).build());
    let address: IpAddr = address.parse().unwrap();
    let mut open = Vec::new();
    for number in 1..=clients {
        match server.request("api").peer((address, number as u16).into()).open().await {
            Ok(client) => open.push(client),
            Err(refused) => return Some((number, refused.status().as_u16())),
        }
    }
    None
}

#[test]
fn clients_behind_a_proxy_on_the_same_machine_are_not_limited_as_one() {
    block_on(async {
        for proxy in ["127.0.0.1", "::1", "10.0.0.1", "::ffff:192.168.0.1"] {
            assert_eq!(refused(Config::default(), proxy, 1100).await, None, "{proxy}");
        }
    });
}

#[test]
fn a_public_address_is_limited() {
    block_on(async {
        for client in ["203.0.113.7", "2001:db8::7", "::ffff:203.0.113.7"] {
            assert_eq!(refused(Config::default(), client, 1100).await, Some((1025, 429)), "{client}");
        }
    });
}

#[test]
fn a_private_address_is_limited_where_it_is_one_client() {
    block_on(async {
        let mut config = Config::default();
        config.private_peers = PrivatePeers::One;
        config.connections_per_peer = 2;
        for client in ["127.0.0.1", "::1", "10.0.0.1"] {
            assert_eq!(refused(config.clone(), client, 4).await, Some((3, 429)), "{client}");
        }
    });
}

/// The limit of the node is left.
#[test]
fn all_places_may_be_those_of_a_proxy() {
    block_on(async {
        let mut config = Config::default();
        (config.connections, config.connections_per_peer) = (3, 1);
        assert_eq!(refused(config, "127.0.0.1", 5).await, Some((4, 503)));
    });
}

/// Only a socket's own address and the word of a trusted proxy count.
#[test]
fn nobody_gets_a_private_address_by_claiming_it() {
    block_on(async {
        let mut config = Config::default();
        config.connections_per_peer = 1;
        config.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
        let server =
            TestServer::new(Realtime::builder().config(config).endpoint("api", Endpoint::new(())).build());
        for (peer, forwarded) in [([203, 0, 113, 7], "127.0.0.1"), ([10, 0, 0, 1], "127.0.0.1, 203.0.113.8")] {
            let open =
                || server.request("api").peer((peer, 80).into()).header("x-forwarded-for", forwarded).open();
            let _first = open().await.unwrap();
            assert_eq!(open().await.unwrap_err().status(), 429, "{forwarded}");
        }
    });
}

/// A limit that the application sets counts for each address.
#[test]
fn rates_count_for_private_addresses() {
    block_on(async {
        let mut config = Config::default();
        config.rates.requests_per_peer = Some(Rate::new(3, Duration::from_secs(60)));
        assert_eq!(refused(config, "127.0.0.1", 5).await, Some((4, 429)));
    });
}
