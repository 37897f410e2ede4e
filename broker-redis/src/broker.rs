use crate::{budget::Budget, link::Link, log, publish::Parcel, settings::Redis, state::State, thread::Thread};
use async_trait::async_trait;
use bytes::Bytes;
use realtime_core::{
    AppendError, Broker, Error, Position, Result,
    broker::{Abilities, Arrival, Draft, FollowChange, Page, Publication, Source, Untaken},
};
use redis::Arg;
use std::{fmt, sync::Arc, time::Duration};

/// A broker on Redis or Valkey: topics by its pub/sub, the logs of feeds in its streams.
///
/// It works on every runtime: its connections live on a thread of its own, which ends when it is dropped.
///
/// ```no_run
/// # async fn start() -> realtime_core::Result {
/// use broker_redis::{Redis, RedisBroker};
/// use realtime_core::Realtime;
///
/// let broker = RedisBroker::connect(Redis::url("redis://127.0.0.1/")).await?;
/// let realtime = Realtime::builder().broker(broker).build();
/// # Ok(())
/// # }
/// ```
pub struct RedisBroker {
    link: Arc<Link>,
    thread: Thread,
    budget: Budget,
    shards: usize,
    appending: State,
    publishing: State,
}

impl RedisBroker {
    /// Connects to Redis.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` if the settings are wrong; `FAILED_PRECONDITION` if the login is refused or the server is not
    /// of the kind or version that is needed; `UNAVAILABLE` if not all masters can be reached. Later losses of the
    /// connection are no errors: it is made again.
    pub async fn connect(redis: Redis) -> Result<Self> {
        redis.addresses()?;
        let thread = Thread::start().map_err(Error::internal)?;
        let budget = Budget::new(redis.waiting);
        let link = Arc::new(Link::new(redis));
        let opening = Arc::clone(&link);
        thread.run(async move { opening.open().await }).await??;
        thread.spawn(Arc::clone(&link).keep());
        let shards = link.shards().iter().max().map_or(1, |last| last + 1);
        let (appending, publishing) = (State::new("appending to feeds"), State::new("publishing"));
        Ok(Self { link, thread, budget, shards, appending, publishing })
    }

    /// Runs something with the link on its thread.
    async fn run<T, F>(&self, act: impl FnOnce(Arc<Link>) -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        self.thread.run(act(Arc::clone(&self.link))).await
    }

    /// Logs a change of what works.
    fn note(state: &State, error: Option<&Error>) {
        match error {
            None => state.good(),
            Some(error) => {
                let cause = error.source().map(ToString::to_string);
                state.bad(error.code().as_str(), cause.as_deref().unwrap_or(error.message()));
            }
        }
    }
}

#[async_trait]
impl Broker for RedisBroker {
    fn abilities(&self) -> Abilities {
        Abilities::default().with_logs().with_claims().with_shards(self.shards)
    }

    fn shard_of(&self, topic: &str) -> usize {
        self.link.shards().get(self.link.names.partition(topic)).copied().unwrap_or(0)
    }

    async fn follow(&self, changes: &[FollowChange]) -> Result {
        let changes = changes.to_vec();
        self.run(|link| async move { link.follow(&changes).await }).await??;
        Ok(())
    }

    async fn publish(&self, batch: &[Publication]) -> Result<(), Untaken> {
        let names = &self.link.names;
        let parcel = |publication: &Publication| Parcel {
            partition: names.partition(&publication.topic),
            channel: names.channel(Source::Topic, &publication.topic),
            message: publication.encode(),
        };
        let parcels: Vec<_> = batch.iter().map(parcel).collect();
        let bytes = parcels.iter().map(|parcel| parcel.channel.len() + parcel.message.len()).sum();
        let _waiting = self.budget.take(bytes).map_err(Untaken::all)?;
        let published = self.run(|link| async move { link.publish(parcels).await }).await?;
        Self::note(&self.publishing, published.as_ref().err().map(|untaken| &untaken.error));
        published
    }

    async fn append(&self, draft: &Draft, again_since: Option<&Position>) -> Result<Position, AppendError> {
        let command = log::append(&self.link.names, draft, again_since, self.link.publish_command());
        let command = command.map_err(AppendError::Refused)?;
        let bytes = command.args_iter().map(size).sum();
        let _waiting = self.budget.take(bytes).map_err(AppendError::Refused)?;
        let (topic, since) = (draft.topic.clone(), again_since.map_or(0, |since| since.offset));
        let appended = self.run(|link| async move { link.append(&topic, &command, since).await }).await;
        let appended = appended.map_err(AppendError::Unknown)?;
        Self::note(&self.appending, appended.as_ref().err().map(AppendError::error));
        appended
    }

    async fn read(&self, topic: &str, after: u64, limit: usize) -> Result<Page> {
        let topic = topic.to_owned();
        self.run(|link| async move { link.read(&topic, after, limit).await }).await?
    }

    async fn tops(&self, topics: &[&str]) -> Result<Vec<Position>> {
        let topics: Vec<_> = topics.iter().map(|topic| (*topic).to_owned()).collect();
        self.run(|link| async move { link.tops(&topics).await }).await?
    }

    async fn claim(&self, key: &str, value: &[u8], keep: Duration) -> Result<Option<Bytes>> {
        let _waiting = self.budget.take(key.len() + value.len())?;
        let (key, value) = (key.to_owned(), value.to_vec());
        Ok(self.run(|link| async move { link.claim(&key, &value, keep).await }).await??)
    }

    async fn settle(&self, key: &str, from: &[u8], to: &[u8], keep: Duration) -> Result<bool> {
        let _waiting = self.budget.take(key.len() + from.len() + to.len())?;
        let (key, from, to) = (key.to_owned(), from.to_vec(), to.to_vec());
        Ok(self.run(|link| async move { link.settle(&key, &from, &to, keep).await }).await??)
    }

    async fn receive(&self, into: &mut Vec<Arrival>) -> Result {
        self.link.inbox.receive(into).await;
        Ok(())
    }
}

fn size(argument: Arg<&[u8]>) -> usize {
    match argument {
        Arg::Simple(bytes) => bytes.len(),
        _ => 0,
    }
}

impl fmt::Debug for RedisBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBroker")
            .field("redis", &self.link.redis)
            .field("shards", &self.shards)
            .finish_non_exhaustive()
    }
}
