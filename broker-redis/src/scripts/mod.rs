//! The scripts that run in the server. Each is sent by its hash, and loaded on every new connection.

use realtime_protocol::internal::sha1;
use redis::{Cmd, Pipeline, cmd};
use std::sync::LazyLock;

/// A script and its hash, by which the server knows it.
pub(crate) struct Script {
    text: &'static str,
    sha: String,
}

pub(crate) static APPEND: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("append.lua")));
pub(crate) static READ: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("read.lua")));
pub(crate) static CLAIM: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("claim.lua")));
pub(crate) static RIGHTS: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("rights.lua")));
pub(crate) static SETTLE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("settle.lua")));

/// Adds commands that load all scripts.
pub(crate) fn load(pipe: &mut Pipeline) {
    for script in [&APPEND, &READ, &CLAIM, &SETTLE, &RIGHTS] {
        pipe.cmd("SCRIPT").arg("LOAD").arg(script.text);
    }
}

impl Script {
    fn new(text: &'static str) -> Self {
        let sha = sha1(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        Self { text, sha }
    }

    /// Begins the command that runs it on these keys.
    pub(crate) fn on(&self, keys: &[&str]) -> Cmd {
        let mut command = cmd("EVALSHA");
        command.arg(&self.sha).arg(keys.len()).arg(keys);
        command
    }
}
