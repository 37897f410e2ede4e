//! The code of `docs/recipes`, one module each, with its tests.

#![allow(missing_docs, missing_debug_implementations, reason = "the documents explain it")]

pub mod ask;
pub mod jobs;
pub mod login;
pub mod rest;
pub mod rooms;
pub mod scaling;
pub mod shutdown;
pub mod uploads;
pub mod vite;
