use base64::{
    Engine as _, alphabet,
    engine::{GeneralPurpose, GeneralPurposeConfig},
};
use sha1::{Digest as _, Sha1};

/// The value of `Sec-WebSocket-Accept` for a client's key (RFC 6455, section 4.2.2).
///
/// ```
/// assert_eq!(
///     realtime_core::websocket::accept_key("dGhlIHNhbXBsZSBub25jZQ=="),
///     "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
/// );
/// ```
pub fn accept_key(key: &str) -> String {
    let digest = Sha1::new().chain_update(key).chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize();
    base64::engine::general_purpose::STANDARD.encode(digest)
}

/// Whether this is a client's key: 16 bytes in base64.
pub(crate) fn is_key(key: &str) -> bool {
    KEY.decode(key).is_ok_and(|nonce| nonce.len() == 16)
}

/// The bits behind the last byte are not looked at: in the example of RFC 6455, section 4.1, they are not 0.
const KEY: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));
