//! A board of cards that several pages share.
//!
//! [`api`] has the names and types, [`Board`] the cards and what pages may do with them, [`Page`] the files of the page in
//! `web`.

pub mod api;
mod board;
mod page;

pub use board::Board;
pub use page::Page;

use realtime_core::Realtime;

/// Builds the registry.
pub fn realtime() -> Realtime {
    let board = Board::default();
    Realtime::builder().endpoint("board", board.endpoint()).with_schema("board", SCHEMA.trim_ascii()).build()
}

/// The hash of [`api`]. A page that was built with another one is out of date, and says so.
const SCHEMA: &str = include_str!("../api.hash");
