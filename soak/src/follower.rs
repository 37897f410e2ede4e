//! A client that follows one feed and keeps a book of what it is told.

use realtime_client::{Client, Update, Updates};
use serde::de::DeserializeOwned;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::task::JoinHandle;

/// A record of what a client is told.
pub(crate) trait Record: Clone + Send + 'static {
    type Entry: DeserializeOwned + Send + 'static;

    fn apply(&mut self, update: Update<Self::Entry>);

    /// Notes something that must not be.
    fn note(&mut self, what: &str);
}

pub(crate) struct Follower<B> {
    client: Client,
    book: Arc<Mutex<B>>,
    reading: JoinHandle<()>,
}

impl<B: Record> Follower<B> {
    pub(crate) fn start(client: Client, mut updates: Updates<B::Entry>, book: B) -> Self {
        let book = Arc::new(Mutex::new(book));
        let kept = Arc::clone(&book);
        let reading = tokio::spawn(async move {
            while let Some(update) = updates.next().await {
                let mut book = kept.lock().unwrap_or_else(PoisonError::into_inner);
                match update {
                    Ok(update) => book.apply(update),
                    // The end, when all is over.
                    Err(error) if error.is_closed() => return,
                    Err(error) => book.note(&error.to_string()),
                }
            }
        });
        Self { client, book, reading }
    }

    pub(crate) fn book(&self) -> MutexGuard<'_, B> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the client, and returns the book once nothing more is added.
    pub(crate) async fn stop(self) -> B {
        self.client.close().await;
        let _ = self.reading.await;
        self.book.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
