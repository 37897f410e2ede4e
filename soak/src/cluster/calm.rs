use super::node::{Node, READY};
use crate::{Outcome, cluster::reader::connect};
use realtime_client::Client;
use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::{Duration, Instant},
};
use tokio::time::sleep;

/// Several times in a beat, so that no time in which a node is not ready is missed.
const EACH: Duration = Duration::from_millis(200);

/// Asks all nodes until it is over whether they are ready. Returns how often it asked.
///
/// # Errors
///
/// If one said that it is not: nothing is wrong here. Also if one did not answer.
pub(crate) async fn watch(nodes: &[Node], over: &AtomicBool) -> Outcome<String> {
    let clients: Vec<_> = nodes.iter().map(|node| connect(node.port)).collect();
    let begun = Instant::now();
    let (mut asked, mut alarms) = (0, Vec::new());
    while !over.load(Relaxed) {
        for (number, client) in (1..).zip(&clients) {
            asked += 1;
            if let Some(alarm) = alarm(client).await {
                alarms.push(format!("node {number} after {:.1} s: {alarm}", begun.elapsed().as_secs_f64()));
            }
        }
        sleep(EACH).await;
    }
    for client in clients {
        client.close().await;
    }
    if alarms.is_empty() { Ok(format!("no faults; {asked} times ready")) } else { Err(alarms.join("\n").into()) }
}

async fn alarm(client: &Client) -> Option<String> {
    match client.call(READY, ()).await {
        Ok(true) => None,
        Ok(false) => Some("not ready".to_owned()),
        Err(error) => Some(error.to_string()),
    }
}
