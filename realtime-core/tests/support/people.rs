//! The part of the model of presence that has principals: users in places, what is sent to them, and revocations.

use crate::places::{Cluster, Member, Node};
use realtime_core::{
    Accepted, ConnectionId, Context, Event, Next, Presence, Present, Principal, Realtime, Reject,
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

pub(crate) const NAMES: [&str; 3] = ["ann", "bob", "cleo"];

pub(crate) const USERS: [Presence<Value>; 2] =
    [Presence::fixed("team").by_principal(), Presence::fixed("friends").by_principal()];

const MAIL: Event<u64> = Event::new("mail");

/// The data of users by their names.
type Users = BTreeMap<String, Value>;

/// The end of a user's connection by a revocation, as far as the model knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Stays,
    /// It may have come after the revocation, or nobody tells its node any more.
    MayEnd,
    /// As long as this node lives, which has revoked it.
    Ends(u64),
}

/// Names the user by a header.
pub(crate) async fn login(mut context: Context, next: Next) -> Result<Accepted, Reject> {
    let user = context.header("x-user").map(|user| Principal(user.to_owned()));
    if let Some(user) = user {
        context.set(user);
    }
    next.run(context).await
}

impl Cluster {
    pub(crate) async fn enter_as_user(&mut self) {
        let Some((node, member)) = self.any_member() else { return };
        let (place, value) = (self.below(2) as usize, self.next_value());
        let Node { members, users, server, .. } = &mut self.nodes[node];
        let member = &mut members[member];
        let Some(user) = member.user else {
            assert!(member.handle.enter(&USERS[place], &json!({})).is_err());
            return;
        };
        if member.ends() {
            return;
        }
        let data = json!({ "user": user, "value": value / 2 });
        member.handle.enter(&USERS[place], &data).unwrap();
        member.with_user.insert(place);
        users.insert((place, user), data);
        server.settle().await;
    }

    pub(crate) async fn leave_as_user(&mut self) {
        let Some((node, member)) = self.any_member() else { return };
        let place = self.below(2) as usize;
        let node = &mut self.nodes[node];
        node.members[member].drain().await.unwrap();
        node.members[member].handle.leave(&USERS[place]);
        node.members[member].with_user.remove(&place);
        node.forget_users();
        node.server.settle().await;
    }

    /// Sends to a user, who may be anywhere.
    pub(crate) async fn send(&mut self) {
        let Some(node) = self.any_running() else { return };
        let (user, value) = (NAMES[self.below(3) as usize], self.next_value());
        let realtime = self.nodes[node].server.realtime();
        realtime.to_principal(&Principal(user.into())).emit(MAIL, &value).unwrap();
        self.nodes[node].server.settle().await;
    }

    pub(crate) async fn revoke(&mut self) {
        let Some(node) = self.any_running() else { return };
        let (user, number) = (NAMES[self.below(3) as usize], self.nodes[node].number);
        self.log.push(format!("{number:x} revokes {user}"));
        self.nodes[node].server.realtime().revoke(&Principal(user.into()));
        for other in &mut self.nodes {
            other.members.retain(|member| other.number != number || member.user != Some(user));
            let of_user = other.members.iter_mut().filter(|member| member.user == Some(user));
            of_user.for_each(|member| member.fate = Fate::Ends(number));
            other.revoked.insert(user);
        }
        self.nodes[node].forget_users();
        self.nodes[node].server.settle().await;
    }

    /// Nobody tells others any more what this node has revoked.
    pub(crate) fn forget_revocations_of(&mut self, number: u64) {
        let members = self.nodes.iter_mut().flat_map(|node| &mut node.members);
        for member in members.filter(|member| member.fate == Fate::Ends(number)) {
            member.fate = Fate::MayEnd;
        }
    }

    /// Takes those who were revoked out of the model.
    pub(crate) fn bury(&mut self) -> Result<(), String> {
        for node in &mut self.nodes {
            let wrongly = |member: &&Member| member.handle.is_closed() && member.fate == Fate::Stays;
            if let Some(member) = node.members.iter().find(wrongly) {
                return Err(format!("{} was closed", member.handle.id()));
            }
            node.members.retain(|member| !member.handle.is_closed());
            node.forget_users();
        }
        Ok(())
    }

    /// Checks, where all nodes hear each other, that who was revoked is gone, and that what is sent to a user reaches all of it.
    pub(crate) async fn check_users_of_all(&mut self) -> Result<(), String> {
        for node in &mut self.nodes {
            if let Some(member) = node.members.iter().find(|member| matches!(member.fate, Fate::Ends(_))) {
                return Err(format!("{} is not revoked", member.handle.id()));
            }
            node.members.iter_mut().for_each(|member| member.fate = Fate::Stays);
            node.revoked.clear();
            for member in &mut node.members {
                member.drain().await?;
                member.mail.clear();
            }
        }
        let mut sent: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
        for (node, user) in (0..3).flat_map(|node| NAMES.map(|user| (node, user))) {
            let value = self.next_value();
            let realtime = self.nodes[node].server.realtime();
            realtime.to_principal(&Principal(user.into())).emit(MAIL, &value).unwrap();
            sent.entry(user).or_default().insert(value);
        }
        self.advance(Duration::from_secs(1)).await;
        for member in self.nodes.iter_mut().flat_map(|node| &mut node.members) {
            member.drain().await?;
            let expected = member.user.map(|user| sent[user].clone()).unwrap_or_default();
            let got: BTreeSet<_> = member.mail.iter().copied().collect();
            if got != expected || got.len() != member.mail.len() {
                return Err(format!("{} got {:?} instead of {expected:?}", member.handle.id(), member.mail));
            }
            member.mail.clear();
        }
        Ok(())
    }

    /// Checks the users that each node shows, by the nodes whose clients it is to know.
    pub(crate) fn check_users(&self, known: &[(usize, Vec<usize>)]) -> Result<(), String> {
        let mut shown: BTreeMap<(usize, &[usize]), Users> = BTreeMap::new();
        for (at, of) in known {
            for (place, presence) in USERS.iter().enumerate() {
                let users = self.nodes[*at].users_in(presence)?;
                let fits = |(name, data): (&String, &Value)| {
                    of.iter().any(|node| self.nodes[*node].user(place, name) == Some(data))
                };
                let expected: BTreeSet<_> = of.iter().flat_map(|node| self.nodes[*node].names_in(place)).collect();
                let names: BTreeSet<_> = users.keys().cloned().collect();
                if names != expected || !users.iter().all(fits) {
                    let number = self.nodes[*at].number;
                    return Err(format!("node {number:x} shows {users:?} in {place} instead of {expected:?}"));
                }
                let alike = shown.entry((place, of)).or_insert_with(|| users.clone());
                if *alike != users {
                    return Err(format!("{alike:?} and {users:?} are shown of the same users"));
                }
            }
        }
        Ok(())
    }
}

impl Node {
    fn user(&self, place: usize, name: &str) -> Option<&Value> {
        self.users.iter().find(|((of, user), _)| *of == place && *user == name).map(|(_, data)| data)
    }

    fn names_in(&self, place: usize) -> impl Iterator<Item = String> {
        self.users.keys().filter(move |(of, _)| *of == place).map(|(_, user)| (*user).to_owned())
    }

    /// Forgets users who have left with their last connection here.
    pub(crate) fn forget_users(&mut self) {
        let members = &self.members;
        self.users.retain(|(place, user), _| {
            members.iter().any(|member| member.user == Some(*user) && member.with_user.contains(place))
        });
    }

    /// Returns the users that it shows, each of whom is to be shown once.
    fn users_in(&self, presence: &Presence<Value>) -> Result<Users, String> {
        let mut users = Users::new();
        for present in self.server.realtime().present(presence) {
            let name = present.data["user"].as_str().unwrap_or_default().to_owned();
            if users.insert(name.clone(), present.data).is_some() {
                return Err(format!("node {:x} shows {name} twice", self.number));
            }
        }
        Ok(users)
    }
}

impl Member {
    pub(crate) fn ends(&self) -> bool {
        self.handle.is_closed()
    }

    /// Takes what was sent to it as a user.
    pub(crate) async fn take_mail(&mut self) -> Result<(), String> {
        while let Some(mail) = self.client.try_event(MAIL).await {
            if self.user.is_none() {
                return Err(format!("{} was sent the mail of a user", self.handle.id()));
            }
            self.mail.push(mail);
        }
        Ok(())
    }

    /// Checks the lists of users that it was told.
    pub(crate) fn check_told_users(&self, realtime: &Realtime) -> Result<(), String> {
        for (place, presence) in USERS.iter().enumerate() {
            let list = |present: Vec<Present<Value>>| -> BTreeMap<ConnectionId, Value> {
                present.into_iter().map(|present| (present.connection, present.data)).collect()
            };
            let expected = self.with_user.contains(&place).then(|| list(realtime.present(presence)));
            let told = self.told.get(presence.name());
            if told != expected.as_ref() {
                return Err(format!("{} was told {told:?} instead of {expected:?}", self.handle.id()));
            }
        }
        Ok(())
    }
}
