use super::{Carrier, Driver, input::Input};
use crate::{
    hub::{Place, Reading},
    session::turn::Turn,
};
use std::task::Context;

/// Messages that take more than a turn to inflate.
impl<T: Carrier> Driver<T> {
    /// Inflates a slice of a long message, once it has a place. Backpressure matters only when the message is whole,
    /// so that it does not occupy its place for longer than needed.
    #[cold]
    pub(super) fn poll_inflating(&mut self, cx: &mut Context<'_>, turn: &mut Turn) -> Option<bool> {
        if self.decoder.has_message() {
            return self.poll_inflated(cx, turn);
        }
        self.decoder.is_inflating().then(|| self.poll_slice(cx, turn))
    }

    fn poll_inflated(&mut self, cx: &mut Context<'_>, turn: &mut Turn) -> Option<bool> {
        if self.is_held() || self.is_behind() {
            return Some(false);
        }
        if !turn.is_over_for_input() {
            self.handle_bytes(cx, &mut [], turn);
        }
        Some(true)
    }

    fn poll_slice(&mut self, cx: &mut Context<'_>, turn: &mut Turn) -> bool {
        if self.input != Input::Open {
            // No one would receive the message.
            self.drop_inflating();
            return true;
        }
        let client = &self.session.client;
        let place = self.inflating.get_or_insert_with(|| Box::new(Place::new(&client.hub.inflating)));
        if place.poll_taken(cx).is_pending() {
            self.decoder.rewind_inflation();
            client.set_reading(Reading::Paused);
            return false;
        }
        client.set_reading(Reading::On);
        // Nothing is read meanwhile, so the silence is not the client's.
        client.saw_life();
        if !turn.is_over_for_input() {
            self.handle_bytes(cx, &mut [], turn);
        }
        if !self.decoder.is_inflating() {
            self.inflating = None;
        }
        true
    }

    pub(super) fn drop_inflating(&mut self) {
        self.decoder.drop_inflation();
        if self.inflating.take().is_some() {
            self.session.client.set_reading(Reading::On);
        }
    }
}
