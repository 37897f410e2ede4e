//! What operators read. It is alone in its file, because it reads the log of the process.

#[path = "servers/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "a part is used")]
mod support;

use adapter_testing::block_on;
use broker_redis::Redis;
use realtime_core::{Broker, broker::Source};
use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};
use support::{Server, eventually, misses, node};
use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Returns the lines since the last call that are about the broker.
    fn take(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap());
        let lines = String::from_utf8(bytes).unwrap();
        lines.lines().filter(|line| line.contains("broker_redis")).map(str::to_owned).collect()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[test]
fn a_change_is_logged_once_with_the_server_and_the_reason() {
    let log = Log::default();
    tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).init();
    let mut server = Server::start(&[]);
    let address = format!("127.0.0.1:{}", server.port);
    let node = node(Redis::url(server.url()).time_limit(Duration::from_millis(200)));
    block_on(node.follow("topic", Source::Topic));
    let append = || block_on(node.broker.append(&node.draft("feed", &["x"]), None));
    append().unwrap();
    assert_eq!(log.take(), [""; 0]);

    server.command(&["CONFIG", "SET", "maxmemory", "1"]).unwrap();
    (0..20).for_each(|_| drop(append().unwrap_err()));
    let lines = log.take();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("WARN") && lines[0].contains(&address) && lines[0].contains("OOM"), "{lines:?}");
    server.command(&["CONFIG", "SET", "maxmemory", "0"]).unwrap();
    (0..20).for_each(|_| drop(append().unwrap()));
    let lines = log.take();
    assert!(lines.len() == 1 && lines[0].contains("appending to feeds: works again"), "{lines:?}");

    let channel: Vec<String> = redis::cmd("PUBSUB").arg("CHANNELS").query(&mut server.connect()).unwrap();
    (0..20).for_each(|_| drop(server.command(&["PUBLISH", &channel[0], "junk"]).unwrap()));
    block_on(node.publish("topic", &["good"]));
    assert_eq!(block_on(node.text()).1, "good");
    let lines = log.take();
    assert!(lines.len() == 1 && lines[0].contains("topic: a message of another node has version"), "{lines:?}");

    server.kill();
    (0..4).for_each(|_| drop(append().unwrap_err()));
    let lines = log.take();
    let about = |lines: &[String], what: &str| lines.iter().filter(|line| line.contains(what)).count();
    assert_eq!(about(&lines, &format!("no connection to Redis at {address}")), 1, "{lines:?}");
    assert!(lines.len() <= 3, "{lines:?}");
    server.run();
    assert!(misses(&node, Duration::from_secs(5)));
    eventually("it appends", Duration::from_secs(5), || append().is_ok());
    let lines = log.take();
    assert_eq!(about(&lines, "the connection to Redis: works again"), 1, "{lines:?}");
}
