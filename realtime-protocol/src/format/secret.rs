use std::fmt;

/// A value that must not be printed, such as a token.
#[derive(Clone, Copy)]
pub struct Secret<T>(pub T);

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Json, Packet, Protocol};
    use crate::{Data, client::Outgoing};

    #[test]
    fn a_token_is_not_printed() {
        let frame = Data::Text(r#"{"type":"authenticate","token":"hush"}"#.into());
        let Ok(packet) = Json.decode(&frame) else { panic!("unreadable") };
        let Packet::Authenticate { token } = &packet else { panic!("another frame") };
        assert_eq!(token.0, "hush");
        let outgoing = Outgoing::Authenticate { token: super::Secret("hush") };
        for printed in [format!("{packet:?}"), format!("{outgoing:?}")] {
            assert!(!printed.contains("hush"), "{printed}");
        }
    }
}
