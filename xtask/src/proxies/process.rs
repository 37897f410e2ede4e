//! Child processes that end with their handle.

use std::{
    fs::File,
    net::{Ipv4Addr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::command::{Outcome, program};

/// A listening server. Dropping it asks the process to end, so that it can end its own children, and kills it if it
/// does not.
pub(super) struct Server {
    child: Child,
    pub(super) port: u16,
}

impl Server {
    /// Starts a server and waits until it accepts connections; its output goes to the log.
    pub(super) fn start(command: &mut Command, port: u16, log: &Path) -> Outcome<Self> {
        let create = || File::create(log).map_err(|error| format!("{} can't be created: {error}", log.display()));
        let command = command.stdin(Stdio::null()).stdout(create()?).stderr(create()?);
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().map_err(|error| format!("{name} could not be started: {error}"))?;
        let mut server = Self { child, port };
        let end = Instant::now() + START;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if !server.is_running() || Instant::now() > end {
                let said = std::fs::read_to_string(log).unwrap_or_default();
                return Err(format!("{name} does not listen. Its output: {}", said.trim()));
            }
            thread::sleep(POLL);
        }
        Ok(server)
    }

    fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

const START: Duration = Duration::from_secs(30);
const END: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);

impl Drop for Server {
    fn drop(&mut self) {
        if self.is_running() {
            let _ = program("kill").arg(self.child.id().to_string()).status();
        }
        let end = Instant::now() + END;
        while self.is_running() && Instant::now() < end {
            thread::sleep(POLL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns a free port of the loopback interface.
pub(super) fn free_port() -> Outcome<u16> {
    free_port::free_port().map_err(|error| format!("there is no free port: {error}"))
}
