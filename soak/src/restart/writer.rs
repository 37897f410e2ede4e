use super::{Ends, reader::connect, server::ADD};
use realtime_client::Client;
use std::time::Duration;
use tokio::{
    sync::oneshot::{self, error::TryRecvError},
    task::JoinHandle,
    time::sleep,
};

/// A client that appends to one feed, again and again, and remembers what it was told of it.
pub(crate) struct Writer {
    stop: oneshot::Sender<()>,
    writing: JoinHandle<Ends>,
}

/// The time between two appends: enough for all followers together on one core.
const PAUSE: Duration = Duration::from_millis(20);

impl Writer {
    pub(crate) fn start(url: &str, feed: usize) -> Self {
        let (stop, stopped) = oneshot::channel();
        Self { stop, writing: tokio::spawn(write(connect(url), feed, stopped)) }
    }

    pub(crate) async fn stop(self) -> Ends {
        let _ = self.stop.send(());
        self.writing.await.unwrap_or_default()
    }
}

async fn write(client: Client, feed: usize, mut stopped: oneshot::Receiver<()>) -> Ends {
    let mut ends = Ends::new();
    while stopped.try_recv() == Err(TryRecvError::Empty) {
        // One that was cut off may have been appended: its followers know.
        if let Ok(written) = client.call(ADD, feed).written().await {
            for wrote in written.at {
                ends.insert(wrote.position.epoch, wrote.position.offset);
            }
        }
        sleep(PAUSE).await;
    }
    client.close().await;
    ends
}
