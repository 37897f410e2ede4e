//! What is measured.

use std::time::Duration;

#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// Bytes of the text in a message.
    pub(crate) size: usize,
    /// Whether it is among those of `--short`.
    pub(crate) headline: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Echo { connections: usize, outstanding: usize },
    Typed { connections: usize, outstanding: usize },
    Fanout { members: usize, outstanding: usize },
    Idle { connections: usize },
    Heartbeat { connections: usize },
    Churn { connections: usize },
}

/// Those that the short run and the chart show.
pub(crate) const ECHO: &str = "echo-c64-p1-s64";
pub(crate) const FANOUT: &str = "fanout-n1000-w8-s64";
pub(crate) const IDLE: &str = "idle-n10000";
const HEADLINES: [&str; 8] = [
    ECHO,
    "echo-c64-p16-s64",
    "echo-c1000-p1-s64",
    "typed-c64-p1-s64",
    "fanout-n1000-w1-s64",
    FANOUT,
    IDLE,
    "churn-c64",
];

/// In the order in which they are run. What shows how it scales has a place of its own.
pub(crate) fn all() -> Vec<Case> {
    [echo(), typed(), fanout(), scaling(), idle(), churn()].concat()
}

fn echo() -> Vec<Case> {
    let mut cases = Vec::new();
    for connections in [1, 64, 1000] {
        for outstanding in [1, 16] {
            for size in [64, 1024] {
                cases.push(Case::new(Kind::Echo { connections, outstanding }, size));
            }
        }
    }
    cases
}

fn typed() -> Vec<Case> {
    [1, 16].map(|outstanding| Case::new(Kind::Typed { connections: 64, outstanding }, 64)).into()
}

fn fanout() -> Vec<Case> {
    let mut cases = Vec::new();
    for members in [100, 1000, 5000] {
        for outstanding in [1, 8] {
            for size in [64, 512] {
                cases.push(Case::new(Kind::Fanout { members, outstanding }, size));
            }
        }
    }
    cases
}

fn scaling() -> Vec<Case> {
    vec![Case::new(Kind::Fanout { members: 10_000, outstanding: 8 }, 64)]
}

fn idle() -> Vec<Case> {
    let connections = 10_000;
    vec![Case::new(Kind::Idle { connections }, 64), Case::new(Kind::Heartbeat { connections }, 64)]
}

fn churn() -> Vec<Case> {
    vec![Case::new(Kind::Churn { connections: 64 }, 64)]
}

impl Case {
    fn new(kind: Kind, size: usize) -> Self {
        let name = kind.name(size);
        let headline = HEADLINES.contains(&name.as_str());
        Self { name, kind, size, headline }
    }

    /// What is asked of the load.
    pub(crate) fn words(&self, time: f64) -> Vec<String> {
        let (mode, connections, outstanding) = match self.kind {
            Kind::Echo { connections, outstanding } | Kind::Typed { connections, outstanding } => {
                ("echo", connections, outstanding)
            }
            Kind::Fanout { members, outstanding } => ("fanout", members, outstanding),
            Kind::Idle { connections } | Kind::Heartbeat { connections } => ("idle", connections, 1),
            Kind::Churn { connections } => ("churn", connections, 1),
        };
        let time = match self.kind {
            Kind::Heartbeat { .. } => HEARTBEAT.as_secs_f64(),
            _ => time,
        };
        let numbers = [
            ("--connections", connections.to_string()),
            ("--outstanding", outstanding.to_string()),
            ("--size", self.size.to_string()),
            ("--time", time.to_string()),
        ];
        let numbers = numbers.into_iter().flat_map(|(name, value)| [name.to_owned(), value]);
        [mode.to_owned()].into_iter().chain(numbers).collect()
    }

    /// Memory is that of a process which has done nothing else before.
    pub(crate) fn wants_new_server(&self) -> bool {
        matches!(self.kind, Kind::Idle { .. } | Kind::Heartbeat { .. })
    }

    /// The server to which the others are compared.
    pub(crate) fn baseline(&self) -> &'static str {
        match self.kind {
            Kind::Typed { .. } => "raw-axum",
            _ => "limit",
        }
    }

    /// The name, in words.
    pub(crate) fn title(&self) -> String {
        let size = self.size;
        let way = |outstanding| match outstanding {
            1 => "1 message".to_owned(),
            more => format!("{more} messages"),
        };
        match self.kind {
            Kind::Echo { connections, outstanding } => {
                format!("Echo: {connections} × {} under way, {size} bytes", way(outstanding))
            }
            Kind::Typed { connections, outstanding } => {
                format!("Typed echo, JSON: {connections} × {} under way, {size} bytes", way(outstanding))
            }
            Kind::Fanout { members, outstanding } => {
                format!("Fan-out: {members} members, {} under way, {size} bytes", way(outstanding))
            }
            Kind::Idle { connections } => format!("Memory: {connections} connections after one message each"),
            Kind::Heartbeat { connections } => {
                format!("At rest: {connections} connections for {} s, heartbeats on", HEARTBEAT.as_secs())
            }
            Kind::Churn { connections } => {
                format!("Coming and going: connect, one echo, close, {connections} at a time")
            }
        }
    }
}

/// Longer than the interval of the heartbeats, 25 s in all servers that have them.
const HEARTBEAT: Duration = Duration::from_secs(30);

impl Kind {
    fn name(self, size: usize) -> String {
        match self {
            Self::Echo { connections, outstanding } => format!("echo-c{connections}-p{outstanding}-s{size}"),
            Self::Typed { connections, outstanding } => format!("typed-c{connections}-p{outstanding}-s{size}"),
            Self::Fanout { members, outstanding } => format!("fanout-n{members}-w{outstanding}-s{size}"),
            Self::Idle { connections } => format!("idle-n{connections}"),
            Self::Heartbeat { connections } => format!("heartbeat-n{connections}"),
            Self::Churn { connections } => format!("churn-c{connections}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_headline_is_a_case() {
        let headlines = all().into_iter().filter(|case| case.headline).count();
        assert_eq!(headlines, HEADLINES.len());
    }
}
