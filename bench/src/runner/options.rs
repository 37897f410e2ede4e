//! The command line.

use super::{
    cases::{self, Case},
    servers::{self, Server},
};
use bench::Outcome;
use std::{path::PathBuf, str::FromStr};

pub(crate) const USAGE: &str = "\
Usage: cargo run --release -p bench -- [OPTIONS]

  --cases P,…      only the cases with one of these prefixes
  --servers S,…    only these servers
  --short          only the headline cases
  --rounds N       the turns of each server at a case (3)
  --time S         the measured time of a turn (2; stalled: 15, and 60 with 10 000)
  --rate N         messages a second in stalled (by default found: 60 % of the server's core when all read)
  --nice N         the priority of the server and the load, if permitted (-10)
  --json FILE      appends every turn as a line of JSON
  --report FILE    writes the tables as Markdown, with the machine and the command
  --chart FILE     writes the headlines as an SVG chart
  --list           prints the names of cases and servers
  --help           prints this";

#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) cases: Vec<Case>,
    pub(crate) servers: Vec<Server>,
    pub(crate) rounds: usize,
    pub(crate) time: Option<f64>,
    pub(crate) rate: Option<f64>,
    pub(crate) nice: i32,
    pub(crate) json: Option<PathBuf>,
    pub(crate) report: Option<PathBuf>,
    pub(crate) chart: Option<PathBuf>,
    pub(crate) list: bool,
}

impl Options {
    /// Parses the arguments. Returns `None` if they ask for help.
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Outcome<Option<Self>> {
        let mut options = Self::default();
        while let Some(name) = words.next() {
            if ["--help", "-h"].contains(&name.as_str()) {
                return Ok(None);
            }
            options.set(&name, &mut words)?;
        }
        if options.cases.is_empty() || options.servers.is_empty() || options.rounds == 0 {
            return Err("nothing is left to measure; --list has the names".into());
        }
        Ok(Some(options))
    }

    fn set(&mut self, name: &str, words: &mut impl Iterator<Item = String>) -> Outcome {
        let mut value = || words.next().ok_or_else(|| format!("{name} takes a value\n\n{USAGE}"));
        match name {
            "--list" => self.list = true,
            "--short" => self.cases.retain(|case| case.headline),
            "--cases" => {
                let prefixes = value()?;
                self.cases.retain(|case| prefixes.split(',').any(|prefix| case.name.starts_with(prefix)));
            }
            "--servers" => self.servers = value()?.split(',').map(server).collect::<Outcome<_>>()?,
            "--rounds" => self.rounds = number(&value()?)?,
            "--time" => self.time = Some(number(&value()?)?),
            "--rate" => self.rate = Some(number(&value()?)?),
            "--nice" => self.nice = number(&value()?)?,
            "--json" => self.json = Some(value()?.into()),
            "--report" => self.report = Some(value()?.into()),
            "--chart" => self.chart = Some(value()?.into()),
            _ => return Err(format!("there is no option {name}\n\n{USAGE}").into()),
        }
        Ok(())
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cases: cases::all(),
            servers: servers::ALL.into(),
            rounds: 3,
            time: None,
            rate: None,
            nice: -10,
            json: None,
            report: None,
            chart: None,
            list: false,
        }
    }
}

fn server(name: &str) -> Outcome<Server> {
    let known = servers::ALL.into_iter().find(|server| server.name == name);
    known.ok_or_else(|| format!("there is no server {name}; --list has the names").into())
}

fn number<T: FromStr>(text: &str) -> Outcome<T> {
    text.parse().map_err(|_| format!("{text:?} is not a number\n\n{USAGE}").into())
}
