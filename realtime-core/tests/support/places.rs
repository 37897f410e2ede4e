//! A model of presence across nodes: three nodes, their clients, and lines that fail, by a seed and in virtual time.

use crate::{
    line::{Fault, Into, Line, Out, PARTED},
    people::{Fate, NAMES, login},
};
use adapter_testing::{TestClient, TestServer};
use futures_util::FutureExt;
use realtime_core::{AnyConnection, ConnectionId, Endpoint, PRESENCE, Presence, PresenceNotice, Realtime};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Clients present in a place, with their data.
type List = BTreeMap<ConnectionId, Value>;

const STEP: Duration = Duration::from_millis(50);

/// The time in which all nodes come to agree.
const SETTLED: Duration = Duration::from_secs(6);

const PLACES: [Presence<Value>; 3] =
    [Presence::fixed("hall"), Presence::fixed("attic"), Presence::fixed("cellar")];

/// The place of a client of each node that is always there.
const BEACON: Presence<()> = Presence::fixed("beacon");

pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    random: u64,
    /// A number for each value, so that no two are alike.
    values: u64,
    lines: u64,
    line: Line,
    pub(crate) log: Vec<String>,
}

pub(crate) struct Node {
    pub(crate) number: u64,
    pub(crate) server: TestServer,
    line: Line,
    _beacon: TestClient,
    pub(crate) members: Vec<Member>,
    /// The data of its users in the places of users.
    pub(crate) users: BTreeMap<(usize, &'static str), Value>,
    /// The users revoked of late: connections that come now may be ended.
    pub(crate) revoked: BTreeSet<&'static str>,
    /// The time for which it has not run, if it is stopped.
    stopped: Option<Duration>,
}

pub(crate) struct Member {
    pub(crate) client: TestClient,
    pub(crate) handle: AnyConnection,
    pub(crate) user: Option<&'static str>,
    pub(crate) fate: Fate,
    /// The places of users in which it is.
    pub(crate) with_user: BTreeSet<usize>,
    pub(crate) mail: Vec<u64>,
    /// The places in which it is, and its data there.
    here: BTreeMap<usize, Value>,
    observes: BTreeSet<usize>,
    /// The lists that it was told, by the names of the places.
    pub(crate) told: BTreeMap<String, List>,
}

impl Cluster {
    pub(crate) async fn new(seed: u64) -> Self {
        let line = Line::new(seed);
        let random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0xd1b5_4a32_d192_ed03;
        let mut cluster = Self { nodes: Vec::new(), random, values: 0, lines: seed, line, log: Vec::new() };
        for number in 1..=3 {
            cluster.start(number).await;
        }
        cluster
    }

    /// Runs the model until `count` things have happened.
    pub(crate) async fn run(&mut self, count: usize) -> Result<(), String> {
        let mut happened = 0;
        while happened < count {
            let burst = 5 + self.below(60) as usize;
            for _ in 0..burst {
                self.step().await;
                happened += 1;
            }
            self.check().await.map_err(|error| format!("{error}; after {}", self.log.join(", ")))?;
            if self.one_of(2) {
                self.mend().await;
                let log = self.log.join(", ");
                let mended = |error| format!("mended: {error}; after {log}");
                self.check().await.map_err(mended)?;
                self.check_users_of_all().await.map_err(mended)?;
            }
            self.log.clear();
        }
        Ok(())
    }

    async fn step(&mut self) {
        match self.below(100) {
            0..20 => self.enter().await,
            20..35 => self.enter_as_user().await,
            35..45 => self.leave().await,
            45..52 => self.leave_as_user().await,
            52..56 => self.send().await,
            56..58 => self.revoke().await,
            58..72 => self.connect().await,
            72..80 => self.disconnect().await,
            80..90 => {
                let steps = self.below(20);
                self.advance(STEP * steps as u32).await;
            }
            90..92 => self.kill().await,
            92..94 => self.stop().await,
            94 => self.drain().await,
            95..98 => self.part().await,
            _ => self.lose().await,
        }
    }

    async fn enter(&mut self) {
        let Some((node, member)) = self.any_member() else { return };
        let (place, value) = (self.below(3) as usize, self.next_value());
        let data = json!({ "value": value, "text": "x".repeat(self.below(200) as usize) });
        let member = &mut self.nodes[node].members[member];
        if member.ends() {
            return;
        }
        member.handle.enter(&PLACES[place], &data).unwrap();
        member.here.insert(place, data);
        self.nodes[node].server.settle().await;
    }

    async fn leave(&mut self) {
        let Some((node, member)) = self.any_member() else { return };
        let (place, observes) = (self.below(3) as usize, self.one_of(4));
        let member = &mut self.nodes[node].members[member];
        member.drain().await.unwrap();
        if member.ends() {
            return;
        }
        member.handle.leave(&PLACES[place]);
        member.here.remove(&place);
        member.observes.remove(&place);
        if observes {
            member.handle.observe(&PLACES[place]).unwrap();
            member.observes.insert(place);
        }
        self.nodes[node].server.settle().await;
    }

    async fn connect(&mut self) {
        let Some(node) = self.any_running() else { return };
        let user = NAMES.get(self.below(5) as usize).copied();
        self.nodes[node].connect(user).await;
    }

    async fn disconnect(&mut self) {
        let Some((node, member)) = self.any_member() else { return };
        self.nodes[node].members.swap_remove(member);
        self.nodes[node].forget_users();
        self.nodes[node].server.settle().await;
    }

    /// Ends a node without a word; another takes its place, at times under its number, and at times much later.
    async fn kill(&mut self) {
        let node = self.below(3) as usize;
        let number = self.nodes[node].number;
        self.log.push(format!("kill {number:x}"));
        let place = self.nodes.swap_remove(node);
        drop(place);
        self.forget_revocations_of(number);
        let wait = self.below(8) as u32;
        self.advance(Duration::from_secs(wait.into())).await;
        let number = if self.one_of(2) { number } else { number + 16 };
        self.start(number).await;
    }

    async fn drain(&mut self) {
        let Some(node) = self.any_running() else { return };
        let number = self.nodes[node].number;
        self.log.push(format!("drain {number:x}"));
        let mut gone = self.nodes.swap_remove(node);
        let realtime = gone.server.realtime().clone();
        let mut draining = Box::pin(async move { realtime.drain(Duration::from_secs(1)).await });
        let mut steps = 0;
        while (&mut draining).now_or_never().is_none() {
            gone.server.advance(STEP).await;
            self.advance(STEP).await;
            steps += 1;
            assert!(steps < 100, "a drain has an end");
        }
        gone.members.clear();
        gone.server.settle().await;
        drop((draining, gone));
        self.forget_revocations_of(number);
        self.start(number + 16).await;
    }

    /// Stops a node for a while, as a process that is not scheduled.
    async fn stop(&mut self) {
        let Some(node) = self.any_running() else { return };
        self.log.push(format!("stop {:x}", self.nodes[node].number));
        self.nodes[node].stopped = Some(Duration::ZERO);
    }

    async fn part(&mut self) {
        let node = self.below(3) as usize;
        let fault = [
            PARTED,
            Fault { into: Into::Lost, ..Fault::default() },
            Fault { into: Into::Stopped, ..Fault::default() },
            Fault { out: Out::Lost, ..Fault::default() },
            Fault { out: Out::Hangs, ..Fault::default() },
        ][self.below(5) as usize];
        self.log.push(format!("{:x} has {fault:?}", self.nodes[node].number));
        self.nodes[node].line.set(fault);
    }

    /// Has arrivals lost, or come twice.
    async fn lose(&mut self) {
        let (node, percent) = (self.below(3) as usize, self.below(30));
        self.log.push(format!("{:x} loses {percent} %", self.nodes[node].number));
        self.nodes[node].line.lose(percent);
    }

    /// Ends all faults.
    async fn mend(&mut self) {
        for node in &mut self.nodes {
            node.line.set(Fault::default());
            node.resume();
        }
    }

    async fn start(&mut self, number: u64) {
        self.lines += 1;
        let line = self.line.join(self.lines);
        let api = Endpoint::new(()).on_open(|_| async { Ok(()) });
        let realtime = Realtime::builder().middleware(login).endpoint("api", api).node(number);
        let server = TestServer::new(realtime.broker(line.clone()).build());
        let (members, users, revoked) = (Vec::new(), BTreeMap::new(), NAMES.into());
        let beacon = server.open("api").await.unwrap();
        server.realtime().filter(|_| true)[0].enter(&BEACON, &()).unwrap();
        let mut node = Node { number, server, line, _beacon: beacon, members, users, revoked, stopped: None };
        for user in [None, Some(NAMES[0]), Some(NAMES[1])] {
            node.connect(user).await;
        }
        self.nodes.push(node);
    }

    /// Runs the nodes in turns.
    pub(crate) async fn advance(&mut self, duration: Duration) {
        for _ in 0..duration.as_millis() / STEP.as_millis() {
            for node in &mut self.nodes {
                match &mut node.stopped {
                    Some(stopped) => *stopped += STEP,
                    None => node.server.advance(STEP).await,
                }
            }
            for node in self.nodes.iter().filter(|node| node.stopped.is_none()) {
                node.server.settle().await;
            }
        }
    }

    /// Checks that all nodes that hear each other agree with the truth.
    async fn check(&mut self) -> Result<(), String> {
        self.nodes.iter().for_each(|node| node.line.lose(0));
        self.advance(SETTLED).await;
        self.bury()?;
        let heard: Vec<bool> = self.nodes.iter().map(Node::is_heard).collect();
        let deaf: Vec<bool> = self.nodes.iter().map(|node| node.line.fault().into != Into::Passes).collect();
        let numbers: Vec<u64> = self.nodes.iter().map(|node| node.number).collect();
        let truths: Vec<_> = self.nodes.iter().map(Node::truth).collect();
        let mut known_of = Vec::new();
        for (at, node) in self.nodes.iter_mut().enumerate().filter(|(_, node)| node.stopped.is_none()) {
            let hears = node.line.fault().into == Into::Passes;
            // Where no question passes, a node knows all of another or nothing.
            let may_ask = node.line.fault().out == Out::Passes;
            let known = |other: usize| (may_ask && !deaf[other]) || node.knows_of(numbers[other]);
            let of: Vec<usize> =
                (0..3).filter(|other| *other == at || (hears && heard[*other] && known(*other))).collect();
            let list = |place: usize| of.iter().flat_map(|other| truths[*other][place].clone()).collect();
            node.check(&[list(0), list(1), list(2)]).await?;
            known_of.push((at, of));
        }
        self.check_users(&known_of)
    }

    pub(crate) fn any_running(&mut self) -> Option<usize> {
        let at = self.below(3) as usize;
        (0..3).map(|next| (at + next) % 3).find(|at| self.nodes[*at].stopped.is_none())
    }

    pub(crate) fn any_member(&mut self) -> Option<(usize, usize)> {
        let node = self.any_running()?;
        let count = self.nodes[node].members.len();
        (count > 0).then(|| (node, self.below(count as u64) as usize))
    }

    fn one_of(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    pub(crate) fn next_value(&mut self) -> u64 {
        self.values += 1;
        self.values
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % bound
    }
}

impl Node {
    async fn connect(&mut self, user: Option<&'static str>) {
        let request = self.server.request("api");
        let request = if let Some(user) = user { request.header("x-user", user) } else { request };
        let client = request.open().await.unwrap();
        let is_revoked = user.is_some_and(|user| self.revoked.contains(user));
        let handle = self.server.realtime().filter(|_| true).into_iter().max_by_key(AnyConnection::id).unwrap();
        self.members.push(Member {
            client,
            handle,
            user,
            fate: if is_revoked { Fate::MayEnd } else { Fate::Stays },
            with_user: BTreeSet::new(),
            mail: Vec::new(),
            here: BTreeMap::new(),
            observes: BTreeSet::new(),
            told: BTreeMap::new(),
        });
    }

    fn resume(&mut self) {
        if let Some(stopped) = self.stopped.take() {
            self.server.pause(stopped);
        }
    }

    /// Returns true if what it says arrives.
    fn is_heard(&self) -> bool {
        self.stopped.is_none() && self.line.fault().out == Out::Passes
    }

    fn knows_of(&self, number: u64) -> bool {
        let beacons = self.server.realtime().present(&BEACON);
        beacons.iter().any(|beacon| beacon.connection.node == number)
    }

    /// Returns its own clients in each place.
    fn truth(&self) -> [List; 3] {
        let of = |place: usize| {
            let in_place = |member: &Member| Some((member.handle.id(), member.here.get(&place)?.clone()));
            self.members.iter().filter_map(in_place).collect()
        };
        [of(0), of(1), of(2)]
    }

    async fn check(&mut self, expected: &[List]) -> Result<(), String> {
        let realtime = self.server.realtime().clone();
        for (place, expected) in PLACES.iter().zip(expected) {
            let list = |present: Vec<realtime_core::Present<Value>>| -> List {
                present.into_iter().map(|present| (present.connection, present.data)).collect()
            };
            let known = list(realtime.present(place));
            if known != *expected {
                return Err(format!(
                    "node {:x} knows {:?} in the {} instead of {:?}",
                    self.number,
                    known.keys().map(ToString::to_string).collect::<Vec<_>>(),
                    place.name(),
                    expected.keys().map(ToString::to_string).collect::<Vec<_>>(),
                ));
            }
            let own: List = known.into_iter().filter(|(connection, _)| connection.node == self.number).collect();
            if list(realtime.present_here(place)) != own {
                return Err(format!("node {:x} does not know its own", self.number));
            }
        }
        for member in &mut self.members {
            member.drain().await?;
            member.check_told_users(&realtime)?;
            for (place, expected) in expected.iter().enumerate() {
                let is_member = member.here.contains_key(&place) || member.observes.contains(&place);
                let told = member.told.get(PLACES[place].name());
                if told != is_member.then_some(expected) {
                    let id = member.handle.id();
                    return Err(format!("{id} was told {told:?} instead of {expected:?}"));
                }
            }
        }
        Ok(())
    }
}

impl Member {
    /// Takes what it was told, which has to match what it knows.
    pub(crate) async fn drain(&mut self) -> Result<(), String> {
        self.take_mail().await?;
        while let Some(notice) = self.client.try_event(PRESENCE).await {
            self.take(notice).map_err(|error| format!("{} was told {error}", self.handle.id()))?;
        }
        Ok(())
    }

    fn take(&mut self, notice: PresenceNotice) -> Result<(), String> {
        if let Some(here) = notice.here {
            let list = here.into_iter().map(|present| (present.connection, present.data)).collect();
            return match self.told.insert(notice.name, list) {
                Some(_) => Err("a second list".into()),
                None => Ok(()),
            };
        }
        if notice.left == [self.handle.id()] {
            // Its own leaving, which ends the list.
            return self
                .told
                .remove(&notice.name)
                .map(drop)
                .ok_or_else(|| "that it has left what it had no list of".into());
        }
        let Some(list) = self.told.get_mut(&notice.name) else { return Err("news without a list".into()) };
        for present in notice.joined {
            let id = present.connection;
            if list.insert(id, present.data).is_some() {
                return Err(format!("that {id} has joined twice"));
            }
        }
        for present in notice.changed {
            let id = present.connection;
            if list.insert(id, present.data).is_none() {
                return Err(format!("that {id} has changed, who is not there"));
            }
        }
        for id in notice.left {
            if list.remove(&id).is_none() {
                return Err(format!("that {id} has left, who is not there"));
            }
        }
        Ok(())
    }
}
