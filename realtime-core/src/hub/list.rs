//! The list of a place: an entry for each connection that is present, or for each user on each node, and what the members
//! are shown of it.

use super::{news::News, presence::ids_of};
use realtime_protocol::{ConnectionId, Present};
use serde_json::Value;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, HashSet},
    mem,
    sync::Arc,
};

/// The entries of all nodes, by the connections with which they came.
///
/// A user has one on each node, and is shown once: with the id of the first that was known here, also after that one is
/// gone, and with the data that was set last. All nodes find the same data to be the last, by its version.
#[derive(Debug, Default)]
pub(super) struct List {
    entries: BTreeMap<ConnectionId, Entry>,
    users: HashMap<Arc<str>, Shown>,
    /// The users by the ids with which they are shown.
    ids: HashMap<ConnectionId, Arc<str>>,
    /// Bytes of all entries.
    bytes: usize,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) data: Value,
    pub(super) bytes: usize,
    /// The name of this version of it among the nodes; 0 without a broker.
    pub(super) tag: u64,
    /// The tag under which the other nodes know it; 0 if they do not.
    pub(super) published: u64,
    /// The user that it is of, if it is not of a connection.
    pub(super) user: Option<Box<OfUser>>,
}

#[derive(Clone, Debug)]
pub(super) struct OfUser {
    pub(super) name: Arc<str>,
    /// More than that of every entry of the user that was known when its data was set.
    pub(super) version: u64,
}

#[derive(Debug)]
struct Shown {
    id: ConnectionId,
    /// The user's entries, one for each node.
    entries: Vec<ConnectionId>,
}

/// One that members may be shown.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Who {
    Connection(ConnectionId),
    User(Arc<str>),
}

impl List {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn get(&self, id: ConnectionId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Entry> {
        self.entries.get_mut(&id)
    }

    /// Returns the entries of a node.
    pub(super) fn of_node(&self, node: u64) -> impl Iterator<Item = (&ConnectionId, &Entry)> {
        self.entries.range(ids_of(node))
    }

    /// Returns what members are shown, in the order of its ids.
    pub(super) fn present(&self) -> Vec<Present<Value>> {
        let of_connections = self.entries.iter().filter(|(_, entry)| entry.user.is_none());
        let mut present: Vec<_> =
            of_connections.map(|(id, entry)| Present::new(*id, entry.data.clone())).collect();
        if !self.users.is_empty() {
            let of_user = |user: &Shown| Some(Present::new(user.id, self.newest(user)?.data.clone()));
            present.extend(self.users.values().filter_map(of_user));
            present.sort_unstable_by_key(|present| present.connection);
        }
        present
    }

    /// Returns the data with which a user is shown.
    pub(super) fn shown(&self, user: &str) -> Option<&Value> {
        Some(&self.newest(self.users.get(user)?)?.data)
    }

    /// Returns what names the next version of a user's data.
    pub(super) fn next_version(&self, user: &str) -> OfUser {
        let Some((name, shown)) = self.users.get_key_value(user) else {
            return OfUser { name: user.into(), version: 1 };
        };
        // Versions come from other nodes too.
        let version = self.newest(shown).map_or(0, Entry::version).saturating_add(1);
        OfUser { name: Arc::clone(name), version }
    }

    /// Changes entries, to what they are now or to none. Returns what members are to be told, and the entries before.
    pub(super) fn change(
        &mut self,
        changes: Vec<(ConnectionId, Option<Entry>)>,
    ) -> (News, Vec<(ConnectionId, Entry)>) {
        let mut changing = HashSet::new();
        for (id, entry) in &changes {
            let before = self.entries.get(id).map(|known| who(*id, known));
            // One that is shown with the id of an entry to come needs another.
            let renamed = entry.as_ref().and_then(|_| self.ids.get(id)).cloned().map(Who::User);
            changing.extend(before.into_iter().chain(entry.as_ref().map(|entry| who(*id, entry))).chain(renamed));
        }
        let before: Vec<_> = changing.into_iter().map(|who| (self.view(&who), who)).collect();
        let mut replaced = Vec::new();
        // Who comes before who goes: a user goes from one to another unnoticed.
        let (coming, going): (Vec<_>, Vec<_>) = changes.into_iter().partition(|(_, entry)| entry.is_some());
        for (id, entry) in coming.into_iter().chain(going) {
            replaced.extend(self.set(id, entry).map(|before| (id, before)));
        }
        let mut news = News::default();
        for (before, who) in before {
            news.add(before, self.view(&who), matches!(who, Who::User(_)));
        }
        news.sort();
        (news, replaced)
    }

    fn view(&self, who: &Who) -> Option<Present<Value>> {
        match who {
            Who::Connection(id) => {
                let entry = self.entries.get(id).filter(|entry| entry.user.is_none())?;
                Some(Present::new(*id, entry.data.clone()))
            }
            Who::User(name) => {
                let shown = self.users.get(name)?;
                Some(Present::new(shown.id, self.newest(shown)?.data.clone()))
            }
        }
    }

    fn newest(&self, user: &Shown) -> Option<&Entry> {
        let entries = user.entries.iter().filter_map(|id| Some((id, self.entries.get(id)?)));
        entries.max_by_key(|(id, entry)| (entry.version(), Reverse(**id))).map(|(_, entry)| entry)
    }

    /// Sets an entry; returns the one before.
    fn set(&mut self, id: ConnectionId, entry: Option<Entry>) -> Option<Entry> {
        let Some(entry) = entry else { return self.remove(id) };
        let Some(known) = self.entries.get_mut(&id).filter(|known| known.user_name() == entry.user_name()) else {
            let before = self.remove(id);
            self.insert(id, entry);
            return before;
        };
        self.bytes = self.bytes - known.bytes + entry.bytes;
        Some(mem::replace(known, entry))
    }

    fn insert(&mut self, id: ConnectionId, mut entry: Entry) {
        if self.ids.get(&id).is_some_and(|shown| Some(&**shown) != entry.user_name()) {
            self.rename(id);
        }
        self.bytes += entry.bytes;
        if let Some(user) = &mut entry.user {
            if let Some((name, _)) = self.users.get_key_value(&user.name) {
                user.name = Arc::clone(name);
            }
            let name = &user.name;
            let new = || Shown { id, entries: Vec::new() };
            let shown = self.users.entry(Arc::clone(name)).or_insert_with(new);
            shown.entries.push(id);
            self.ids.insert(shown.id, Arc::clone(name));
        }
        self.entries.insert(id, entry);
    }

    fn remove(&mut self, id: ConnectionId) -> Option<Entry> {
        let removed = self.entries.remove(&id)?;
        self.bytes -= removed.bytes;
        let Some(OfUser { name, .. }) = removed.user.as_deref() else { return Some(removed) };
        if let Some(shown) = self.users.get_mut(name) {
            shown.entries.retain(|known| *known != id);
            if shown.entries.is_empty() {
                self.ids.remove(&shown.id);
                self.users.remove(name);
            }
        }
        Some(removed)
    }

    /// Shows a user whose id an entry is about to have with that of one of its own. The id was that of an entry that is
    /// gone, of a node that has started again.
    fn rename(&mut self, id: ConnectionId) {
        let Some(name) = self.ids.remove(&id) else { return };
        let Some(shown) = self.users.get_mut(&name) else { return };
        if let Some(own) = shown.entries.first() {
            shown.id = *own;
            self.ids.insert(*own, name);
        }
    }
}

fn who(id: ConnectionId, entry: &Entry) -> Who {
    entry.user.as_ref().map_or(Who::Connection(id), |user| Who::User(Arc::clone(&user.name)))
}

impl Entry {
    fn user_name(&self) -> Option<&str> {
        self.user.as_ref().map(|user| &*user.name)
    }

    fn version(&self) -> u64 {
        self.user.as_ref().map_or(0, |user| user.version)
    }
}

impl News {
    /// Adds the difference between two views of one. A user is no news if it looks as before.
    fn add(&mut self, before: Option<Present<Value>>, after: Option<Present<Value>>, is_user: bool) {
        match (before, after) {
            (Some(before), Some(after)) if is_user && before == after => {}
            (Some(before), Some(after)) if before.connection == after.connection => self.changed.push(after),
            (before, after) => {
                self.left.extend(before.map(|before| before.connection));
                self.joined.extend(after);
            }
        }
    }

    /// Puts the news into an order that does not depend on chance.
    fn sort(&mut self) {
        self.left.sort_unstable();
        self.changed.sort_unstable_by_key(|present| present.connection);
        self.joined.sort_unstable_by_key(|present| present.connection);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn id(node: u64, number: u64) -> ConnectionId {
        ConnectionId { node, number }
    }

    fn entry(user: Option<(&str, u64)>, data: &str) -> Option<Entry> {
        let user = user.map(|(name, version)| Box::new(OfUser { name: name.into(), version }));
        Some(Entry { data: json!(data), bytes: 10, tag: 1, published: 1, user })
    }

    fn told(list: &mut List, changes: Vec<(ConnectionId, Option<Entry>)>) -> News {
        list.change(changes).0
    }

    fn news(left: &[ConnectionId], changed: &[(ConnectionId, &str)], joined: &[(ConnectionId, &str)]) -> News {
        let all =
            |list: &[(ConnectionId, &str)]| list.iter().map(|(id, data)| Present::new(*id, json!(data))).collect();
        News { left: left.to_vec(), changed: all(changed), joined: all(joined) }
    }

    #[test]
    fn a_user_of_several_nodes_is_shown_once() {
        let (mut list, [one, two]) = (List::default(), [id(1, 7), id(2, 7)]);
        let come = told(&mut list, vec![(one, entry(Some(("ann", 1)), "a"))]);
        assert_eq!(come, news(&[], &[], &[(one, "a")]));
        assert_eq!(told(&mut list, vec![(two, entry(Some(("ann", 2)), "a"))]), News::default());
        assert_eq!(told(&mut list, vec![(two, entry(Some(("ann", 3)), "b"))]), news(&[], &[(one, "b")], &[]));
        // It keeps the id of the entry that was first.
        assert_eq!(told(&mut list, vec![(one, None)]), News::default());
        assert_eq!(list.present(), [Present::new(one, json!("b"))]);
        assert_eq!(list.next_version("ann").version, 4);
        assert_eq!(told(&mut list, vec![(two, None)]), news(&[one], &[], &[]));
        assert!(list.is_empty() && list.users.is_empty() && list.ids.is_empty() && list.bytes == 0);
    }

    #[test]
    fn all_nodes_find_the_same_data_to_be_the_last() {
        let [one, two] = [id(1, 7), id(2, 7)];
        let entries = || [(one, entry(Some(("ann", 5)), "a")), (two, entry(Some(("ann", 5)), "b"))];
        let shown = |changes: Vec<_>| {
            let mut list = List::default();
            list.change(changes);
            list.shown("ann").cloned()
        };
        let [first, second] = entries();
        assert_eq!(shown(entries().into()), shown(vec![second, first]));
        let most = vec![(one, entry(Some(("ann", u64::MAX)), "a"))];
        let mut list = List::default();
        list.change(most);
        assert_eq!(list.next_version("ann").version, u64::MAX);
    }

    #[test]
    fn a_user_goes_from_one_entry_to_another_unnoticed() {
        let (mut list, [one, two]) = (List::default(), [id(1, 7), id(1, 8)]);
        list.change(vec![(one, entry(Some(("ann", 1)), "a"))]);
        for changes in [
            vec![(one, None), (two, entry(Some(("ann", 1)), "a"))],
            vec![(one, entry(Some(("ann", 1)), "a")), (two, None)],
        ] {
            assert_eq!(told(&mut list, changes), News::default());
            assert_eq!(list.present(), [Present::new(one, json!("a"))]);
        }
    }

    /// A node that has started again under its number gives out the same ids.
    #[test]
    fn an_id_is_never_shown_twice() {
        let (mut list, [one, two]) = (List::default(), [id(1, 7), id(2, 7)]);
        let of = |name| Some((name, 1));
        list.change(vec![(one, entry(of("ann"), "a")), (two, entry(of("ann"), "a"))]);
        list.change(vec![(one, None)]);
        assert_eq!(list.present(), [Present::new(one, json!("a"))]);
        let told_of = told(&mut list, vec![(one, entry(of("bob"), "b"))]);
        assert_eq!(told_of, news(&[one], &[], &[(one, "b"), (two, "a")]));
        assert_eq!(told(&mut list, vec![(one, entry(None, "c"))]), news(&[one], &[], &[(one, "c")]));
        assert_eq!(list.present(), [Present::new(one, json!("c")), Present::new(two, json!("a"))]);
        assert_eq!(list.bytes(), 20);
    }
}
