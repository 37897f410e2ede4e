//! The setup of a bench process, and the figures of `/proc` about another process.

use crate::Outcome;
use rustix::{
    process::{Pid, Resource, Rlimit, Signal, getppid, getrlimit, set_parent_process_death_signal},
    process::{setpriority_process, setrlimit},
    thread::{CpuSet, sched_setaffinity},
};
use std::{collections::HashMap, env, fs, str::FromStr};

/// The variable for the core to run on; without it the process is not pinned.
pub const CORE: &str = "CORE";
/// The variable for the priority (`nice`), if permitted.
pub const NICE: &str = "NICE";
/// The variable for the process that this one must not outlive.
pub const RUNNER: &str = "RUNNER";

/// Applies the variables above and raises the limit of file descriptors. Call it before a second thread starts: a new
/// thread inherits the settings of its creator.
///
/// # Errors
///
/// A variable is not a number, or the core does not exist.
pub fn prepare() -> Outcome {
    if let Some(runner) = variable::<i32>(RUNNER)? {
        die_with(runner)?;
    }
    if let Some(core) = variable(CORE)? {
        let mut cores = CpuSet::new();
        cores.set(core);
        sched_setaffinity(None, &cores)?;
    }
    if let Some(nice) = variable(NICE)? {
        // Without permission, the current priority stays.
        let _ = setpriority_process(None, nice);
    }
    let most = getrlimit(Resource::Nofile).maximum;
    Ok(setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most })?)
}

/// Limits a number of connections to those that one process can hold: each takes a file descriptor.
pub fn connections_of(wanted: usize) -> usize {
    let most = getrlimit(Resource::Nofile).maximum.map_or(usize::MAX, |most| most as usize);
    wanted.min(most.saturating_sub(SPARE_FILES))
}

/// File descriptors for other purposes than connections.
const SPARE_FILES: usize = 256;

/// Returns the number in the variable, if it is set.
///
/// # Errors
///
/// It is not a number.
pub fn variable<T: FromStr>(name: &str) -> Outcome<Option<T>> {
    let Ok(text) = env::var(name) else {
        return Ok(None);
    };
    let number = text.parse().map_err(|_| format!("{name} is not a number: {text:?}"))?;
    Ok(Some(number))
}

fn die_with(runner: i32) -> Outcome {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The runner may have died before the signal was requested.
    if getppid().map(Pid::as_raw_pid) != Some(runner) {
        return Err("the runner is gone".into());
    }
    Ok(())
}

/// The CPU time of each thread, in nanoseconds.
#[derive(Clone, Debug, Default)]
pub struct CpuTime(HashMap<String, u64>);

impl CpuTime {
    /// Reads the CPU times up to now. Threads that have ended are missing.
    pub fn of(pid: u32) -> Self {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        let times = tasks.filter_map(|task| {
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            let nanoseconds = text.split_whitespace().next()?.parse().ok()?;
            Some((task.file_name().to_string_lossy().into_owned(), nanoseconds))
        });
        Self(times.collect())
    }

    /// Returns the CPU time used since then by all threads together, in seconds.
    pub fn since(&self, earlier: &Self) -> f64 {
        let used = self.0.iter().map(|(thread, now)| {
            let then = earlier.0.get(thread).copied().unwrap_or(0);
            now.saturating_sub(then)
        });
        used.sum::<u64>() as f64 / 1e9
    }
}

/// Returns the process's resident memory in bytes: `Rss` of `/proc/PID/smaps_rollup`.
pub fn resident_bytes(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// Returns the process's peak of resident memory in bytes: `VmHWM` of `/proc/PID/status`.
pub fn peak_bytes(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// Returns the CPU time in ticks: the user's, then the kernel's.
pub fn ticks(pid: u32) -> Option<(u64, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may contain anything, including spaces.
    let mut fields = text.rsplit(')').next()?.split_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}
