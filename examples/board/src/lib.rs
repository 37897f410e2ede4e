//! A board of cards that several pages share.
//!
//! [`api`] has the names and types, [`Board`] the cards and what pages may do with them, [`Page`] the files of the page in
//! `web`.

pub mod api;
mod board;
mod feed;
mod page;

pub use board::Board;
pub use page::Page;

use realtime_core::Realtime;

/// Builds the registry.
pub fn realtime(board: Board) -> Realtime {
    Realtime::builder().endpoint("board", board.endpoint()).build()
}
