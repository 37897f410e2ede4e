use crate::{
    connection_id::ConnectionId,
    error::{Error, Result},
    presence::{Presence, PresenceNotice, Present},
};
use serde::de::DeserializeOwned;
use std::{collections::BTreeMap, fmt};

/// Those who are present in a place, as a client learns it from [`PRESENCE`](crate::PRESENCE) events.
///
/// # Examples
///
/// ```
/// use realtime_protocol::{Presence, PresenceNotice, PresentList};
/// use std::sync::{Arc, Mutex};
///
/// const PEOPLE: Presence<String> = Presence::fixed("people");
///
/// let people = Arc::new(Mutex::new(PresentList::of(&PEOPLE)));
/// let seen = Arc::clone(&people);
/// // For `ClientBuilder::on(PRESENCE, …)`:
/// let on_presence = move |notice: PresenceNotice| -> realtime_protocol::Result<usize> {
///     let mut people = seen.lock().unwrap();
///     people.apply(&notice)?;
///     Ok(people.len())
/// };
/// # let notice = r#"{"name":"people","joined":[{"connection":"0000000000c0ffee-1","data":"Ann"}]}"#;
/// # assert_eq!(on_presence(serde_json::from_str(notice).unwrap()).unwrap(), 1);
/// ```
pub struct PresentList<P> {
    place: Presence<P>,
    list: BTreeMap<ConnectionId, P>,
}

impl<P> PresentList<P> {
    /// Creates the list of a place, empty before its first notice.
    pub fn of(place: &Presence<P>) -> Self {
        Self { place: place.clone(), list: BTreeMap::new() }
    }

    /// Applies a notice. Returns true if it is one of this place; those of other places change nothing.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` if somebody's data does not fit the type; then nothing has changed.
    pub fn apply(&mut self, notice: &PresenceNotice) -> Result<bool>
    where
        P: DeserializeOwned,
    {
        if notice.name != self.place.name() {
            return Ok(false);
        }
        let news = notice.here.iter().flatten().chain(&notice.joined).chain(&notice.changed);
        let news: Vec<_> = news.map(|present| self.read(present)).collect::<Result<_>>()?;
        if notice.here.is_some() {
            self.list.clear();
        }
        self.list.extend(news);
        for gone in &notice.left {
            self.list.remove(gone);
        }
        Ok(true)
    }

    /// Returns the number of those who are present.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Returns true if nobody is present.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Returns the data of a connection or user.
    pub fn get(&self, connection: ConnectionId) -> Option<&P> {
        self.list.get(&connection)
    }

    /// Returns all who are present, with their data.
    pub fn iter(&self) -> impl Iterator<Item = (ConnectionId, &P)> {
        self.list.iter().map(|(connection, data)| (*connection, data))
    }

    fn read(&self, present: &Present<serde_json::Value>) -> Result<(ConnectionId, P)>
    where
        P: DeserializeOwned,
    {
        let data = P::deserialize(&present.data).map_err(|error| {
            let text =
                format!("the data of {} in {:?} does not fit: {error}", present.connection, self.place.name());
            Error::invalid_argument(text)
        })?;
        Ok((present.connection, data))
    }
}

impl<P: fmt::Debug> fmt::Debug for PresentList<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PresentList").field("place", &self.place).field("list", &self.list).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_follows_the_notices_of_its_place() {
        let mut list = PresentList::of(&Presence::<u32>::fixed("a"));
        let mut apply = |json: &str| {
            let applied = list.apply(&serde_json::from_str(json).unwrap());
            let applied = applied.map_err(|error| error.message().to_owned());
            (applied, list.iter().map(|(id, data)| (id.number, *data)).collect::<Vec<_>>())
        };
        let here = r#"{"name":"a","here":[{"connection":"0-1","data":1},{"connection":"0-2","data":2}]}"#;
        assert_eq!(apply(here), (Ok(true), vec![(1, 1), (2, 2)]));
        let joined = r#"{"name":"a","joined":[{"connection":"0-3","data":3}]}"#;
        assert_eq!(apply(joined), (Ok(true), vec![(1, 1), (2, 2), (3, 3)]));
        assert_eq!(apply(&joined.replace(r#""a""#, r#""b""#)).0, Ok(false));
        let changed = r#"{"name":"a","changed":[{"connection":"0-1","data":7}]}"#;
        assert_eq!(apply(changed).1, [(1, 7), (2, 2), (3, 3)]);
        assert_eq!(apply(r#"{"name":"a","left":["0-2","0-9"]}"#).1, [(1, 7), (3, 3)]);
        let (failed, after) = apply(r#"{"name":"a","here":[{"connection":"0-4","data":"x"}]}"#);
        assert!(failed.unwrap_err().starts_with(r#"the data of 0000000000000000-4 in "a" does not fit"#));
        assert_eq!(after, [(1, 7), (3, 3)]);
        assert_eq!(apply(r#"{"name":"a","here":[]}"#).1, []);
    }
}
