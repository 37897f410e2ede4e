//! The messages between the nodes themselves, as JSON. A message that a node does not know is logged and ignored, so that
//! a later release may add some.

use super::CONTROL;
use crate::{hub::topics::Name, seams::Publication};
use bytes::Bytes;
use realtime_protocol::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A message of a node.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Message {
    /// Random bits of the process: a node that has started again has others.
    pub(super) life: u64,
    pub(super) says: Says,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Says {
    /// It lives.
    Beat(Beat),
    /// Clients have come, changed or gone.
    Changes(Changes),
    /// It needs the whole list of the node to which this is addressed.
    Ask,
    /// A part of its whole list.
    Part(Part),
    /// It is drained, and says nothing more.
    Gone,
    /// Principals were revoked on it: the first that some node has not confirmed.
    Revoke(Revoke),
    /// It has done what was revoked on the node to which this is addressed.
    Revoked(Confirmed),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Beat {
    pub(super) number: u64,
    /// Its list of present clients.
    pub(super) list: Summary,
    /// The topic of this beat is that of its changes too, so that they arrive in order.
    pub(super) carries: bool,
}

/// A list in numbers. Two of the same are equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Summary {
    /// The number of the last change.
    pub(super) number: u64,
    /// The number of entries.
    pub(super) count: u64,
    /// The sum of their tags, without overflow.
    pub(super) tags: u64,
}

impl Summary {
    /// Counts that the entry with the tag `before` became that with the tag `after`; 0 is no entry.
    pub(super) fn replace(&mut self, before: u64, after: u64) {
        self.count = self.count.wrapping_add((after != 0).into()).wrapping_sub((before != 0).into());
        self.tags = self.tags.wrapping_add(after).wrapping_sub(before);
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Changes {
    /// One more than that of the changes before.
    pub(super) number: u64,
    pub(super) changes: Vec<Change>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Part {
    /// The number of the last changes that it includes.
    pub(super) number: u64,
    /// The place of this part among all `parts`, from 0 on.
    pub(super) part: u32,
    pub(super) parts: u32,
    pub(super) entries: Vec<Change>,
}

/// The state of one client in one place.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Change {
    pub(super) place: String,
    /// The number of the connection on its node.
    pub(super) id: u64,
    /// Absent if it has left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) entry: Option<Tagged>,
}

/// The data of a client, and what names this version of it among all of its node; never 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::hub) struct Tagged {
    pub(in crate::hub) tag: u64,
    pub(in crate::hub) data: Value,
    /// Absent if it is present for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::hub) user: Option<User>,
}

/// The user for whom a client is present.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::hub) struct User {
    pub(in crate::hub) name: String,
    /// More than that of every entry of the user that was known when its data was set.
    pub(in crate::hub) version: u64,
}

/// Revocations, in order and without a gap.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Revoke {
    /// The number of the oldest that the node still tells.
    pub(super) oldest: u64,
    pub(super) revocations: Vec<Revocation>,
}

/// A principal was revoked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Revocation {
    /// One more than that of the revocation before.
    pub(super) number: u64,
    pub(super) principal: String,
    /// Absent if it is revoked from everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) from: Option<RevokedFrom>,
    /// The milliseconds since then, for a node that has started later.
    #[serde(default)]
    pub(super) age: u64,
}

/// The topic or feed from which a principal is revoked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RevokedFrom {
    Topic(String),
    Feed(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Confirmed {
    /// The life of the node that has revoked.
    pub(super) life: u64,
    /// The number of its last revocation that is done.
    pub(super) number: u64,
}

/// The bytes of changes or entries that go into one message: as much as a broker carries without trouble.
pub(super) const MESSAGE_BYTES: usize = 48 * 1024;

/// The most parts of a list.
const PARTS: u32 = 1 << 16;

impl Message {
    pub(super) fn encode(&self) -> Result<Bytes> {
        Ok(serde_json::to_vec(self)?.into())
    }

    /// Makes a publication of it; one with a key replaces an earlier one that still waits.
    pub(super) fn to(&self, node: u64, topic: &str, key: Option<&str>) -> Result<Publication> {
        let publication = Publication::new(node, topic.to_owned(), self.encode()?, None, Vec::new());
        Ok(match key {
            Some(key) => publication.with_key(key.to_owned()),
            None => publication,
        })
    }

    /// Reads a message of another node.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` if it is none, or has something that no node writes.
    pub(super) fn decode(json: &[u8]) -> Result<Self> {
        let message: Self = serde_json::from_slice(json)
            .map_err(|error| Error::invalid_argument(unreadable(json.len(), &error)))?;
        match &message.says {
            Says::Beat(Beat { list: Summary { number, .. }, .. }) => check_number(*number)?,
            Says::Changes(Changes { number, changes }) => check_number(*number).and_then(|()| check(changes))?,
            Says::Part(Part { part, parts, .. }) if *parts > PARTS || part >= parts => {
                return Err(Error::invalid_argument(format!("part {part} of {parts} of a list")));
            }
            Says::Part(Part { number, entries, .. }) => check_number(*number).and_then(|()| check(entries))?,
            Says::Revoke(Revoke { oldest, revocations }) => {
                check_number(*oldest)?;
                revocations.iter().try_for_each(Revocation::check)?;
            }
            Says::Revoked(confirmed) => check_number(confirmed.number)?,
            Says::Ask | Says::Gone => {}
        }
        Ok(message)
    }
}

impl RevokedFrom {
    pub(super) fn name(&self) -> &str {
        let (Self::Topic(name) | Self::Feed(name)) = self;
        name
    }
}

impl Revocation {
    fn check(&self) -> Result {
        check_number(self.number)?;
        check_principal(&self.principal)?;
        self.from.as_ref().map_or(Ok(()), |from| Name::Topic(from.name()).check())
    }
}

/// The most bytes of a principal that other nodes are told of: as many as servers take in a header.
const PRINCIPAL_BYTES: usize = 8 * 1024;

/// Checks that other nodes can be told of a principal.
pub(in crate::hub) fn check_principal(name: &str) -> Result {
    let bytes = name.len();
    if bytes > PRINCIPAL_BYTES {
        let text = format!("a principal of {bytes} bytes: other nodes are told of up to {PRINCIPAL_BYTES}");
        return Err(Error::invalid_argument(text));
    }
    Ok(())
}

/// Says why a message is not read: errors may have parts of it, of any length.
fn unreadable(bytes: usize, error: &serde_json::Error) -> String {
    let reason: String = error.to_string().chars().take(REASON).collect();
    format!("a message between nodes, of {bytes} bytes: {reason}")
}

/// Characters of an error that are logged.
const REASON: usize = 200;

/// The highest number of a change, revocation or version: one more fits, and no node gets there.
const NUMBER: u64 = u64::MAX / 2;

fn check_number(number: u64) -> Result {
    if number > NUMBER {
        return Err(Error::invalid_argument(format!("the number {number}, to which no node counts")));
    }
    Ok(())
}

fn check(changes: &[Change]) -> Result {
    changes.iter().try_for_each(|change| {
        Name::Place(&change.place).check()?;
        let Some(entry) = &change.entry else { return Ok(()) };
        if entry.tag == 0 {
            return Err(Error::invalid_argument("an entry with the tag 0"));
        }
        let Some(user) = &entry.user else { return Ok(()) };
        check_number(user.version)?;
        check_principal(&user.name)
    })
}

/// Returns true for a name of the library's own: no topic or feed of an application may have it.
pub(in crate::hub) fn is_reserved(name: &str) -> bool {
    name.starts_with(CONTROL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let change = |entry| Change { place: "room".into(), id: 7, entry };
        let nothing = Tagged { tag: u64::MAX, data: Value::Null, user: None };
        let of_ann = Tagged { user: Some(User { name: "ann".into(), version: NUMBER }), ..nothing.clone() };
        let changes = vec![change(None), change(Some(nothing)), change(Some(of_ann))];
        let says = [
            Says::Beat(Beat { number: 3, list: Summary { number: 2, count: 1, tags: 9 }, carries: true }),
            Says::Changes(Changes { number: 2, changes }),
            Says::Ask,
            Says::Part(Part { number: 2, part: 0, parts: 1, entries: Vec::new() }),
            Says::Gone,
            Says::Revoke(Revoke {
                oldest: 1,
                revocations: vec![
                    Revocation { number: 1, principal: "ann".into(), from: None, age: 0 },
                    Revocation {
                        number: 2,
                        principal: "\n".into(),
                        from: Some(RevokedFrom::Topic("a".into())),
                        age: 1,
                    },
                    Revocation {
                        number: NUMBER,
                        principal: "".into(),
                        from: Some(RevokedFrom::Feed("a".into())),
                        age: u64::MAX,
                    },
                ],
            }),
            Says::Revoked(Confirmed { life: 7, number: 2 }),
        ];
        for says in says {
            let message = Message { life: u64::MAX, says };
            assert_eq!(Message::decode(&message.encode().unwrap()).unwrap(), message);
        }
    }

    #[test]
    fn what_no_node_writes_is_refused() {
        let entry = |place: &str, tag| json!({ "place": place, "id": 1, "entry": { "tag": tag, "data": 1 } });
        let part = |part, parts| json!({ "part": { "number": 1, "part": part, "parts": parts, "entries": [] } });
        let changes = |change| json!({ "changes": { "number": 1, "changes": [change] } });
        let list = |number: u64| json!({ "number": number, "count": 0, "tags": 0 });
        let beat = |number| json!({ "beat": { "number": 1, "list": list(number), "carries": true } });
        let revoke = |one| json!({ "revoke": { "oldest": 1, "revocations": [one] } });
        let user = json!({ "name": "ann", "version": u64::MAX });
        let of_user = json!({ "place": "room", "id": 1, "entry": { "tag": 1, "data": 1, "user": user } });
        let numbered = [
            changes(of_user.clone()),
            json!({ "part": { "number": 1, "part": 0, "parts": 1, "entries": [of_user] } }),
            beat(u64::MAX),
            beat(NUMBER + 1),
            json!({ "changes": { "number": u64::MAX, "changes": [] } }),
            json!({ "part": { "number": u64::MAX, "part": 0, "parts": 1, "entries": [] } }),
            revoke(json!({ "number": u64::MAX, "principal": "ann" })),
            json!({ "revoke": { "oldest": u64::MAX, "revocations": [] } }),
            json!({ "revoked": { "life": 1, "number": u64::MAX } }),
        ];
        for says in numbered {
            let error = Message::decode(json!({ "life": 1, "says": says }).to_string().as_bytes()).unwrap_err();
            assert!(error.message().contains("to which no node counts"), "{error:?}");
        }
        assert!(Message::decode(json!({ "life": 1, "says": beat(NUMBER) }).to_string().as_bytes()).is_ok());
        let long = "x".repeat(PRINCIPAL_BYTES + 1);
        let topic = "t".repeat(257);
        let user = json!({ "name": long, "version": 1 });
        let of_user = json!({ "place": "room", "id": 1, "entry": { "tag": 1, "data": 1, "user": user } });
        for (says, what) in [
            (revoke(json!({ "number": 1, "principal": long })), "a principal of 8193 bytes"),
            (changes(of_user), "a principal of 8193 bytes"),
            (
                revoke(json!({ "number": 1, "principal": "ann", "from": { "topic": topic } })),
                "a topic name of 257 bytes",
            ),
            (revoke(json!({ "number": 1, "principal": "ann", "from": { "feed": "\n" } })), "a control character"),
        ] {
            let error = Message::decode(json!({ "life": 1, "says": says }).to_string().as_bytes()).unwrap_err();
            assert!(error.message().contains(what), "{error:?}");
        }
        let cases = [
            json!({ "says": "gone" }),
            json!({ "life": 1, "says": "something_later" }),
            json!({ "life": 1, "says": part(1, 1) }),
            json!({ "life": 1, "says": part(0, PARTS + 1) }),
            json!({ "life": 1, "says": changes(entry("", 1)) }),
            json!({ "life": 1, "says": changes(entry("room", 0)) }),
            json!({ "life": -1, "says": "gone" }),
        ];
        for case in cases {
            assert!(Message::decode(case.to_string().as_bytes()).is_err(), "{case}");
        }
        assert!(Message::decode(b"\xff").is_err());
        let unknown = json!({ "life": 1, "says": "x".repeat(100_000) }).to_string();
        let error = Message::decode(unknown.as_bytes()).unwrap_err();
        let (says, bytes) = (error.message(), unknown.len());
        assert!(says.contains(&format!("of {bytes} bytes: unknown variant")) && says.len() < 300, "{says}");
        assert!(
            Message::decode(json!({ "life": 1, "says": changes(entry("room", 1)) }).to_string().as_bytes())
                .is_ok()
        );
    }

    #[test]
    fn a_summary_counts_entries_and_their_tags() {
        let mut list = Summary::default();
        list.replace(0, u64::MAX);
        list.replace(0, 5);
        list.replace(u64::MAX, 7);
        assert_eq!((list.count, list.tags), (2, 12));
        list.replace(5, 0);
        assert_eq!((list.count, list.tags), (1, 7));
    }
}
