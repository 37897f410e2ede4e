use crate::ErrorFrame;
use realtime_core::{Gap, Position, raw::Offset};
use serde::{Deserialize, Serialize};

/// What a client sends, but for messages.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase", rename_all_fields = "camelCase")]
pub(crate) enum Packet<T> {
    Event {
        name: &'static str,
        data: T,
    },
    Call {
        id: String,
        path: String,
        input: T,
        #[serde(skip_serializing_if = "Option::is_none")]
        timeout_ms: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        idempotency_key: Option<String>,
    },
    Cancel {
        id: String,
    },
    Subscribe {
        id: String,
        path: String,
        input: T,
        #[serde(skip_serializing_if = "Option::is_none")]
        after: Option<Position>,
        #[serde(skip_serializing_if = "Option::is_none")]
        credit: Option<u32>,
    },
    Credit {
        id: String,
        more: u32,
    },
    Unsubscribe {
        id: String,
    },
    Result {
        id: String,
        data: T,
    },
    Error {
        id: String,
        error: T,
    },
}

/// What tells for whom a frame of the server is. A field that is no text is one that is left out: types and fields may
/// come that are not known here.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) kind: String,
    pub(crate) id: Option<String>,
    path: Option<String>,
    name: Option<String>,
}

impl Head {
    /// From the frame's fields, where they are text; `None` without a type.
    pub(crate) fn read(text: impl Fn(&str) -> Option<String>) -> Option<Self> {
        Some(Self { kind: text("type")?, id: text("id"), path: text("path"), name: text("name") })
    }

    pub(crate) fn is(&self, kind: &str) -> bool {
        self.kind == kind
    }

    /// Whether it is about this call or subscription.
    pub(crate) fn is_of(&self, id: &str) -> bool {
        self.id.as_deref() == Some(id)
    }

    /// Whether it is an error of the connection, and of no call.
    pub(crate) fn is_error(&self) -> bool {
        self.is("error") && self.id.is_none()
    }

    pub(crate) fn is_event(&self, name: &str) -> bool {
        self.is("event") && self.name.as_deref() == Some(name)
    }

    pub(crate) fn is_call(&self, path: &str) -> bool {
        self.is("call") && self.path.as_deref() == Some(path)
    }

    /// Whether it is about a topic, and not about a subscription.
    pub(crate) fn is_gap(&self) -> bool {
        self.is("gap") && self.id.is_none()
    }
}

#[derive(Deserialize)]
pub(crate) struct Message<T> {
    pub(crate) value: T,
}

/// An event, a result, a progress report, or an item of a subscription.
#[derive(Deserialize)]
pub(crate) struct Data<T> {
    pub(crate) data: T,
    offset: Option<serde_json::Value>,
    epoch: Option<serde_json::Value>,
}

impl<T> Data<T> {
    pub(crate) fn position(&self) -> Option<Position> {
        let Offset(offset) = Offset::deserialize(self.offset.as_ref()?).ok()?;
        Some(Position::new(self.epoch.as_ref()?.as_str()?, offset))
    }
}

#[derive(Deserialize)]
pub(crate) struct Failure {
    pub(crate) error: ErrorFrame,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServerCall<T> {
    pub(crate) id: String,
    pub(crate) input: T,
    pub(crate) timeout_ms: u64,
}

#[derive(Deserialize)]
pub(crate) struct TopicGap {
    pub(crate) topic: String,
    #[serde(flatten)]
    pub(crate) gap: Gap,
}
