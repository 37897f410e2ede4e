//! A text is a position or it is not; one that is has one text and one form on the wire.

#![no_main]
#![forbid(unsafe_code)]

use libfuzzer_sys::fuzz_target;
use realtime_core::Position;

fuzz_target!(|text: &str| {
    let Ok(position) = text.parse::<Position>() else { return };
    assert!((1..=64).contains(&position.epoch.len()));
    let is_proof = |proof: &String| proof.len() <= 16 && proof.bytes().all(|byte| byte.is_ascii_alphanumeric());
    assert!(position.proof.as_ref().is_none_or(|proof| !proof.is_empty() && is_proof(proof)));
    // Zeros before the offset are all that may be lost.
    let written = position.to_string();
    assert_eq!(written.parse::<Position>().unwrap(), position);
    assert!(written.len() <= text.len());
    let json = serde_json::to_string(&position).unwrap();
    assert_eq!(serde_json::from_str::<Position>(&json).unwrap(), position);
});
