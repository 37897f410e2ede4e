//! The connections to all masters: kept, found again, and used.

use crate::{
    find::{Found, distinct, find},
    inbox::Inbox,
    master::{Dialer, Master},
    names::Names,
    push::Push,
    rights, scripts,
    server::Server,
    settings::Redis,
    state::State,
    subscribe::subscribe,
    trouble::{self, Outcome, Trouble},
    wanted::Wanted,
};
use futures_util::future::join_all;
use realtime_core::Result;
use redis::{Cmd, FromRedisValue};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Mutex as AsyncMutex, Notify, watch},
    time::{Instant, sleep, timeout_at},
};

pub(crate) struct Link {
    pub(crate) redis: Redis,
    pub(crate) names: Arc<Names>,
    pub(crate) wanted: Arc<Wanted>,
    pub(crate) inbox: Arc<Inbox>,
    /// Held while channels are subscribed: what the node wants and what masters carry change together.
    pub(crate) subscribing: AsyncMutex<()>,
    /// The master of each partition.
    pub(crate) routes: watch::Sender<Routes>,
    /// Wakes the task that finds masters.
    pub(crate) finder: Arc<Notify>,
    pub(crate) dialer: Dialer,
    push: Push,
    /// Connections that were given up and may not be known as such by their servers.
    given_up: Mutex<Vec<Server>>,
    /// The shard of each partition: the number of the master that had it when the broker connected.
    shards: OnceLock<Vec<usize>>,
    health: State,
}

type Routes = Arc<[Option<Arc<Master>>]>;

/// The first and the longest pause between two attempts to find masters. They are taken by half to whole, at random.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// The time for which masters must have been there for the next loss to be treated as the first.
const CALM: Duration = Duration::from_secs(5);

/// Connections that were given up and are remembered.
const GIVEN_UP: usize = 256;

impl Link {
    pub(crate) fn new(redis: Redis) -> Self {
        let names = Arc::new(Names::new(&redis.prefix, redis.partitions));
        let wanted = Arc::new(Wanted::new(redis.partitions));
        let inbox = Arc::new(Inbox::new(redis.waiting));
        let push = Push::new(Arc::clone(&inbox), Arc::clone(&names), Arc::clone(&wanted));
        let dialer = Dialer {
            login: redis.login.clone(),
            is_cluster: redis.place.is_cluster(),
            time_limit: redis.time_limit,
            rights: Arc::new(rights::ask(&names, redis.place.is_cluster())),
        };
        let routes: Routes = vec![None; redis.partitions].into();
        Self {
            routes: watch::Sender::new(routes),
            finder: Arc::new(Notify::new()),
            subscribing: AsyncMutex::new(()),
            given_up: Mutex::default(),
            shards: OnceLock::new(),
            health: State::new("the connection to Redis"),
            redis,
            names,
            wanted,
            inbox,
            dialer,
            push,
        }
    }

    /// Connects to all masters for the first time.
    pub(crate) async fn open(&self) -> Result {
        let found = self.connect().await?;
        let mut shards = vec![0; self.names.partitions()];
        // In the order of the slots, so that nodes number alike.
        let mut found: Vec<_> = found.into_iter().map(|found| found.partitions).collect();
        found.sort_unstable();
        for (shard, partitions) in found.iter().enumerate() {
            partitions.iter().for_each(|partition| shards[*partition] = shard);
        }
        let _ = self.shards.set(shards);
        Ok(())
    }

    /// Returns the shard of each partition.
    pub(crate) fn shards(&self) -> &[usize] {
        self.shards.get().map_or(&[], |shards| shards)
    }

    pub(crate) fn publish_command(&self) -> &'static str {
        if self.redis.place.is_cluster() { "SPUBLISH" } else { "PUBLISH" }
    }

    /// Finds masters again whenever one is lost, for as long as the broker lives.
    pub(crate) async fn keep(self: Arc<Self>) {
        let mut pause = PAUSES.0;
        let mut last = Instant::now();
        loop {
            self.must_look().await;
            if last.elapsed() > CALM {
                pause = PAUSES.0;
            }
            loop {
                sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
                pause = (pause * 2).min(PAUSES.1);
                match self.connect().await {
                    Ok(_) => break self.health.good(),
                    Err(error) => self.health.bad("down", error.message()),
                }
            }
            last = Instant::now();
        }
    }

    /// Sends a command about something in this partition, also to another master if that is needed.
    pub(crate) async fn request<T: FromRedisValue>(
        &self,
        partition: usize,
        command: &Cmd,
    ) -> Result<(T, Arc<Master>), Trouble> {
        let until = Instant::now() + self.redis.time_limit;
        loop {
            let master = self.master(partition, until).await?;
            if let Some(trouble) = master.server.too_large(largest(command)) {
                return Err(trouble);
            }
            let mut connection = master.commands.clone();
            let trouble = match trouble::read(command.query_async(&mut connection).await, &master.address) {
                Ok(reply) => return Ok((reply, master)),
                Err(trouble) => master.noted(trouble),
            };
            match trouble.outcome {
                Outcome::NoScript => load_scripts(&master).await?,
                Outcome::Elsewhere if Instant::now() < until => self.pause().await,
                _ => return Err(trouble),
            }
        }
    }

    /// Waits for the master of a partition.
    pub(crate) async fn master(&self, partition: usize, until: Instant) -> Result<Arc<Master>, Trouble> {
        let mut routes = self.routes.subscribe();
        loop {
            let master = routes.borrow_and_update()[partition].clone();
            if let Some(master) = master.filter(|master| master.is_alive()) {
                return Ok(master);
            }
            if timeout_at(until, routes.changed()).await.is_err() {
                let waited = self.redis.time_limit.as_secs_f32();
                return Err(Trouble::absent(format!("no connection to Redis for {waited} s")));
            }
        }
    }

    /// Waits before something is sent that another master should have.
    pub(crate) async fn pause(&self) {
        sleep(PAUSES.0.mul_f64(1.0 + fastrand::f64())).await;
    }

    /// Makes all connections that are missing. Those that can be made are used, also if others cannot.
    async fn connect(&self) -> Result<Vec<Found>> {
        let current = self.routes.borrow().clone();
        self.give_up(current.iter().flatten().filter(|master| !master.is_alive()));
        let known: Vec<_> = current.iter().flatten().map(|master| master.info.clone()).collect();
        let known = distinct(known);
        let found = find(&self.redis, &self.dialer, &self.names, &known).await?;
        let reaching = join_all(found.iter().map(|found| self.reach(found, &current)));
        let masters = self.unless_moved(reaching, &found, &known).await?;

        let _subscribing = self.subscribing.lock().await;
        let taken = join_all(found.iter().zip(masters).map(|(found, master)| self.take(found, master))).await;
        let mut routes = vec![None; self.names.partitions()];
        let mut missed = BTreeSet::<usize>::new();
        let mut problem = None;
        for (found, taken) in found.iter().zip(taken) {
            match taken {
                Ok((master, new)) => {
                    found.partitions.iter().for_each(|partition| routes[*partition] = Some(Arc::clone(&master)));
                    missed.extend(new.iter().filter_map(|partition| self.shards().get(*partition)).copied());
                }
                Err(error) => problem = Some(error),
            }
        }
        self.retire(&current, &routes);
        self.routes.send_replace(routes.into());
        missed.into_iter().for_each(|shard| self.inbox.miss(shard));
        problem.map_or(Ok(found), Err)
    }

    /// Returns a live connection to a master: the one that there is, or another.
    async fn reach(&self, found: &Found, current: &[Option<Arc<Master>>]) -> Result<Arc<Master>> {
        let address = found.info.addr().to_string();
        let same = |master: &&Arc<Master>| master.is_alive() && master.address == address;
        if let Some(master) = current.iter().flatten().find(same) {
            return Ok(Arc::clone(master));
        }
        let given_up = self.lock_given_up().clone();
        let master = self.dialer.master(&found.info, &given_up, &self.push, &self.finder).await?;
        let is_of_it = |old: &Server| old.run_id == master.server.run_id;
        self.lock_given_up().retain(|old| !(is_of_it(old) && given_up.contains(old)));
        let master = Arc::new(master);
        tokio::spawn(Master::watch(Arc::downgrade(&master)));
        Ok(master)
    }

    /// Subscribes what a master is to bring; returns the partitions that it brings only now.
    async fn take(&self, found: &Found, master: Result<Arc<Master>>) -> Result<(Arc<Master>, Vec<usize>)> {
        let master = master?;
        let new = master.carry(&found.partitions);
        let channels = self.wanted.channels(&new, &self.names);
        match subscribe(&master, &channels, true, self.dialer.is_cluster).await {
            Ok(()) => Ok((master, new)),
            Err(trouble) => {
                master.life.retire();
                self.give_up([&master]);
                Err(trouble.told())
            }
        }
    }

    /// Gives up connections to masters that have nothing any more.
    fn retire(&self, before: &[Option<Arc<Master>>], now: &[Option<Arc<Master>>]) {
        let is_used = |old: &Arc<Master>| now.iter().flatten().any(|master| Arc::ptr_eq(master, old));
        for master in before.iter().flatten().filter(|master| !is_used(master)) {
            master.life.retire();
            self.give_up([master]);
        }
    }

    fn give_up<'a>(&self, masters: impl IntoIterator<Item = &'a Arc<Master>>) {
        let mut given_up = self.lock_given_up();
        for master in masters {
            if !given_up.contains(&master.server) {
                given_up.push(master.server.clone());
            }
        }
        let excess = given_up.len().saturating_sub(GIVEN_UP);
        given_up.drain(..excess);
    }

    fn lock_given_up(&self) -> MutexGuard<'_, Vec<Server>> {
        self.given_up.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the size of the largest argument.
fn largest(command: &Cmd) -> usize {
    let size = |argument| if let redis::Arg::Simple(bytes) = argument { <[u8]>::len(bytes) } else { 0 };
    command.args_iter().map(size).max().unwrap_or(0)
}

/// Loads the scripts that a server has forgotten.
pub(crate) async fn load_scripts(master: &Master) -> Result<(), Trouble> {
    let mut pipe = redis::pipe();
    scripts::load(&mut pipe);
    let loaded = pipe.exec_async(&mut master.commands.clone()).await;
    // Nothing has been done of what needed them.
    trouble::read(loaded, &master.address).map_err(|trouble| Trouble::absent(master.noted(trouble).text))
}
