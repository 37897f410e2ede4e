//! Bytes of another node are a record or publication, or they are not; one that is is written as it was.

#![no_main]
#![forbid(unsafe_code)]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use realtime_core::broker::{Body, Proof, Publication};

fuzz_target!(|data: &[u8]| {
    let bytes = Bytes::copy_from_slice(data);
    if let Ok(body) = Body::decode(&bytes) {
        assert!(!body.entries.is_empty());
        assert_eq!(body.encode(), bytes);
    }
    if let Ok(publication) = Publication::decode(&bytes) {
        assert_eq!(publication.encode(), bytes);
    }
    if let Some(proof) = std::str::from_utf8(data).ok().and_then(|text| text.parse::<Proof>().ok()) {
        assert_eq!(proof.to_string().as_bytes(), data);
    }
});
