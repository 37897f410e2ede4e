//! The runner: build, start, measure in turns, write.

mod cases;
mod chart;
mod children;
mod numbers;
mod options;
mod report;
mod servers;
mod tables;

use bench::{OUTBOX, Outcome};
use cases::Case;
use children::{Program, Running};
use numbers::{Measured, Sample};
use options::Options;
use serde_json::json;
use servers::Server;
use std::{
    fs::File,
    io::{IsTerminal, Write},
    thread::sleep,
    time::{Duration, SystemTime},
};

pub(crate) fn run(words: impl Iterator<Item = String>) -> Outcome {
    let Some(options) = Options::parse(words)? else {
        println!("{}", options::USAGE);
        return Ok(());
    };
    if options.list {
        options.cases.iter().for_each(|case| println!("{:<32}{}", case.name, case.title()));
        println!();
        options.servers.iter().for_each(|server| println!("{}", server.name));
        return Ok(());
    }
    children::build()?;
    let report = measure(&options)?;
    if let Some(path) = &options.report {
        std::fs::write(path, report::page(&report)?)?;
    }
    if let Some(path) = &options.chart {
        std::fs::write(path, chart::svg(&report)?)?;
    }
    Ok(())
}

fn measure(options: &Options) -> Outcome<Vec<Measured>> {
    let mut bench = Bench::start(options)?;
    let mut report = Vec::new();
    for cases in options.cases.chunk_by(Case::is_beside) {
        let measured = bench.measure(cases)?;
        println!("{}", tables::table(&measured));
        report.extend(measured);
    }
    Ok(report)
}

struct Bench<'a> {
    options: &'a Options,
    /// The servers, each with its process if one runs all cases.
    servers: Vec<(Server, Option<Running>)>,
    json: Option<File>,
    /// The rates found, by server and number of connections.
    rates: Vec<((&'static str, usize), f64)>,
}

/// The time for a new process to finish its start.
const SETTLING: Duration = Duration::from_millis(500);
/// The time between two measurements, for the first one's sockets to close.
const PAUSE: Duration = Duration::from_millis(200);

impl<'a> Bench<'a> {
    fn start(options: &'a Options) -> Outcome<Self> {
        let mut servers = Vec::new();
        for &server in &options.servers {
            let needed = options.cases.iter().any(|case| server.takes_part(case) && !case.wants_new_server());
            let running = if needed { Some(start(server, &[], options)?) } else { None };
            servers.push((server, running));
        }
        let json = options.json.as_ref();
        let json = json.map(|path| File::options().create(true).append(true).open(path)).transpose()?;
        sleep(SETTLING);
        Ok(Self { options, servers, json, rates: Vec::new() })
    }

    /// Runs every case and server in turn, once for each round, so that a busy moment of the machine affects all.
    fn measure(&mut self, cases: &[Case]) -> Outcome<Vec<Measured>> {
        let mut measured: Vec<_> = cases.iter().cloned().map(Measured::new).collect();
        for round in 0..self.options.rounds {
            for measured in &mut measured {
                self.round(measured, round)?;
            }
        }
        show("");
        Ok(measured)
    }

    fn round(&mut self, measured: &mut Measured, round: usize) -> Outcome {
        let case = measured.case.clone();
        for index in 0..self.servers.len() {
            let server = self.servers[index].0;
            if !server.takes_part(&case) {
                continue;
            }
            show(&format!("{} {}/{} {}", case.name, round + 1, self.options.rounds, server.name));
            let sample = self.turn(&case, index).map_err(|error| error.to_string());
            if let Some(file) = &mut self.json {
                writeln!(file, "{}", line(&case, server, round, &sample)?)?;
            }
            measured.add(server, sample);
            sleep(PAUSE);
        }
        Ok(())
    }

    fn turn(&mut self, case: &Case, index: usize) -> Outcome<Sample> {
        let server = self.servers[index].0;
        let rate = self.rate(case, server)?;
        match &self.servers[index].1 {
            Some(running) if !case.wants_new_server() => load(case, server, running, self.options, rate),
            _ => load_new(case, server, self.options, rate),
        }
    }

    /// Returns the messages per second, if the case has a rate: with all members reading, the server and the load must
    /// have time left, so that no queue is measured.
    fn rate(&mut self, case: &Case, server: Server) -> Outcome<Option<f64>> {
        let Some(connections) = case.paced() else {
            return Ok(None);
        };
        if self.options.rate.is_some() {
            return Ok(self.options.rate);
        }
        let known = self.rates.iter().find(|(key, _)| *key == (server.name, connections));
        if let Some((_, rate)) = known {
            return Ok(Some(*rate));
        }
        let rate = find_rate(connections, server, self.options)?;
        self.rates.push(((server.name, connections), rate));
        Ok(Some(rate))
    }
}

/// Starts far below any server's limit and approaches it: at a higher rate a message costs less.
fn find_rate(connections: usize, server: Server, options: &Options) -> Outcome<f64> {
    let mut rate = FIRST_DELIVERIES / connections as f64;
    let case = Case::probe(connections);
    let probed = Options { time: Some(PROBE), ..options.clone() };
    for _ in 0..PROBES {
        let sample = load_new(&case, server, &probed, Some(rate))?;
        let share = |name: &str| sample.get(name).copied().unwrap_or(1.0).max(0.01);
        rate *= (SERVER_SHARE / share("server_share")).min(MOST_OF_LOAD / share("load_share"));
        rate = rate.max(1.0);
    }
    // As many digits as are significant.
    Ok(if rate < 20.0 { (rate * 10.0).floor() / 10.0 } else { rate.floor() })
}

const FIRST_DELIVERIES: f64 = 50_000.0;
const PROBES: usize = 3;
/// The time of a probe, in seconds.
const PROBE: f64 = 4.0;
const SERVER_SHARE: f64 = 0.6;
const MOST_OF_LOAD: f64 = 0.75;

/// Shows the current measurement on the last line of the terminal.
fn show(progress: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{progress}");
    }
}

/// The servers use the first core, the load the second.
const SERVER_CORE: usize = 0;
const LOAD_CORE: usize = 1;

fn start(server: Server, variables: &[(&str, &str)], options: &Options) -> Outcome<Running> {
    let mut program = Program::new(server.program, SERVER_CORE, options.nice)?;
    for (name, value) in server.variables.iter().chain(variables) {
        program.variable(name, value);
    }
    program.start()
}

/// Runs the load against a new process.
fn load_new(case: &Case, server: Server, options: &Options, rate: Option<f64>) -> Outcome<Sample> {
    let outbox = rate.map(|rate| case.outbox(rate, options.time).to_string());
    let mut variables = case.variables().to_vec();
    variables.extend(outbox.as_deref().map(|outbox| (OUTBOX, outbox)));
    let running = start(server, &variables, options)?;
    sleep(SETTLING);
    load(case, server, &running, options, rate)
}

fn load(case: &Case, server: Server, running: &Running, options: &Options, rate: Option<f64>) -> Outcome<Sample> {
    let mut program = Program::new("load", LOAD_CORE, options.nice)?;
    program.words(case.words(options.time));
    program.words(["--port".into(), running.port.to_string(), "--pid".into(), running.pid().to_string()]);
    program.words(server.dialect.words(case));
    if let Some(rate) = rate {
        let outbox = case.outbox(rate, options.time);
        program.words(["--rate".into(), rate.to_string(), "--outbox".into(), outbox.to_string()]);
    }
    Ok(serde_json::from_str(&program.output()?)?)
}

fn line(case: &Case, server: Server, round: usize, sample: &Result<Sample, String>) -> Outcome<String> {
    let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let (sample, error) = (sample.as_ref().ok(), sample.as_ref().err());
    let line = json!({
        "at": at, "case": case.name, "server": server.name, "round": round, "sample": sample, "error": error,
    });
    Ok(line.to_string())
}
