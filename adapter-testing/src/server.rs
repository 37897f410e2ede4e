use crate::{
    client::TestClient,
    clock::{Clock, ManualClock},
    events::Pump,
    executor::Executor,
    http::{TestHttp, TestHttpRequest},
    request::{Refused, TestRequest},
    watch::{Watch, Watched},
};
use http::Uri;
use realtime_core::{Handler, Realtime};
use serde::Serialize;
#[cfg(feature = "tokio")]
use std::pin::pin;
use std::{
    future::poll_fn,
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
    task::{Context, Poll},
    time::Duration,
};

/// A server in memory, with a clock that stands still until it is advanced.
///
/// Its connections run whenever a future of the server or of one of its clients is awaited, until they are idle. Clones
/// share the server.
#[derive(Clone, Debug)]
pub struct TestServer(pub(crate) Arc<Shared>);

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) realtime: Realtime,
    pub(crate) executor: Executor,
    peers: Mutex<Vec<Weak<Mutex<dyn Pump>>>>,
    /// Looks at the values that pass.
    pub(crate) watch: OnceLock<Arc<dyn Watch>>,
}

impl TestServer {
    /// Serves the handlers of `realtime`.
    pub fn new(realtime: Realtime) -> Self {
        Self::with_clock(realtime, Clock::new())
    }

    /// Serves the handlers of `realtime` on the clock of tokio, for a test with
    /// `#[tokio::test(start_paused = true)]`: `tokio::time` in a handler, [`Call::sleep`](realtime_core::Call::sleep)
    /// and the timeouts of the library move together. [`advance`](Self::advance) turns them, and tokio itself does
    /// whenever the whole test waits.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime. [`pause`](Self::pause) panics as well: `tokio::time::advance` does the same.
    ///
    /// # Examples
    ///
    /// ```
    /// use adapter_testing::TestServer;
    /// use realtime_core::{Call, Endpoint, Procedure, Realtime};
    /// use std::time::Duration;
    ///
    /// const SLOW: Procedure<(), u32> = Procedure::new("slow");
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// let api = Endpoint::new(()).procedure(SLOW, |call: Call<()>, ()| async move {
    ///     tokio::time::sleep(Duration::from_secs(5)).await;
    ///     call.sleep(Duration::from_secs(5)).await;
    ///     Ok(10)
    /// });
    /// let server = TestServer::with_tokio_time(Realtime::builder().endpoint("api", api).build());
    /// let mut client = server.open("api").await.unwrap();
    /// let start = tokio::time::Instant::now();
    /// assert_eq!(client.call(SLOW, ()).await, Ok(10));
    /// assert_eq!(start.elapsed(), Duration::from_secs(10));
    /// # }
    /// ```
    #[cfg(feature = "tokio")]
    #[track_caller]
    pub fn with_tokio_time(realtime: Realtime) -> Self {
        Self::with_clock(realtime, Clock::of_tokio())
    }

    fn with_clock(realtime: Realtime, clock: Clock) -> Self {
        let executor = Executor::new(clock);
        // So that the clock of the registry is this one before anybody connects.
        realtime.start(executor.clone());
        Self(Arc::new(Shared { realtime, executor, peers: Mutex::default(), watch: OnceLock::new() }))
    }

    /// Returns the served registry.
    pub fn realtime(&self) -> &Realtime {
        &self.0.realtime
    }

    /// Connects to a handler with its typed input.
    ///
    /// # Errors
    ///
    /// The refusal, with its HTTP status.
    pub async fn connect<H: Handler>(&self, id: &str, input: H::Input) -> Result<TestClient<H>, Refused>
    where
        H::Input: Serialize,
    {
        self.request(id).input(&input).connect().await
    }

    /// Connects to an [`Endpoint`](realtime_core::Endpoint): to its calls, subscriptions and events, without the
    /// messages of a handler.
    ///
    /// # Errors
    ///
    /// The refusal, with its HTTP status.
    pub async fn open(&self, id: &str) -> Result<TestClient, Refused> {
        self.request(id).open().await
    }

    /// Creates a request for a WebSocket, to set headers, variables or an address.
    pub fn request(&self, id: &str) -> TestRequest {
        TestRequest::upgrade_of(self.clone(), id)
    }

    /// Creates a request to a handler's [path of its own](realtime_core::Mount::at).
    ///
    /// # Panics
    ///
    /// If it cannot be a path.
    #[track_caller]
    pub fn request_at(&self, path: &str) -> TestRequest {
        TestRequest::upgrade_at(self.clone(), path)
    }

    /// Returns a client that calls an endpoint by HTTP.
    pub fn http(&self, id: &str) -> TestHttp {
        TestHttp::new(self.clone(), id)
    }

    /// Creates a request for server-sent events: the messages of a handler, or a subscription set by
    /// [`path`](TestHttpRequest::path).
    pub fn events(&self, id: &str) -> TestHttpRequest {
        self.http(id).get().header("accept", "text/event-stream")
    }

    /// Runs the connections until they are idle.
    pub async fn settle(&self) {
        poll_fn(|cx| {
            self.run(cx);
            Poll::Ready(())
        })
        .await;
    }

    /// Advances the clock: heartbeats, timeouts and drains happen on time.
    pub async fn advance(&self, duration: Duration) {
        self.settle().await;
        match self.0.executor.clock() {
            Clock::Manual(clock) => self.advance_manual(clock, duration).await,
            #[cfg(feature = "tokio")]
            Clock::Tokio => self.wait(duration).await,
        }
    }

    async fn advance_manual(&self, clock: &ManualClock, duration: Duration) {
        let end = clock.now() + duration;
        loop {
            let reached = clock.step(end);
            self.settle().await;
            if reached {
                return;
            }
        }
    }

    /// Runs the server while tokio's clock moves on. Paused, it goes from timer to timer by itself.
    #[cfg(feature = "tokio")]
    async fn wait(&self, duration: Duration) {
        let mut end = pin!(tokio::time::sleep(duration));
        poll_fn(|cx| {
            self.run(cx);
            end.as_mut().poll(cx)
        })
        .await;
        self.settle().await;
    }

    /// Advances the clock while the server does not run, as if its process were stopped or its machine asleep. It runs
    /// again when something is awaited; bytes that clients send before that count as sent during the pause.
    ///
    /// # Examples
    ///
    /// ```
    /// use adapter_testing::TestServer;
    /// use realtime_core::Realtime;
    /// use std::time::Duration;
    ///
    /// let server = TestServer::new(Realtime::builder().build());
    /// server.pause(Duration::from_secs(60));
    /// ```
    ///
    /// # Panics
    ///
    /// If the clock is tokio's.
    #[track_caller]
    pub fn pause(&self, duration: Duration) {
        match self.0.executor.clock() {
            Clock::Manual(clock) => clock.jump(duration),
            #[cfg(feature = "tokio")]
            Clock::Tokio => panic!("the clock is tokio's: `tokio::time::advance` is a pause"),
        }
    }

    /// The id that a request is for, if somebody looks at its values.
    pub(crate) fn watched(&self, uri: &Uri) -> Option<Watched> {
        let watch = self.0.watch.get()?;
        Some(Watched::new(Arc::clone(watch), self.realtime().prefix(), uri))
    }

    /// Runs the connections, and the clients' own part: they take what they are sent, and answer
    /// pings.
    pub(crate) fn run(&self, cx: &Context<'_>) {
        loop {
            self.0.executor.run(cx);
            let mut progress = false;
            self.peers().retain(|peer| {
                let Some(peer) = peer.upgrade() else { return false };
                progress |= peer.lock().unwrap_or_else(PoisonError::into_inner).pump();
                true
            });
            if !progress {
                return;
            }
        }
    }

    pub(crate) fn add<P: Pump + 'static>(&self, peer: &Arc<Mutex<P>>) {
        let peer: Weak<Mutex<P>> = Arc::downgrade(peer);
        self.peers().push(peer);
    }

    fn peers(&self) -> std::sync::MutexGuard<'_, Vec<Weak<Mutex<dyn Pump>>>> {
        self.0.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
