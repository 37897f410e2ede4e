//! The order of things: build, start, measure in turns, write.

mod cases;
mod chart;
mod children;
mod numbers;
mod options;
mod report;
mod servers;
mod tables;

use bench::Outcome;
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
        options.cases.iter().for_each(|case| println!("{:<24}{}", case.name, case.title()));
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
    for case in &options.cases {
        let measured = bench.measure(case)?;
        println!("{}", tables::table(&measured));
        report.push(measured);
    }
    Ok(report)
}

struct Bench<'a> {
    options: &'a Options,
    /// Each with its process, where it has one for all cases.
    servers: Vec<(Server, Option<Running>)>,
    json: Option<File>,
}

/// For a new process to have done all that it does before its first client.
const SETTLING: Duration = Duration::from_millis(500);
/// Between two measurements, for the sockets of the first to be closed.
const PAUSE: Duration = Duration::from_millis(200);

impl<'a> Bench<'a> {
    fn start(options: &'a Options) -> Outcome<Self> {
        let mut servers = Vec::new();
        for &server in &options.servers {
            let needed = options.cases.iter().any(|case| server.takes_part(case) && !case.wants_new_server());
            let running = if needed { Some(start(server, options)?) } else { None };
            servers.push((server, running));
        }
        let json = options.json.as_ref();
        let json = json.map(|path| File::options().create(true).append(true).open(path)).transpose()?;
        sleep(SETTLING);
        Ok(Self { options, servers, json })
    }

    /// Every server in turn, as often as there are rounds: a bad moment of the machine hits them all.
    fn measure(&mut self, case: &Case) -> Outcome<Measured> {
        let mut measured = Measured::new(case.clone());
        for round in 0..self.options.rounds {
            for (server, running) in &self.servers {
                if !server.takes_part(case) {
                    continue;
                }
                show(&format!("{} {}/{} {}", case.name, round + 1, self.options.rounds, server.name));
                let sample = match running {
                    Some(running) if !case.wants_new_server() => load(case, *server, running, self.options),
                    _ => {
                        let running = start(*server, self.options)?;
                        sleep(SETTLING);
                        load(case, *server, &running, self.options)
                    }
                };
                let sample = sample.map_err(|error| error.to_string());
                if let Some(file) = &mut self.json {
                    writeln!(file, "{}", line(case, *server, round, &sample)?)?;
                }
                measured.add(*server, sample);
                sleep(PAUSE);
            }
        }
        show("");
        Ok(measured)
    }
}

/// What is being measured, on the last line of the terminal.
fn show(progress: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{progress}");
    }
}

/// The servers are on the first core, the load is on the second.
const SERVER_CORE: usize = 0;
const LOAD_CORE: usize = 1;

fn start(server: Server, options: &Options) -> Outcome<Running> {
    let mut program = Program::new(server.program, SERVER_CORE, options.nice)?;
    for (name, value) in server.variables {
        program.variable(name, value);
    }
    program.start()
}

fn load(case: &Case, server: Server, running: &Running, options: &Options) -> Outcome<Sample> {
    let mut program = Program::new("load", LOAD_CORE, options.nice)?;
    program.words(case.words(options.time));
    program.words(["--port".into(), running.port.to_string(), "--pid".into(), running.pid().to_string()]);
    program.words(server.dialect.words(case));
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
