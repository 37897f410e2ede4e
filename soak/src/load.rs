//! One run: a server, its clients, and what has become of them.

use crate::{
    Options, Outcome,
    client::{Client, Kind, Phase, Tally},
    figures::Figures,
    process,
    server::Report,
};
use std::{
    env,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};
use tokio::{
    runtime::Builder,
    sync::watch,
    task::{JoinSet, spawn_blocking},
    time::sleep,
};

/// Deliveries of the news in a second, to all clients together: what one core serves with ease.
const DELIVERIES: usize = 25_000;

/// The time that all clients have to leave.
const LEAVING: Duration = Duration::from_secs(20);

pub(crate) fn run(options: &Options, stalls: bool) -> Outcome<Figures> {
    Builder::new_current_thread().enable_all().build()?.block_on(measure(options, stalls))
}

async fn measure(options: &Options, stalls: bool) -> Outcome<Figures> {
    let mut server = Server::start(options)?;
    let port = server.report.port;
    let (phases, phase) = watch::channel(Phase::Load);
    let mut clients = JoinSet::new();
    for number in 0..options.clients {
        let kind = match number % 4 {
            0 | 2 => Kind::Healthy,
            1 => Kind::Ticking,
            _ => Kind::Own,
        };
        let client = Client::connect(([127, 0, 0, 1], port).into(), kind).await?;
        let (stalls, phase) = (stalls && kind != Kind::Healthy, phase.clone());
        clients.spawn(async move { (kind, client.run(stalls, phase).await) });
    }
    sleep(Duration::from_secs(1)).await;
    let mut figures = Figures { idle: process::resident(server.child.id())?, ..Figures::default() };
    let rate = DELIVERIES as f64 * 2.0 / options.clients as f64;
    server = server.ask(format!("load {} {rate}", options.seconds)).await?;
    let Report { news, ticks, own, .. } = server.report;
    phases.send_replace(Phase::Over { news, ticks, own });

    let mut latencies = Vec::new();
    while let Some(ended) = clients.join_next().await {
        let (kind, tally) = ended?;
        add(&mut figures, kind, &tally?, &mut latencies);
    }
    figures.peak = process::peak(server.child.id())?;
    let leaving = Instant::now();
    loop {
        server = server.ask("report".to_owned()).await?;
        // A client that has left gives back its memory at its driver's next turn.
        let have_left = server.report.connections == 0 && server.report.used == 0;
        if have_left || leaving.elapsed() > LEAVING {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    figures.given_back = server.report.given_back;
    let Report { most_used, used, closed, dropped, .. } = server.report;
    (figures.most_used, figures.left, figures.closed, figures.dropped) = (most_used, used, closed, dropped);
    latencies.sort_unstable();
    let quantile = |part: usize| latencies.get(latencies.len() * part / 100).map_or(0, |us| u64::from(*us));
    (figures.p50_us, figures.p99_us, figures.deliveries) = (quantile(50), quantile(99), latencies.len());
    server.stop();
    Ok(figures)
}

fn add(figures: &mut Figures, kind: Kind, tally: &Tally, latencies: &mut Vec<u32>) {
    latencies.extend_from_slice(&tally.latencies_us);
    figures.told_closed += u64::from(tally.close == Some(1013));
    let is_whole = tally.received + tally.missed == tally.wanted;
    if kind == Kind::Healthy {
        figures.lost_healthy += usize::from(tally.close.is_some());
        figures.unpinged += usize::from(tally.pings == 0);
        figures.missing += tally.wanted - tally.received.min(tally.wanted);
    } else {
        figures.unaccounted += usize::from(kind == Kind::Ticking && tally.close.is_none() && !is_whole);
        if kind == Kind::Own && tally.close.is_none() {
            figures.own_missing += tally.wanted - tally.received.min(tally.wanted);
        }
    }
}

/// The server's process.
struct Server {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    report: Report,
}

impl Server {
    fn start(options: &Options) -> Outcome<Self> {
        let mut command = Command::new(env::current_exe()?);
        let mut child = command
            .args(["serve", &options.budget.to_string(), &options.outbox().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take().ok_or("no input")?;
        let output = BufReader::new(child.stdout.take().ok_or("no output")?);
        let mut server = Self { child, input, output, report: Report::default() };
        server.receive()?;
        Ok(server)
    }

    /// Sends a command and waits for the answer, while the clients go on.
    async fn ask(mut self, command: String) -> Outcome<Self> {
        spawn_blocking(move || {
            writeln!(self.input, "{command}")?;
            self.receive()?;
            Ok(self)
        })
        .await?
    }

    fn receive(&mut self) -> Outcome {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        self.report = serde_json::from_str(&line)?;
        Ok(())
    }

    fn stop(mut self) {
        drop(self.input);
        // It ends when its input does.
        let _ = self.child.wait();
    }
}
