use crate::shop::{PRODUCTS, VIEW, View};
use realtime_client::Client;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Spawns simulated visitors of the shop at `url`, which connect, view products and disconnect again, forever. Must
/// be called within a tokio runtime.
pub fn visit(url: &str) {
    for visitor in 0..VISITORS {
        tokio::spawn(come_and_go(url.to_owned(), visitor));
    }
}

/// The number of visitors, connected or not.
const VISITORS: u64 = 24;

async fn come_and_go(url: String, visitor: u64) {
    sleep(Duration::from_millis(visitor * 400)).await;
    let stay = Duration::from_secs(12 + visitor % 7 * 6);
    let away = Duration::from_secs(4 + visitor % 5 * 4);
    let pause = Duration::from_millis(250 + visitor * 137 % 900);
    for round in visitor.. {
        let client = Client::builder(url.as_str()).connect();
        let leaves = Instant::now() + stay;
        for look in round.. {
            if Instant::now() >= leaves {
                break;
            }
            let product = PRODUCTS[look as usize % PRODUCTS.len()].to_owned();
            // The client reconnects by itself; a view that fails does not matter.
            let _ = client.call(VIEW, View { product }).await;
            sleep(pause).await;
        }
        client.close().await;
        sleep(away).await;
    }
}
