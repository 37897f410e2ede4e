#![doc = include_str!("../README.md")]

mod broker;
mod budget;
mod claims;
mod find;
mod inbox;
mod link;
mod log;
mod login;
mod master;
mod moves;
mod names;
mod publish;
mod push;
mod record;
mod rights;
mod scripts;
mod server;
mod settings;
mod state;
mod subscribe;
mod thread;
mod trouble;
mod wanted;

pub use broker::RedisBroker;
pub use settings::Redis;
