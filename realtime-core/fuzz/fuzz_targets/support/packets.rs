//! The invariants of a packet that its types do not express, in any form.

use realtime_core::{
    Error,
    protocol::{Packet, Value},
};

/// The functions of a form: read a value, send an error of a call and get it back, tell an error.
pub(crate) struct Form {
    pub(crate) read_value: fn(&Value<'_>),
    pub(crate) resent_error: fn(&str, &Error) -> String,
    pub(crate) tell: fn(&Error),
}

impl Form {
    pub(crate) fn check(&self, packet: Packet<'_>) {
        match packet {
            Packet::Message(value) => (self.read_value)(&value),
            Packet::Event { name, data } => {
                check_length(&name, 64);
                (self.read_value)(&data);
            }
            Packet::Ping => {}
            Packet::Call { id, path, input, key, .. } => {
                check_length(&id, 64);
                check_path(&path);
                key.iter().for_each(|key| check_length(key, 128));
                (self.read_value)(&input);
            }
            Packet::Subscribe { id, path, input, after, .. } => {
                check_length(&id, 64);
                check_path(&path);
                after.iter().for_each(|after| check_length(&after.epoch, 64));
                after.iter().flat_map(|after| &after.proof).for_each(|proof| check_length(proof, 16));
                (self.read_value)(&input);
            }
            Packet::Cancel { id } | Packet::Unsubscribe { id } | Packet::Credit { id, .. } => {
                check_length(&id, 64)
            }
            Packet::Reply { id, data } => {
                check_length(&id, 64);
                (self.read_value)(&data);
            }
            Packet::Error { id, error } => {
                check_length(&id, 64);
                assert_eq!((self.resent_error)(&id, &error), error.to_string());
            }
            Packet::Invalid { id, error } => {
                check_length(&id, 64);
                (self.tell)(&error);
            }
            packet => panic!("{packet:?} is not of this format"),
        }
    }
}

fn check_length(text: &str, most: usize) {
    assert!((1..=most).contains(&text.len()), "{text:?}");
}

fn check_path(path: &str) {
    check_length(path, 256);
    assert!(path.split('.').all(|part| !part.is_empty()), "{path:?}");
}
