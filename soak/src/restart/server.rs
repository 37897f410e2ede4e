use super::{
    FEEDS,
    reader::{CHANGES, STATE},
};
use crate::Outcome;
use realtime_client::Procedure;
use realtime_core::{Call, Config, Endpoint, Feed, Log, Realtime, Result, Topic};
use serde::{Deserialize, Serialize};
use std::{
    array, env,
    io::{self, BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
    sync::Arc,
};
use tokio::{net::TcpListener, sync::Mutex};

/// The number of an entry, or of all entries so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Change {
    Whole(u64),
    Next(u64),
}

/// Appends an entry to a feed.
pub(crate) const ADD: Procedure<usize, ()> = Procedure::new("add");

fn feed(number: usize) -> Feed<Change> {
    Topic::new(format!("feed {number}")).log(Log::last(10_000))
}

/// The number of entries of each feed.
type Counts = Arc<[Mutex<u64>; FEEDS]>;

/// Serves on a port until it is killed, or the runner is gone. Says which port, if it is given 0.
pub(crate) fn serve(port: u16) -> Outcome {
    crate::process::raise_file_limit()?;
    let counts: Counts = Arc::new(array::from_fn(|_| Mutex::new(0)));
    let endpoint = Endpoint::new(counts)
        .feed(CHANGES, |_, number: usize| async move { Ok(feed(number % FEEDS).follow()) })
        .feed(STATE, |call: Call<Counts>, number: usize| async move {
            let whole = move || async move { Ok(Change::Whole(*call.state()[number % FEEDS].lock().await)) };
            Ok(feed(number % FEEDS).follow().or_begin_with(whole))
        })
        .procedure(ADD, add);
    let mut config = Config::default();
    config.connections_per_peer = config.connections;
    let realtime = Realtime::builder().config(config).endpoint("feeds", endpoint).build();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", port)))?;
    println!("{}", listener.local_addr()?.port());
    io::stdout().flush()?;
    std::thread::spawn(|| {
        // The runner is gone.
        let _ = io::stdin().lock().lines().count();
        std::process::exit(0);
    });
    let served = adapter_hyper::serve(listener, adapter_hyper::routes(&realtime), &realtime);
    Ok(runtime.block_on(async { served.await })?)
}

async fn add(call: Call<Counts>, number: usize) -> Result {
    let mut count = call.state()[number % FEEDS].lock().await;
    *count += 1;
    call.append(&feed(number % FEEDS), &Change::Next(*count)).await?;
    Ok(())
}

/// The server's process.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
}

impl Server {
    pub(crate) fn start(port: u16) -> Outcome<Self> {
        let mut command = Command::new(env::current_exe()?);
        command.args(["serve-feeds", &port.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut line)?;
        Ok(Self { child, port: line.trim().parse()? })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it, as a crash or the system would.
    pub(crate) fn kill(mut self) -> Outcome {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}
