use realtime_core::broker::Source;
use std::ops::Range;

/// The names of keys and channels, and the partitions that they are in.
///
/// A name is `prefix:{tag}:kind:name`. The tag stands for the partition; it alone decides on the slot in a cluster, so
/// all that belongs to a feed is on one server.
#[derive(Debug)]
pub(crate) struct Names {
    prefix: String,
    tags: Vec<String>,
}

/// What is stored or sent under a name. Its letter stands in the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The channel of the publications of a topic.
    Topic,
    /// The channel of the records of a feed.
    Log,
    /// The string with the end of a log.
    End,
    /// The stream of the records of a log.
    Stream,
    Claim,
}

/// Slots of a cluster.
pub(crate) const SLOTS: usize = 16_384;

impl Names {
    pub(crate) fn new(prefix: &str, partitions: usize) -> Self {
        let tags = (0..partitions).map(|partition| tag(partition, partitions)).collect();
        Self { prefix: prefix.to_owned(), tags }
    }

    /// Returns the number of partitions.
    pub(crate) fn partitions(&self) -> usize {
        self.tags.len()
    }

    pub(crate) fn partition(&self, name: &str) -> usize {
        (hash(name.as_bytes()) % self.tags.len() as u64) as usize
    }

    pub(crate) fn slot(&self, partition: usize) -> u16 {
        slot(&self.tags[partition])
    }

    /// Returns the name of a key or channel.
    pub(crate) fn of(&self, kind: Kind, name: &str) -> String {
        let tag = &self.tags[self.partition(name)];
        [&self.prefix, ":{", tag, "}:", kind.letter(), ":", name].concat()
    }

    pub(crate) fn channel(&self, of: Source, topic: &str) -> String {
        let kind = match of {
            Source::Topic => Kind::Topic,
            Source::Log => Kind::Log,
        };
        self.of(kind, topic)
    }

    /// Returns what is sent on a channel, and the name of the topic or feed; nothing if it is not one of ours.
    pub(crate) fn read_channel<'a>(&self, channel: &'a str) -> Option<(Source, &'a str)> {
        let rest = channel.strip_prefix(&*self.prefix)?.strip_prefix(":{")?;
        let (_, rest) = rest.split_once("}:")?;
        let (letter, topic) = rest.split_once(':')?;
        match letter {
            "t" => Some((Source::Topic, topic)),
            "l" => Some((Source::Log, topic)),
            _ => None,
        }
    }
}

impl Kind {
    fn letter(self) -> &'static str {
        match self {
            Self::Topic => "t",
            Self::Log => "l",
            Self::End => "e",
            Self::Stream => "s",
            Self::Claim => "c",
        }
    }
}

/// Returns a tag whose slot lies in this partition's share of all slots, so that masters, which own ranges of slots,
/// own about as many partitions each.
fn tag(partition: usize, partitions: usize) -> String {
    let share = share(partition, partitions);
    let mut candidates = (0..).map(|number: u32| format!("p{partition}-{number}"));
    candidates.find(|tag| share.contains(&usize::from(slot(tag)))).unwrap_or_default()
}

fn share(partition: usize, partitions: usize) -> Range<usize> {
    SLOTS * partition / partitions..SLOTS * (partition + 1) / partitions
}

fn slot(tag: &str) -> u16 {
    crc16(tag.as_bytes()) % SLOTS as u16
}

/// CRC-16/XMODEM, by which a cluster assigns keys to slots.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(
            crc ^ u16::from(*byte) << 8,
            |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 },
        )
    })
}

/// FNV-1a: all nodes must agree, whatever their release.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_a_cluster() {
        // CLUSTER KEYSLOT
        assert_eq!(slot("123456789"), 12_739);
        assert_eq!(slot("foo"), 12_182);
    }

    #[test]
    fn partitions_are_spread_over_all_slots_in_order() {
        for partitions in [1, 3, 64, 1024] {
            let names = Names::new("app", partitions);
            for partition in 0..partitions {
                assert!(share(partition, partitions).contains(&usize::from(names.slot(partition))));
            }
        }
    }

    #[test]
    fn a_name_is_in_the_same_partition_in_every_release() {
        let names = Names::new("app", 64);
        assert_eq!(names.of(Kind::Stream, "board:7"), "app:{p28-53}:s:board:7");
    }

    #[test]
    fn a_channel_is_read_as_it_was_named() {
        let names = Names::new("app", 64);
        for topic in ["news", "a:b", "{x}:l:y", "", "}:t:"] {
            for of in [Source::Topic, Source::Log] {
                let channel = names.channel(of, topic);
                assert_eq!(names.read_channel(&channel), Some((of, topic)));
            }
        }
        for other in ["", "app", "app:{p1}:s:x", "other:{p1}:t:x", "app:{p1"] {
            assert_eq!(names.read_channel(other), None);
        }
    }
}
