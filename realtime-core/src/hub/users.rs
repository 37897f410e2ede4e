use realtime_protocol::ConnectionId;
use std::{collections::HashMap, sync::Arc};

/// The users of this node who are present in a place, each once however many connections it has there.
///
/// A user's entry in the list of the place is known by the connection with which it came, also when that one has left
/// before the others.
#[derive(Debug, Default)]
pub(super) struct Users {
    by_name: HashMap<Arc<str>, User>,
    /// The user of each connection.
    of: HashMap<ConnectionId, Arc<str>>,
}

#[derive(Debug)]
struct User {
    entry: ConnectionId,
    connections: usize,
}

/// A connection has left.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Gone {
    /// Its user is still present.
    OneOfSeveral,
    /// It was the last of the user with this entry.
    Last(ConnectionId),
}

impl Users {
    pub(super) fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Returns true if the connection is one of a user's.
    pub(super) fn has(&self, connection: ConnectionId) -> bool {
        self.of.contains_key(&connection)
    }

    /// Returns the entry of a user who is present.
    pub(super) fn entry(&self, name: &str) -> Option<ConnectionId> {
        self.by_name.get(name).map(|user| user.entry)
    }

    /// Adds a connection of a user, which has not entered yet.
    pub(super) fn enter(&mut self, name: &Arc<str>, connection: ConnectionId) {
        self.of.insert(connection, Arc::clone(name));
        match self.by_name.get_mut(name) {
            Some(user) => user.connections += 1,
            None => drop(self.by_name.insert(Arc::clone(name), User { entry: connection, connections: 1 })),
        }
    }

    /// Removes a connection; `None` if it is no user's.
    pub(super) fn leave(&mut self, connection: ConnectionId) -> Option<Gone> {
        let name = self.of.remove(&connection)?;
        let user = self.by_name.get_mut(&name)?;
        user.connections -= 1;
        if user.connections > 0 {
            return Some(Gone::OneOfSeveral);
        }
        self.by_name.remove(&name).map(|user| Gone::Last(user.entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_leaves_with_its_last_connection() {
        let connection = |number| ConnectionId { node: 1, number };
        let mut users = Users::default();
        for (name, number) in [("ann", 1), ("ann", 2), ("bob", 3)] {
            users.enter(&name.into(), connection(number));
        }
        assert_eq!(users.entry("ann"), Some(connection(1)));
        assert_eq!(users.leave(connection(1)), Some(Gone::OneOfSeveral));
        assert_eq!(users.leave(connection(1)), None);
        assert_eq!((users.entry("ann"), users.has(connection(2))), (Some(connection(1)), true));
        assert_eq!(users.leave(connection(2)), Some(Gone::Last(connection(1))));
        assert_eq!((users.entry("ann"), users.is_empty()), (None, false));
        assert_eq!(users.leave(connection(3)), Some(Gone::Last(connection(3))));
        assert!(users.is_empty() && users.of.is_empty());
    }
}
