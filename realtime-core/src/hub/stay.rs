use super::Client;
use realtime_protocol::Result;
use serde_json::Value;
use std::sync::Arc;

/// Who is present in a place for as long as a subscription lasts.
#[derive(Debug)]
pub(crate) struct Attendance {
    pub(crate) place: Box<str>,
    pub(crate) by_principal: bool,
    pub(crate) data: Value,
}

/// The presence of a client on account of one subscription, until it is dropped. The client leaves with the last of those
/// that are of one place.
#[derive(Debug)]
pub(crate) struct Stay {
    client: Arc<Client>,
    place: Box<str>,
}

impl Stay {
    pub(crate) fn begin(client: &Arc<Client>, attendance: Attendance) -> Result<Self> {
        let Attendance { place, by_principal, data } = attendance;
        client.hub.enter(client, &place, by_principal, data)?;
        let mut stays = client.stays.lock();
        match stays.iter_mut().find(|(known, _)| *known == place) {
            Some((_, count)) => *count += 1,
            None => stays.push((place.clone(), 1)),
        }
        drop(stays);
        Ok(Self { client: Arc::clone(client), place })
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        let mut stays = self.client.stays.lock();
        let Some(at) = stays.iter().position(|(known, _)| *known == self.place) else { return };
        stays[at].1 -= 1;
        if stays[at].1 > 0 {
            return;
        }
        stays.swap_remove(at);
        drop(stays);
        self.client.hub.leave(&self.client, &self.place);
    }
}
