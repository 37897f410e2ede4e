use crate::Outcome;
use std::{
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};

/// A proxy on a port of its own, which passes each connection to one of several servers, at random.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) port: u16,
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    servers: Vec<u16>,
    passing: Vec<AbortHandle>,
    random: fastrand::Rng,
}

impl Door {
    pub(crate) async fn open(servers: Vec<u16>, seed: u64) -> Outcome<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let random = fastrand::Rng::with_seed(seed);
        let inner = Arc::new(Mutex::new(Inner { servers, passing: Vec::new(), random }));
        let door = Self { port: listener.local_addr()?.port(), inner };
        let this = door.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let servers = this.shuffled();
                this.lock().passing.push(tokio::spawn(pass(client, servers)).abort_handle());
            }
        });
        Ok(door)
    }

    /// Cuts each connection by this chance. Returns their number.
    pub(crate) fn cut(&self, chance: f64) -> u64 {
        let mut inner = self.lock();
        let Inner { passing, random, .. } = &mut *inner;
        passing.retain(|connection| !connection.is_finished());
        let cut: Vec<_> = passing.iter().filter(|_| random.f64() < chance).collect();
        cut.iter().for_each(|connection| connection.abort());
        cut.len() as u64
    }

    /// Passes connections to another server from now on, and cuts those to the one before.
    pub(crate) fn lead_to(&self, server: u16) {
        self.lock().servers = vec![server];
        self.cut(1.0);
    }

    fn shuffled(&self) -> Vec<u16> {
        let mut inner = self.lock();
        let mut servers = inner.servers.clone();
        inner.random.shuffle(&mut servers);
        servers
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Passes a connection to the first server that takes it.
async fn pass(mut client: TcpStream, servers: Vec<u16>) {
    for server in servers {
        let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).await else { continue };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let _ = copy_bidirectional(&mut client, &mut server).await;
        return;
    }
}
