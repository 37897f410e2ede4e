//! The command line.

use crate::quiet::Greed;
use bench::Outcome;
use std::{str::FromStr, time::Duration};

pub(crate) const USAGE: &str = "\
Usage: load MODE --port PORT [OPTIONS]

  echo     every connection keeps messages under way: messages a second, round trips
  fanout   every connection is a member, and the first one publishes: deliveries a second
  churn    connect, one echo, close, again: connections a second
  subscribed  one connection has subscriptions, and makes one call after the other: round trips
  idle     connections that have sent one message each: the server's memory, and its CPU at rest
  stalled  as fanout, at a given rate, and some stop reading: the server's memory, the others' latency
  quiet    one client's round trips beside greedy clients

  --port N           the server, on 127.0.0.1
  --pid N            the server's process, whose CPU and memory are read
  --connections N    the number of connections (64)
  --outstanding N    messages under way: for each connection in echo, in total in fanout (1)
  --size N           bytes of {TEXT}, at least 16 (64)
  --time S           the measured time (2)
  --warmup S         the time before it (0.5)
  --path P           the path of the WebSocket (/echo)
  --subprotocol P    offered in the handshake
  --hello T          a message to send first
  --replies N        messages to receive before a connection counts as open (0)
  --message T        the message ({TEXT}); may contain {TEXT}, and {ID}, ten increasing digits
  --prefix P         only messages with this prefix are replies
  --by-id            in echo, matches replies by their {ID} rather than their order
  --subscriptions N  in subscribed, the number of subscriptions (1000)
  --ticks            saturates one of them
  --credit N         the credit of that one; unlimited by default
  --spread S         opens the connections over this time (0); in idle, they then send nothing
  --beside N         in echo, the number of additional, silent connections (0)
  --beside-path P    the path of these (/echo); {INDEX} in any path is replaced by the connection's number
  --beside-replies N messages that these receive before they count as open (0)
  --stalled N        the number of connections that stop reading (0)
  --rate N           messages a second in stalled, each to all (10)
  --outbox N         bytes of the server's outbox for one client, for the expected memory
  --control P        the path at which this project's servers report slow consumers, and close all
  --greed NAME       the load of the others in quiet: nobody, echo-1k, echo-64k, echo-16-clients, calls-250k,
                     subscribing, streams-1024, msgpack-calls or deflate-16m (nobody)
  --api P            the path of their calls and subscriptions (/__realtime/api)
  --engine-io        answers 2 with 3, the heartbeat of Engine.IO";

#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) mode: Mode,
    pub(crate) port: u16,
    pub(crate) pid: u32,
    pub(crate) connections: usize,
    pub(crate) outstanding: usize,
    pub(crate) size: usize,
    pub(crate) time: Duration,
    pub(crate) warmup: Duration,
    pub(crate) path: String,
    pub(crate) subprotocol: Option<String>,
    pub(crate) hello: Option<String>,
    pub(crate) replies: usize,
    pub(crate) message: String,
    pub(crate) prefix: String,
    pub(crate) engine_io: bool,
    pub(crate) by_id: bool,
    pub(crate) subscriptions: usize,
    pub(crate) ticks: bool,
    pub(crate) credit: Option<usize>,
    pub(crate) spread: Duration,
    pub(crate) beside: usize,
    pub(crate) beside_path: String,
    pub(crate) beside_replies: usize,
    pub(crate) stalled: usize,
    pub(crate) rate: f64,
    pub(crate) outbox: usize,
    pub(crate) control: String,
    pub(crate) greed: Greed,
    pub(crate) api: String,
    /// True if the client replies to the server's close frames; otherwise they are only counted.
    pub(crate) answer_close: bool,
}

#[derive(Clone, Copy)]
pub(crate) enum Mode {
    Echo,
    Fanout,
    Subscribed,
    Churn,
    Idle,
    Stalled,
    Quiet,
}

impl Options {
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Outcome<Self> {
        let mut options = Self::of_mode(mode(words.next().as_deref())?);
        while let Some(name) = words.next() {
            options.set(&name, &mut words)?;
        }
        options.checked()
    }

    fn of_mode(mode: Mode) -> Self {
        Self {
            mode,
            port: 0,
            pid: 0,
            connections: 64,
            outstanding: 1,
            size: 64,
            time: Duration::from_secs(2),
            warmup: Duration::from_millis(500),
            path: "/echo".into(),
            subprotocol: None,
            hello: None,
            replies: 0,
            message: "{TEXT}".into(),
            prefix: String::new(),
            engine_io: false,
            by_id: false,
            subscriptions: 1000,
            ticks: false,
            credit: None,
            spread: Duration::ZERO,
            beside: 0,
            beside_path: "/echo".into(),
            beside_replies: 0,
            stalled: 0,
            rate: 10.0,
            outbox: 1024 * 1024,
            control: "/__realtime/control".into(),
            greed: Greed::Nobody,
            api: "/__realtime/api".into(),
            answer_close: matches!(mode, Mode::Stalled),
        }
    }

    fn set(&mut self, name: &str, words: &mut impl Iterator<Item = String>) -> Outcome {
        let flag = match name {
            "--engine-io" => Some(&mut self.engine_io),
            "--by-id" => Some(&mut self.by_id),
            "--ticks" => Some(&mut self.ticks),
            _ => None,
        };
        if let Some(flag) = flag {
            *flag = true;
            return Ok(());
        }
        let value = words.next().ok_or_else(|| format!("{name} takes a value\n\n{USAGE}"))?;
        match name {
            "--port" => self.port = number(&value)?,
            "--pid" => self.pid = number(&value)?,
            "--connections" => self.connections = number(&value)?,
            "--outstanding" => self.outstanding = number(&value)?,
            "--size" => self.size = number(&value)?,
            "--time" => self.time = Duration::try_from_secs_f64(number(&value)?)?,
            "--warmup" => self.warmup = Duration::try_from_secs_f64(number(&value)?)?,
            "--path" => self.path = value,
            "--subprotocol" => self.subprotocol = Some(value),
            "--hello" => self.hello = Some(value),
            "--replies" => self.replies = number(&value)?,
            "--message" => self.message = value,
            "--spread" => self.spread = Duration::try_from_secs_f64(number(&value)?)?,
            "--subscriptions" => self.subscriptions = number(&value)?,
            "--credit" => self.credit = Some(number(&value)?),
            "--beside" => self.beside = number(&value)?,
            "--beside-path" => self.beside_path = value,
            "--beside-replies" => self.beside_replies = number(&value)?,
            "--stalled" => self.stalled = number(&value)?,
            "--rate" => self.rate = number(&value)?,
            "--outbox" => self.outbox = number(&value)?,
            "--control" => self.control = value,
            "--greed" => self.greed = value.parse()?,
            "--api" => self.api = value,
            "--prefix" => self.prefix = value,
            _ => return Err(format!("there is no option {name}\n\n{USAGE}").into()),
        }
        Ok(())
    }

    /// Checks all bounds, so that an excessive load is refused.
    fn checked(self) -> Outcome<Self> {
        let bounds = [
            ("--port", usize::from(self.port), 1, 65_535),
            ("--connections", self.connections, 1, 100_000),
            ("--outstanding", self.outstanding, 1, 1024),
            ("--size", self.size, 16, 1024 * 1024),
            ("--time", self.time.as_secs() as usize, 0, 600),
            ("--warmup", self.warmup.as_secs() as usize, 0, 60),
            ("--spread", self.spread.as_secs() as usize, 0, 60),
            ("--subscriptions", self.subscriptions, 1, 1024),
            // Credit is granted by halves.
            ("--credit", self.credit.unwrap_or(2), 2, 100_000),
            ("--beside", self.beside, 0, 100_000),
            // The first one publishes.
            ("--stalled", self.stalled, 0, self.connections.saturating_sub(1)),
            ("--rate", self.rate.ceil() as usize, 1, 10_000),
        ];
        for (name, value, least, most) in bounds {
            if !(least..=most).contains(&value) {
                return Err(format!("{name} is from {least} to {most}, not {value}\n\n{USAGE}").into());
            }
        }
        Ok(self)
    }
}

fn mode(word: Option<&str>) -> Outcome<Mode> {
    match word {
        Some("echo") => Ok(Mode::Echo),
        Some("fanout") => Ok(Mode::Fanout),
        Some("subscribed") => Ok(Mode::Subscribed),
        Some("churn") => Ok(Mode::Churn),
        Some("idle") => Ok(Mode::Idle),
        Some("stalled") => Ok(Mode::Stalled),
        Some("quiet") => Ok(Mode::Quiet),
        _ => Err(USAGE.into()),
    }
}

fn number<T: FromStr>(text: &str) -> Outcome<T> {
    text.parse().map_err(|_| format!("{text:?} is not a number\n\n{USAGE}").into())
}
