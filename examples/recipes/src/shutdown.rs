use axum::Router;
use realtime_core::{Endpoint, Realtime};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::net::TcpListener;

/// Something that sessions use until they are over: a database pool, a log.
#[derive(Clone, Default)]
pub struct Journal(Arc<AtomicUsize>);

impl Journal {
    async fn note(&self) {
        self.0.fetch_add(1, SeqCst);
    }

    /// Writes what is left. Returns the number of notes.
    async fn close(self) -> usize {
        self.0.load(SeqCst)
    }
}

pub fn realtime(journal: &Journal) -> Realtime {
    let api = Endpoint::new(journal.clone()).on_close(|client, _| async move { client.state().note().await });
    Realtime::builder().endpoint("api", api).build()
}

/// Serves until `stop` is ready. Without `shutdown`, SIGINT and SIGTERM stop it.
pub async fn run(
    listener: TcpListener,
    journal: Journal,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<usize> {
    let realtime = realtime(&journal);
    let app = Router::new().merge(adapter_axum::routes(&realtime));
    let deadline = Duration::from_secs(20); // below the time that the container has
    adapter_axum::serve(listener, app, &realtime).shutdown(stop).deadline(deadline).await?;
    // Every session is over, its `on_close` too: what they used can be closed.
    Ok(journal.close().await)
}

#[cfg(test)]
mod tests {
    use super::*;
    use realtime_client::Client;
    use realtime_core::Procedure;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn what_sessions_use_is_closed_after_them() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/__realtime/api", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(run(listener, Journal::default(), async { drop(stopped.await) }));
        let client = Client::builder(url).connect();
        // That it is answered shows that the connection is open.
        let missing: Procedure<(), ()> = Procedure::query("missing");
        client.call(missing, ()).await.unwrap_err();
        stop.send(()).unwrap();
        assert_eq!(server.await.unwrap().unwrap(), 1);
    }
}
