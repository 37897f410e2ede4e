use http::StatusCode;
use serde::{Serialize, Serializer};
use std::time::Duration;

/// The answer of a node to the question whether new clients should be sent to it.
///
/// As JSON, with durations in milliseconds:
/// `{"ready":true,"shards":[{"heardMs":420.1,"p50Ms":0.4,"p99Ms":1.9,"state":"up"}],"alone":false,"draining":false}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Readiness {
    /// The node is not draining, and all shards of its broker bring what it publishes. Without a broker, and before the
    /// clock of the node runs, only the first counts.
    pub ready: bool,
    /// The parts of the broker; none without one.
    pub shards: Vec<ShardReadiness>,
    /// All other nodes have vanished while the broker works for this one. It stays ready: two halves of a cluster that
    /// do not see each other would otherwise both be taken out of service.
    pub alone: bool,
    /// The node closes its connections.
    pub draining: bool,
}

impl Readiness {
    /// Returns 200 if the node is ready, and 503 otherwise.
    pub fn status(&self) -> StatusCode {
        if self.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
    }

    /// Returns the answer as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// One shard of the broker, as the node's own beats find it: one is published every second, and has to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
#[serde(rename_all = "camelCase")]
pub struct ShardReadiness {
    /// The time since the newest beat that has come back was published; `None` before the first.
    #[serde(rename = "heardMs", serialize_with = "optional_millis")]
    pub heard: Option<Duration>,
    /// The median time from publishing a beat to its arrival, over the last 64 that came back.
    #[serde(rename = "p50Ms", serialize_with = "millis")]
    pub p50: Duration,
    /// The time that 99 % of them took at most.
    #[serde(rename = "p99Ms", serialize_with = "millis")]
    pub p99: Duration,
    /// The state.
    pub state: ShardState,
}

/// The state of a shard for one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum ShardState {
    /// The node has started less than 3 s ago, and has not heard its first beat.
    Starting,
    /// The last beats came back: on a topic within 3 s, through a log, if the broker has logs, within 8 s.
    Up,
    /// They did not.
    Down,
}

fn millis<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_micros() as f64 / 1000.0)
}

#[expect(clippy::ref_option, reason = "serde passes the field")]
fn optional_millis<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => millis(duration, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_readiness_as_json_has_milliseconds() {
        let shard = ShardReadiness {
            heard: Some(Duration::from_micros(420_100)),
            p50: Duration::from_micros(400),
            p99: Duration::from_micros(1900),
            state: ShardState::Up,
        };
        let fresh = ShardReadiness { heard: None, state: ShardState::Starting, ..shard };
        let readiness = Readiness { ready: false, shards: vec![shard, fresh], alone: false, draining: false };
        assert_eq!(readiness.status(), 503);
        assert_eq!(
            readiness.to_json(),
            concat!(
                r#"{"ready":false,"shards":[{"heardMs":420.1,"p50Ms":0.4,"p99Ms":1.9,"state":"up"},"#,
                r#"{"heardMs":null,"p50Ms":0.4,"p99Ms":1.9,"state":"starting"}],"alone":false,"draining":false}"#
            )
        );
    }
}
