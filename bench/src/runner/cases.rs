//! The measured cases.

use bench::{MESSAGE, SEND_BUFFER, process::connections_of};
use std::time::Duration;

#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// The length of a message's text in bytes.
    pub(crate) size: usize,
    /// True if `--short` includes the case.
    pub(crate) headline: bool,
    /// The group in which it is compared.
    pub(crate) group: Option<Group>,
}

/// Cases that take turns and share a table, in which each is compared with the first.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) title: String,
    /// The parameter in which they differ.
    pub(crate) by: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Echo {
        connections: usize,
        outstanding: usize,
    },
    Typed {
        connections: usize,
        outstanding: usize,
    },
    /// Like `Typed`, as calls of a procedure.
    Call {
        connections: usize,
        outstanding: usize,
    },
    /// Calls on a connection that has many subscriptions.
    Subscribed {
        subscriptions: usize,
        ticks: Ticks,
    },
    Fanout {
        members: usize,
        outstanding: usize,
    },
    Idle {
        connections: usize,
    },
    Heartbeat {
        connections: usize,
    },
    Churn {
        connections: usize,
    },
    /// Each client in its own room; additionally this many clients with `ROOMS_OF_A_HALL` rooms each, and this many
    /// silent ones.
    Rooms {
        connections: usize,
        halls: usize,
        silent: usize,
    },
    /// One client's echoes, beside greedy clients.
    Quiet {
        greed: &'static str,
        /// True if any server supports the greedy load, not only this library.
        is_echo: bool,
    },
    /// A fan-out at a fixed rate, of whose members some do not read.
    Stalled {
        connections: usize,
        stalled: usize,
    },
}

/// The items of one of many subscriptions; the others are silent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ticks {
    Nothing,
    /// Always more items, as far as credit is granted.
    Granted,
    /// Always more items, as fast as the client reads.
    Unbounded,
}

/// The server with which the others are compared.
pub(crate) const BASELINE: &str = "limit";

/// The cases of the short run and the chart.
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

/// Returns all cases in the order in which they run. Series that show scaling come separately.
pub(crate) fn all() -> Vec<Case> {
    [
        echo(),
        typed(),
        calls(),
        subscribed(),
        fanout(),
        large(),
        scaling(),
        rooms(),
        quiet(),
        idle(),
        churn(),
        stalled(),
    ]
    .concat()
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

fn calls() -> Vec<Case> {
    [1, 16].map(|outstanding| Case::new(Kind::Call { connections: 64, outstanding }, 64)).into()
}

fn subscribed() -> Vec<Case> {
    let subscriptions = 1000;
    let group = Group {
        name: format!("subs-{subscriptions}"),
        title: format!("Calls, one at a time, on a connection with {subscriptions} subscriptions"),
        by: "of which",
    };
    let labels = [
        (Ticks::Nothing, "all-quiet"),
        (Ticks::Granted, "one-ticks-on-credit"),
        (Ticks::Unbounded, "one-ticks-without-credit"),
    ];
    labels.map(|(ticks, label)| Case::new(Kind::Subscribed { subscriptions, ticks }, 64).of(&group, label)).into()
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

fn large() -> Vec<Case> {
    vec![Case::new(Kind::Fanout { members: 10_000, outstanding: 8 }, 64)]
}

fn scaling() -> Vec<Case> {
    let mut cases = Vec::new();
    for outstanding in [1, 8] {
        let group = Group {
            name: format!("scale-w{outstanding}"),
            title: format!("How a fan-out scales: {} under way, 64 bytes", messages(outstanding)),
            by: "members",
        };
        let sizes = [100, 1000, 10_000].map(connections_of);
        cases
            .extend(sizes.map(|members| Case::new(Kind::Fanout { members, outstanding }, 64).of(&group, members)));
    }
    cases
}

/// Messages to a room with one member, the sender: beside more topics, and beside more connections.
fn rooms() -> Vec<Case> {
    let mut cases = Vec::new();
    for connections in [1, 64] {
        let group = |by, other| Group {
            name: format!("rooms-c{connections}-{by}"),
            title: format!("Echo through a topic of one: {connections} × 1 message under way, beside {other}"),
            by,
        };
        let rooms = |halls, silent| Case::new(Kind::Rooms { connections, halls, silent }, 64);
        let topics = group("topics", "other topics");
        cases.extend([0, 4, 400].map(|halls| rooms(halls, 0).of(&topics, halls * ROOMS_OF_A_HALL)));
        let silent = group("connections", "other connections");
        cases.extend([0, connections_of(10_000)].map(|count| rooms(0, count).of(&silent, count)));
    }
    cases
}

fn quiet() -> Vec<Case> {
    let group = Group {
        name: "quiet".into(),
        title: "Echo: 1 × 1 message under way, 64 bytes, beside others that take all that they can get".into(),
        by: "beside",
    };
    let echoes = ["nobody", "echo-1k", "echo-64k", "echo-16-clients"].map(|greed| (greed, true));
    let others =
        ["calls-250k", "subscribing", "streams-1024", "msgpack-calls", INFLATING].map(|greed| (greed, false));
    let all = echoes.into_iter().chain(others);
    all.map(|(greed, is_echo)| Case::new(Kind::Quiet { greed, is_echo }, 64).of(&group, greed)).collect()
}

fn stalled() -> Vec<Case> {
    let mut cases = Vec::new();
    // An even number, for the halves.
    for connections in [1000, connections_of(10_000) / 2 * 2] {
        let group = Group {
            name: format!("stalled-n{connections}"),
            title: format!("Stalled readers: {connections} connections, 1024 bytes to all at a fixed rate"),
            by: "who",
        };
        let stalled = |connections, stalled| Case::new(Kind::Stalled { connections, stalled }, 1024);
        let half = connections / 2;
        cases.push(stalled(connections, 0).of(&group, "all-read"));
        cases.push(stalled(connections, half).of(&group, "half-stalled"));
        cases.push(stalled(half, 0).of(&group, "half-connected"));
    }
    cases
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
        Self { name, kind, size, headline, group: None }
    }

    fn of(self, group: &Group, label: impl ToString) -> Self {
        let name = format!("{}-{}", group.name, label.to_string());
        Self { name, headline: false, group: Some(group.clone()), ..self }
    }

    /// Returns true if both are of one group.
    pub(crate) fn is_beside(&self, other: &Self) -> bool {
        self.group.is_some() && self.group == other.group
    }

    /// Returns the label that distinguishes it within its group.
    pub(crate) fn label(&self) -> &str {
        let group = self.group.as_ref().and_then(|group| self.name.strip_prefix(&group.name));
        group.map_or(&self.name, |label| label.trim_start_matches('-'))
    }

    /// Returns the arguments of the load, with the time if it was set.
    pub(crate) fn words(&self, time: Option<f64>) -> Vec<String> {
        let (mode, connections, outstanding) = match self.kind {
            Kind::Echo { connections, outstanding }
            | Kind::Typed { connections, outstanding }
            | Kind::Call { connections, outstanding } => ("echo", connections, outstanding),
            Kind::Subscribed { .. } => ("subscribed", 1, 1),
            Kind::Fanout { members, outstanding } => ("fanout", members, outstanding),
            Kind::Idle { connections } | Kind::Heartbeat { connections } => ("idle", connections, 1),
            Kind::Churn { connections } => ("churn", connections, 1),
            Kind::Rooms { connections, .. } => ("echo", connections, 1),
            Kind::Quiet { .. } => ("quiet", 1, 1),
            Kind::Stalled { connections, .. } => ("stalled", connections, 1),
        };
        let time = match self.kind {
            // The time must include a whole interval, whatever was set.
            Kind::Heartbeat { .. } => HEARTBEAT.as_secs_f64(),
            // Until the outboxes are full: with fewer clients, each gets more messages.
            Kind::Stalled { .. } => self.stalled_time(time),
            _ => time.unwrap_or(2.0),
        };
        let numbers = [
            ("--connections", connections.to_string()),
            ("--outstanding", outstanding.to_string()),
            ("--size", self.size.to_string()),
            ("--time", time.to_string()),
        ];
        let numbers = numbers.into_iter().flat_map(|(name, value)| [name.to_owned(), value]);
        [mode.to_owned()].into_iter().chain(numbers).chain(self.more_words()).collect()
    }

    fn more_words(&self) -> Vec<String> {
        let words = |words: &[(&str, String)]| {
            let words = words.iter().flat_map(|(name, value)| [(*name).to_owned(), value.clone()]);
            words.collect()
        };
        match self.kind {
            Kind::Heartbeat { .. } => words(&[("--spread", PING_INTERVAL.as_secs().to_string())]),
            Kind::Rooms { halls, silent: 0, .. } => words(&[
                ("--beside", halls.to_string()),
                ("--beside-path", format!("/__realtime/halls?hall={{INDEX}}&rooms={ROOMS_OF_A_HALL}")),
                ("--beside-replies", "1".to_owned()),
            ]),
            Kind::Rooms { silent, .. } => {
                words(&[("--beside", silent.to_string()), ("--beside-path", "/__realtime/echo".to_owned())])
            }
            Kind::Subscribed { subscriptions, ticks } => subscribed_words(subscriptions, ticks),
            Kind::Stalled { stalled, .. } => words(&[("--stalled", stalled.to_string())]),
            Kind::Quiet { greed, .. } => words(&[("--greed", greed.to_owned())]),
            _ => Vec::new(),
        }
    }

    /// Returns the variables of the servers in this case.
    pub(crate) fn variables(&self) -> &'static [(&'static str, &'static str)] {
        match self.kind {
            Kind::Stalled { .. } => &[(SEND_BUFFER, "16384")],
            Kind::Quiet { greed: INFLATING, .. } => &[(MESSAGE, "16777216")],
            _ => &[],
        }
    }

    fn stalled_time(&self, time: Option<f64>) -> f64 {
        let few = self.paced().is_some_and(|connections| connections < 5000);
        time.unwrap_or(if few { 15.0 } else { 60.0 })
    }

    /// Returns the outbox size for a client: the default, or the bytes of a third of the time if that is less. A silent
    /// client is closed after a minute, however full its outbox is.
    pub(crate) fn outbox(&self, rate: f64, time: Option<f64>) -> usize {
        let filled = rate * self.size as f64 * self.stalled_time(time) / 3.0;
        (filled as usize).next_multiple_of(SMALL_OUTBOX).min(OUTBOX_BYTES)
    }

    /// Returns the number of connections, if the case runs at a rate that the server can sustain.
    pub(crate) fn paced(&self) -> Option<usize> {
        let Kind::Stalled { connections, stalled } = self.kind else {
            return None;
        };
        // The half that runs alone has the rate for all.
        let alone = stalled == 0 && self.label() == "half-connected";
        Some(if alone { connections * 2 } else { connections })
    }

    /// Returns the case that finds that rate, with `connections` that all read.
    pub(crate) fn probe(connections: usize) -> Self {
        Self::new(Kind::Stalled { connections, stalled: 0 }, 1024)
    }

    /// Returns true if the case needs a fresh process, as for memory.
    pub(crate) fn wants_new_server(&self) -> bool {
        let kinds = matches!(self.kind, Kind::Idle { .. } | Kind::Heartbeat { .. } | Kind::Stalled { .. });
        // A process that has had many topics may have kept memory for them.
        kinds || matches!(self.kind, Kind::Rooms { .. } | Kind::Quiet { .. })
    }

    /// Returns the title.
    pub(crate) fn title(&self) -> String {
        let size = self.size;
        match self.kind {
            Kind::Echo { connections, outstanding } => {
                format!("Echo: {connections} × {} under way, {size} bytes", messages(outstanding))
            }
            Kind::Typed { connections, outstanding } => {
                format!("Typed echo, JSON: {connections} × {} under way, {size} bytes", messages(outstanding))
            }
            Kind::Call { connections, outstanding } => {
                format!("Calls, typed: {connections} × {} under way, {size} bytes", calls_of(outstanding))
            }
            Kind::Subscribed { subscriptions, ticks } => {
                let ticks = match ticks {
                    Ticks::Nothing => "all silent",
                    Ticks::Granted => "one saturated on credit",
                    Ticks::Unbounded => "one saturated",
                };
                format!("Calls on one connection with {subscriptions} subscriptions, {ticks}")
            }
            Kind::Fanout { members, outstanding } => {
                format!("Fan-out: {members} members, {} under way, {size} bytes", messages(outstanding))
            }
            Kind::Idle { connections } => format!("Memory: {connections} connections after one message each"),
            Kind::Heartbeat { connections } => {
                format!("At rest: {connections} connections for {} s, heartbeats on", HEARTBEAT.as_secs())
            }
            Kind::Churn { connections } => {
                format!("Coming and going: connect, one echo, close, {connections} at a time")
            }
            Kind::Rooms { connections, halls, silent } => format!(
                "Echo through a topic of one: {connections} × 1 message under way, beside {} topics and {} connections",
                halls * ROOMS_OF_A_HALL,
                halls + silent
            ),
            Kind::Quiet { greed, .. } => format!("Echo: 1 × 1 message under way, {size} bytes, beside {greed}"),
            Kind::Stalled { connections, stalled } => {
                format!("Fan-out at a fixed rate: {connections} members, {stalled} stop reading, {size} bytes")
            }
        }
    }
}

fn subscribed_words(subscriptions: usize, ticks: Ticks) -> Vec<String> {
    let ticks: &[&str] = match ticks {
        Ticks::Nothing => &[],
        Ticks::Granted => &["--ticks", "--credit", CREDIT],
        Ticks::Unbounded => &["--ticks"],
    };
    let words = ["--subscriptions".to_owned(), subscriptions.to_string()].into_iter();
    words.chain(ticks.iter().map(|&word| word.to_owned())).collect()
}

/// The initial credit of a client, which grants half of it again once that is read.
const CREDIT: &str = "64";
/// Clients that send 16 MiB in a message, compressed to 16 KiB.
const INFLATING: &str = "deflate-16m";
/// The heartbeat interval of all servers that have heartbeats.
const PING_INTERVAL: Duration = Duration::from_secs(25);
/// A time longer than the interval.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// Few enough for one connection, and enough that 400 connections have 100 000.
const ROOMS_OF_A_HALL: usize = 250;
/// The default of `Config::outbox_bytes`.
const OUTBOX_BYTES: usize = 1024 * 1024;
const SMALL_OUTBOX: usize = 16 * 1024;

fn messages(count: usize) -> String {
    match count {
        1 => "1 message".to_owned(),
        more => format!("{more} messages"),
    }
}

fn calls_of(count: usize) -> String {
    messages(count).replace("message", "call")
}

impl Kind {
    fn name(self, size: usize) -> String {
        match self {
            Self::Echo { connections, outstanding } => format!("echo-c{connections}-p{outstanding}-s{size}"),
            Self::Typed { connections, outstanding } => format!("typed-c{connections}-p{outstanding}-s{size}"),
            Self::Call { connections, outstanding } => format!("call-c{connections}-p{outstanding}"),
            Self::Subscribed { subscriptions, ticks } => format!("subs-{subscriptions}-{}", ticks as usize),
            Self::Fanout { members, outstanding } => format!("fanout-n{members}-w{outstanding}-s{size}"),
            Self::Idle { connections } => format!("idle-n{connections}"),
            Self::Heartbeat { connections } => format!("heartbeat-n{connections}"),
            Self::Churn { connections } => format!("churn-c{connections}"),
            Self::Rooms { connections, halls, silent } => format!("rooms-c{connections}-h{halls}-i{silent}"),
            Self::Quiet { greed, .. } => format!("quiet-{greed}"),
            Self::Stalled { connections, stalled } => format!("stalled-n{connections}-{stalled}"),
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

    #[test]
    fn every_name_is_one_case() {
        let mut names: Vec<_> = all().into_iter().map(|case| case.name).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn a_label_is_what_follows_the_group() {
        let labels = |name: &str| -> Vec<String> {
            let cases = all().into_iter().filter(|case| case.name.starts_with(name));
            cases.map(|case| case.label().to_owned()).collect()
        };
        assert_eq!(labels("scale-w8"), ["100", "1000", "10000"]);
        assert_eq!(labels("rooms-c64-topics"), ["0", "1000", "100000"]);
        assert_eq!(labels("stalled-n1000-"), ["all-read", "half-stalled", "half-connected"]);
    }

    #[test]
    fn all_of_a_group_are_paced_alike() {
        let paced: Vec<_> =
            all().iter().filter(|case| case.name.starts_with("stalled-n1000-")).map(Case::paced).collect();
        assert_eq!(paced, [Some(1000); 3]);
    }
}
