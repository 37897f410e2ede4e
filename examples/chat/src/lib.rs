//! A chat with rooms, presence and typing.
//!
//! [`Chat`] is the whole logic, and knows no framework; the mains in `src/bin` mount it on one
//! each. What is said goes through its handler, and commands are procedures under the same id. `tests` has
//! tests of it in memory.

mod chat;
mod commands;
mod page;

pub use chat::{Chat, Event, Join, Person, Posted, Say};
pub use commands::{
    MEMBERS, RENAME, RENAMED, ROLL, ROLLED, Renamed, Rolled, SET_TOPIC, TOPIC_CHANGED, TopicChanged,
};
pub use page::{Site, asset};

use realtime_core::Realtime;

/// The registry of all mains.
pub fn realtime() -> Realtime {
    let chat = Chat::default();
    Realtime::builder().handler("chat", chat.clone()).endpoint("chat", chat.endpoint()).build()
}

/// Where the mains listen: on this machine, at `PORT` (3000 when it is not set). Says so.
pub fn address() -> String {
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();
    let address = format!("127.0.0.1:{}", std::env::var("PORT").as_deref().unwrap_or("3000"));
    #[expect(clippy::print_stdout, reason = "this is what the person who started it wants to know")]
    {
        println!("The chat is at http://{address}");
    }
    address
}
