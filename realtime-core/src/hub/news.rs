use super::presence::{ENTRY_BYTES, memory_of};
use realtime_protocol::{ConnectionId, PresenceNotice, Present};
use serde_json::Value;

/// The changes that the members of a place are told.
#[derive(Debug, Default, PartialEq)]
pub(super) struct News {
    pub(super) left: Vec<ConnectionId>,
    pub(super) changed: Vec<Present<Value>>,
    pub(super) joined: Vec<Present<Value>>,
}

/// Bytes of the entries that members are told of at a time: less than the share of an outbox that one message may take.
const NOTICE_BYTES: usize = 32 * 1024;

/// Ids of those who have left that members are told at a time.
const NOTICE_IDS: usize = 1024;

impl News {
    /// Returns the notices, each of which says one thing.
    pub(super) fn notices(self, place: &str) -> Vec<PresenceNotice> {
        let of = |set: fn(&mut PresenceNotice) -> &mut Vec<Present<Value>>, list| {
            in_parts(list).map(move |part| {
                let mut notice = PresenceNotice::new(place);
                *set(&mut notice) = part;
                notice
            })
        };
        let left = self.left.chunks(NOTICE_IDS).map(|ids| {
            let mut notice = PresenceNotice::new(place);
            notice.left = ids.to_vec();
            notice
        });
        left.chain(of(|notice| &mut notice.changed, self.changed))
            .chain(of(|notice| &mut notice.joined, self.joined))
            .collect()
    }
}

/// Divides entries into parts of a bounded size.
fn in_parts(list: Vec<Present<Value>>) -> impl Iterator<Item = Vec<Present<Value>>> {
    let mut list = list.into_iter().peekable();
    std::iter::from_fn(move || {
        let (mut part, mut bytes) = (Vec::new(), 0);
        while bytes < NOTICE_BYTES
            && let Some(present) = list.next()
        {
            bytes += ENTRY_BYTES + memory_of(&present.data);
            part.push(present);
        }
        Some(part).filter(|part| !part.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn news_of_many_are_told_in_parts() {
        let id = |number| ConnectionId { node: 7, number };
        let present = |number| Present::new(id(number), json!("x".repeat(1000)));
        let news = News {
            left: (0..2500).map(id).collect(),
            changed: Vec::new(),
            joined: (0..100).map(present).collect(),
        };
        let notices = news.notices("room");
        let sizes: Vec<_> = notices.iter().map(|notice| (notice.left.len(), notice.joined.len())).collect();
        assert_eq!(sizes, [(1024, 0), (1024, 0), (452, 0), (0, 30), (0, 30), (0, 30), (0, 10)]);
    }
}
