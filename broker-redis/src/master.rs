use crate::{
    login::Login,
    push::Push,
    server::Server,
    trouble::{self, Outcome, Trouble},
};
use futures_util::future::join;
use realtime_core::{Error, Result};
use redis::{AsyncConnectionConfig, Cmd, ConnectionInfo, PushInfo, PushKind, aio::MultiplexedConnection};
use std::{
    collections::HashSet,
    convert::Infallible,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{sync::Notify, time::sleep};

/// A master with its two connections, which live and die together.
#[derive(Debug)]
pub(crate) struct Master {
    pub(crate) address: String,
    pub(crate) info: ConnectionInfo,
    pub(crate) server: Server,
    pub(crate) reign: String,
    pub(crate) commands: MultiplexedConnection,
    pub(crate) subscriber: MultiplexedConnection,
    pub(crate) life: Arc<Life>,
    /// The partitions whose channels it brings.
    carries: Mutex<HashSet<usize>>,
}

/// Whether the connections to a master are of use.
#[derive(Debug)]
pub(crate) struct Life {
    is_over: AtomicBool,
    /// Who finds masters again.
    finder: Arc<Notify>,
}

/// How to connect to masters.
#[derive(Clone)]
pub(crate) struct Dialer {
    pub(crate) login: Login,
    pub(crate) is_cluster: bool,
    pub(crate) time_limit: Duration,
    /// The command that asks which rights the user lacks.
    pub(crate) rights: Arc<Cmd>,
}

/// The time between two beats, by which a silent server or a changed role is noticed.
pub(crate) const BEAT: Duration = Duration::from_secs(1);

/// Requests that wait in front of a connection. Those in front of them wait in tasks; what waits is bounded in bytes.
const PIPELINE: usize = 256;

impl Dialer {
    /// Connects to a master.
    pub(crate) async fn master(
        &self,
        info: &ConnectionInfo,
        given_up: &[Server],
        push: &Push,
        finder: &Arc<Notify>,
    ) -> Result<Master> {
        let address = info.addr().to_string();
        let life = Arc::new(Life { is_over: AtomicBool::new(false), finder: Arc::clone(finder) });
        let mut commands = self.connect(info, Some((Arc::clone(&life), None))).await?;
        let server = Server::greet(&mut commands, &address, self, given_up).await?;
        let reign = server.reign();
        let push = push.clone().of_reign(reign.clone());
        let mut subscriber = self.connect(info, Some((Arc::clone(&life), Some(push)))).await?;
        // An address may stand for several servers.
        server.recheck(&mut subscriber, &address).await?;
        Ok(Master {
            address,
            info: info.clone(),
            server,
            reign,
            commands,
            subscriber,
            life,
            carries: Mutex::default(),
        })
    }

    /// Opens a connection: one of a master ends its life where it breaks.
    pub(crate) async fn connect(
        &self,
        info: &ConnectionInfo,
        of: Option<(Arc<Life>, Option<Push>)>,
    ) -> Result<MultiplexedConnection> {
        let client = self.login.client(info)?;
        let mut config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.time_limit))
            .set_response_timeout(Some(self.time_limit))
            .set_pipeline_buffer_size(PIPELINE);
        if let Some((life, push)) = of {
            config = config.set_push_sender(move |said: PushInfo| {
                let is_over = said.kind == PushKind::Disconnection;
                if is_over || push.as_ref().is_some_and(|push| !push.handle(said)) {
                    life.end();
                }
                Ok::<(), Infallible>(())
            });
        }
        let connected = client.get_multiplexed_async_connection_with_config(&config).await;
        connected.map_err(|error| refused(&error, info))
    }
}

impl Master {
    pub(crate) fn is_alive(&self) -> bool {
        !self.life.is_over.load(Relaxed)
    }

    /// Says that a request to it failed. Returns the trouble.
    pub(crate) fn noted(&self, trouble: Trouble) -> Trouble {
        match trouble.outcome {
            Outcome::Lost => self.life.end(),
            // It has become a replica.
            Outcome::Elsewhere if trouble.kind == "READONLY" => self.life.end(),
            Outcome::Elsewhere => self.life.finder.notify_one(),
            _ => {}
        }
        trouble
    }

    /// Watches over its connections until they are given up, or nobody has them any more.
    pub(crate) async fn watch(this: Weak<Self>) {
        loop {
            sleep(BEAT).await;
            let Some(master) = this.upgrade().filter(|master| master.is_alive()) else { return };
            if let Err(error) = master.beat().await {
                tracing::debug!("{}", error.message());
                return master.life.end();
            }
        }
    }

    async fn beat(&self) -> Result {
        let mut subscriber = self.subscriber.clone();
        let ping = async {
            let pong = redis::cmd("PING").exec_async(&mut subscriber).await;
            trouble::read(pong, &self.address).map_err(Trouble::told)
        };
        let mut commands = self.commands.clone();
        let (checked, pong) = join(self.server.recheck(&mut commands, &self.address), ping).await;
        checked.and(pong)
    }

    /// Sets the partitions whose channels it brings; returns those that are new.
    pub(crate) fn carry(&self, partitions: &[usize]) -> Vec<usize> {
        let mut carries = self.carries.lock().unwrap_or_else(PoisonError::into_inner);
        let new = partitions.iter().copied().filter(|partition| !carries.contains(partition)).collect();
        *carries = partitions.iter().copied().collect();
        new
    }
}

impl Life {
    /// Gives the connections up: nothing more is sent over them, and others are made.
    pub(crate) fn end(&self) {
        if !self.retire() {
            self.finder.notify_one();
        }
    }

    /// Gives the connections up because nothing is there any more. Returns true if they were.
    pub(crate) fn retire(&self) -> bool {
        self.is_over.swap(true, Relaxed)
    }
}

fn refused(error: &redis::RedisError, info: &ConnectionInfo) -> Error {
    let address = info.addr();
    if error.kind() == redis::ErrorKind::AuthenticationFailed
        || matches!(error.code(), Some("WRONGPASS" | "NOAUTH"))
    {
        let text = format!("Redis at {address} refuses the user or password: {error}");
        return Error::failed_precondition(text);
    }
    let reason = if error.is_timeout() { "no answer in time".to_owned() } else { error.to_string() };
    Error::unavailable(format!("no connection to Redis at {address}: {reason}"))
}
