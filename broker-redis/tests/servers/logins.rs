//! Who may connect, and to what.

use crate::support::{Cluster, Sentinels, Server};
use adapter_testing::{block_on, broker_suite};
use broker_redis::{Redis, RedisBroker};
use free_port::free_port;
use realtime_core::{Code, Error};
use std::time::{Duration, Instant};

fn refused(redis: Redis) -> Error {
    block_on(RedisBroker::connect(redis.time_limit(Duration::from_millis(500)))).map(drop).unwrap_err()
}

/// The rights that README.md names for one server.
fn rights() -> Vec<&'static str> {
    let readme = include_str!("../../README.md");
    let begin = readme.find("`+hello").unwrap() + 1;
    let end = begin + readme[begin..].find('`').unwrap();
    ["~app:*", "&app:*", "resetpass", ">secret"].into_iter().chain(readme[begin..end].split_whitespace()).collect()
}

#[test]
fn a_user_with_the_documented_rights_passes_the_suite() {
    let server = Server::start(&[]);
    server.command(&[&["ACL", "SETUSER", "ann", "on"], &rights()[..]].concat()).unwrap();
    let url = format!("redis://ann:secret@127.0.0.1:{}", server.port);
    let redis = Redis::url(url).prefix("app");
    block_on(broker_suite(async || RedisBroker::connect(redis.clone()).await.unwrap()));
}

#[test]
fn a_user_with_the_documented_rights_connects_to_a_cluster() {
    let cluster = Cluster::start();
    let grant = |rights: &[&str]| {
        for server in &cluster.servers {
            server.command(&[&["ACL", "SETUSER", "ann", "on"], rights].concat()).unwrap();
        }
    };
    grant(&rights());
    grant(&["+ssubscribe", "+sunsubscribe", "+spublish", "+cluster|slots", "+cluster|info"]);
    let urls: Vec<_> =
        cluster.servers.iter().map(|server| format!("redis://ann:secret@127.0.0.1:{}", server.port)).collect();
    let redis = Redis::cluster(urls).prefix("app");
    block_on(RedisBroker::connect(redis.clone())).unwrap();
    grant(&["-spublish"]);
    let error = refused(redis);
    assert!(error.message().contains("+spublish"), "{error}");
}

#[test]
fn a_missing_right_is_named_when_connecting() {
    let server = Server::start(&[]);
    for right in rights().into_iter().filter(|right| right.starts_with('+') && *right != "+hello") {
        let left: Vec<_> = rights().into_iter().filter(|granted| *granted != right).collect();
        server.command(&[&["ACL", "SETUSER", "ann", "reset", "on"], &left[..]].concat()).unwrap();
        let error = refused(Redis::url(format!("redis://ann:secret@127.0.0.1:{}", server.port)).prefix("app"));
        let command = right.trim_start_matches('+').split('|').next().unwrap();
        assert!(error.message().contains("NOPERM") && error.message().contains(command), "{right}: {error}");
    }
}

#[test]
fn a_prefix_that_the_user_may_not_use_is_refused_when_connecting() {
    let server = Server::start(&[]);
    server.command(&[&["ACL", "SETUSER", "ann", "on"], &rights()[..]].concat()).unwrap();
    let error = refused(Redis::url(format!("redis://ann:secret@127.0.0.1:{}", server.port)).prefix("other"));
    assert_eq!(error.code(), &Code::FAILED_PRECONDITION);
    assert!(error.message().contains("+xadd") && error.message().contains("prefix"), "{error}");
}

#[test]
fn a_wrong_password_is_refused_with_the_server_that_did() {
    let server = Server::start(&[]);
    server.command(&["CONFIG", "SET", "requirepass", "secret"]).unwrap();
    let address = format!("127.0.0.1:{}", server.port);
    for login in ["", ":wrong@", "ann:secret@"] {
        let error = refused(Redis::url(format!("redis://{login}{address}")));
        assert_eq!(error.code(), &Code::FAILED_PRECONDITION, "{error}");
        assert!(error.message().contains(&address), "{error}");
        assert!(!error.message().contains("wrong@"), "{error}");
    }
    block_on(RedisBroker::connect(Redis::url(format!("redis://:secret@{address}")))).unwrap();
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let port = free_port().unwrap();
    let error = refused(Redis::url(format!("redis://127.0.0.1:{port}")));
    assert_eq!(error.code(), &Code::UNAVAILABLE);
    assert!(error.message().contains(&port.to_string()), "{error}");
}

#[test]
fn a_server_that_stands_still_is_given_up_in_time() {
    let server = Server::start(&[]);
    server.signal("STOP");
    let begun = Instant::now();
    let error = refused(Redis::url(server.url()));
    server.signal("CONT");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert!(error.message().contains("no answer in time"), "{error}");
}

#[test]
fn a_replica_is_refused() {
    let master = Server::start(&[]);
    let replica = Server::start(&[&format!("replicaof 127.0.0.1 {}", master.port)]);
    assert!(refused(Redis::url(replica.url())).message().contains("is a replica"));
}

#[test]
fn a_place_of_another_kind_is_refused_with_the_right_one() {
    let server = Server::start(&[]);
    let error = refused(Redis::cluster([server.url()]));
    assert!(error.message().contains("cluster support disabled"), "{error}");
    let node = Server::start(&["cluster-enabled yes", &format!("cluster-port {}", free_port().unwrap())]);
    assert!(refused(Redis::url(node.url())).message().contains("Redis::cluster"));
    let error = refused(Redis::cluster([node.url()]));
    assert!(error.message().contains("no server of the cluster has slot"), "{error}");
}

#[test]
fn sentinels_that_do_not_know_the_master_are_refused_with_its_name() {
    let sentinels = Sentinels::start(0, 5000);
    let error = refused(Redis::sentinel(sentinels.urls(), "other"));
    assert!(error.message().contains("no Sentinel knows a master named other"), "{error}");
}

#[test]
fn servers_behind_sentinels_have_a_login_of_their_own() {
    let sentinels = Sentinels::start(0, 60_000);
    sentinels.servers[0].command(&["ACL", "SETUSER", "ann", "on", ">secret", "~*", "&*", "+@all"]).unwrap();
    let redis = Redis::sentinel(sentinels.urls(), "mymaster");
    block_on(RedisBroker::connect(redis.clone().login("ann", "secret"))).unwrap();
    assert_eq!(refused(redis.login("ann", "wrong")).code(), &Code::FAILED_PRECONDITION);
}

#[test]
fn a_cluster_is_found_by_any_of_its_servers() {
    let cluster = Cluster::start();
    for server in [&cluster.servers[2], &cluster.servers[5]] {
        let broker = block_on(RedisBroker::connect(Redis::cluster([server.url()]))).unwrap();
        assert_eq!(realtime_core::Broker::abilities(&broker).shards, 3);
    }
}
