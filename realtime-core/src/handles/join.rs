use super::{Follow, Topic};
use crate::{calls::TopicOf, hub::Attendance};
use realtime_protocol::{Error, Presence, Result};
use serde::Serialize;
use std::fmt;

/// The topic that a subscription listens to, and the place that its client is present in meanwhile. Made by [`Topic::join`].
#[must_use = "it is returned to the endpoint"]
pub struct Join<T> {
    topic: Topic<T>,
    attendance: Option<Result<Attendance>>,
}

impl<T> Topic<T> {
    /// Listens to the topic, for a subscription of an [`Endpoint`](crate::Endpoint::topic).
    pub fn join(&self) -> Join<T> {
        Join { topic: self.clone(), attendance: None }
    }
}

impl<T> Join<T> {
    /// Makes the client [present](crate::AnyConnection::enter) in a place for as long as it is subscribed. If it has several
    /// subscriptions of one place, it leaves with the last.
    pub fn present<P: Serialize>(mut self, place: &Presence<P>, data: &P) -> Self {
        self.attendance = Some(attendance(place, data));
        self
    }

    pub(crate) fn into_erased(self) -> Result<TopicOf> {
        let (name, keeping) = (self.topic.name().to_owned(), self.topic.keeping());
        Ok(TopicOf { name, keeping, attendance: self.attendance.transpose()? })
    }
}

impl<T> From<Topic<T>> for Join<T> {
    fn from(topic: Topic<T>) -> Self {
        topic.join()
    }
}

impl<T> Follow<T> {
    /// Makes the client present in a place for as long as it is subscribed: see [`Join::present`].
    pub fn present<P: Serialize>(mut self, place: &Presence<P>, data: &P) -> Self {
        self.attendance = Some(attendance(place, data));
        self
    }
}

fn attendance<P: Serialize>(place: &Presence<P>, data: &P) -> Result<Attendance> {
    let data = serde_json::to_value(data).map_err(Error::internal)?;
    Ok(Attendance { place: place.name().into(), by_principal: place.is_by_principal(), data })
}

impl<T> fmt::Debug for Join<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Join").field("topic", &self.topic).finish_non_exhaustive()
    }
}
