use super::line::{self, Fault};
use crate::Outcome;
use std::{
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{net::TcpListener, sync::watch, task::AbortHandle};

/// A proxy on a port of its own, which passes each connection to one of several servers, at random, and makes the faults of a
/// network.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) port: u16,
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    servers: Vec<u16>,
    passing: Vec<Passing>,
    /// The fault of now, and the chance by which a connection has it.
    fault: Option<(Fault, f64)>,
    random: fastrand::Rng,
}

/// A connection.
struct Passing {
    fault: watch::Sender<Option<Fault>>,
    task: AbortHandle,
}

impl Door {
    pub(crate) async fn open(servers: Vec<u16>, seed: u64) -> Outcome<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let random = fastrand::Rng::with_seed(seed);
        let inner = Arc::new(Mutex::new(Inner { servers, passing: Vec::new(), fault: None, random }));
        let door = Self { port: listener.local_addr()?.port(), inner };
        let this = door.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                this.lock().pass(client);
            }
        });
        Ok(door)
    }

    /// Cuts each connection by this chance. Returns their number.
    pub(crate) fn cut(&self, chance: f64) -> u64 {
        let mut inner = self.lock();
        let Inner { passing, random, .. } = &mut *inner;
        passing.retain(|connection| !connection.task.is_finished());
        let cut: Vec<_> = passing.iter().filter(|_| random.f64() < chance).collect();
        cut.iter().for_each(|connection| connection.task.abort());
        cut.len() as u64
    }

    /// Gives each connection a fault by this chance, also those that are made from now on.
    pub(crate) fn trouble(&self, fault: Fault, chance: f64) {
        let mut inner = self.lock();
        let Inner { passing, random, .. } = &mut *inner;
        passing.retain(|connection| !connection.task.is_finished());
        for connection in passing.iter().filter(|_| random.f64() < chance) {
            connection.fault.send_replace(Some(fault));
        }
        inner.fault = Some((fault, chance));
    }

    /// Ends the fault. Connections that have lost bytes stay as they are.
    pub(crate) fn heal(&self) {
        let mut inner = self.lock();
        inner.fault = None;
        for connection in &inner.passing {
            connection.fault.send_replace(None);
        }
    }

    /// Passes connections to another server from now on, and cuts those to the one before.
    pub(crate) fn lead_to(&self, server: u16) {
        self.lock().servers = vec![server];
        self.cut(1.0);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn pass(&mut self, client: tokio::net::TcpStream) {
        let mut servers = self.servers.clone();
        self.random.shuffle(&mut servers);
        let random = self.random.fork();
        let fault = self.fault.filter(|(_, chance)| self.random.f64() < *chance).map(|(fault, _)| fault);
        let (sender, fault) = watch::channel(fault);
        let task = tokio::spawn(line::pass(client, servers, fault, random)).abort_handle();
        self.passing.push(Passing { fault: sender, task });
    }
}
