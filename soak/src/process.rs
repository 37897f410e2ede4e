//! The figures of `/proc` about the server's process.

use crate::Outcome;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs;

/// Allows as many file descriptors as the system lets.
pub(crate) fn raise_file_limit() -> Outcome {
    let most = getrlimit(Resource::Nofile).maximum;
    Ok(setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most })?)
}

/// Returns the resident memory of a process, now.
pub(crate) fn resident(pid: u32) -> Outcome<u64> {
    status(pid, "VmRSS:")
}

/// Returns the most that it has been.
pub(crate) fn peak(pid: u32) -> Outcome<u64> {
    status(pid, "VmHWM:")
}

fn status(pid: u32, name: &str) -> Outcome<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such line")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()? * 1024)
}
