//! Ports for the processes that tests and examples start, which cannot say on which port they listen.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    io,
    net::{Ipv4Addr, TcpListener},
    ops::Range,
    sync::{
        LazyLock,
        atomic::{AtomicU16, Ordering::Relaxed},
    },
};

/// Below what systems give to connections and to port 0 (Linux from 32768, others from 49152): no connection takes a
/// port between the call and the start of its process, or while the process is down and started again.
const PORTS: Range<u16> = 10_000..32_768;

/// A random place for each process, so that two that look at the same time find different ports.
static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| {
    let random = RandomState::new().hash_one(std::process::id()) % u64::from(PORTS.end - PORTS.start);
    AtomicU16::new(u16::try_from(random).unwrap_or_default())
});

/// Returns a port of 127.0.0.1 on which nothing listens, another one with each call of this process.
///
/// # Errors
///
/// If a thousand ports in a row are taken; says so of the last one.
pub fn free_port() -> io::Result<u16> {
    let mut found = Err(io::ErrorKind::AddrInUse.into());
    for _ in 0..1000 {
        let port = PORTS.start + NEXT.fetch_add(1, Relaxed) % (PORTS.end - PORTS.start);
        found = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map(|_| port);
        if found.is_ok() {
            return found;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_returns_another_free_port_that_no_connection_takes() {
        let ports: Vec<u16> = (0..100).map(|_| free_port().unwrap()).collect();
        let mut different = ports.clone();
        different.sort_unstable();
        different.dedup();
        assert_eq!(different.len(), ports.len());
        for port in ports {
            assert!(PORTS.contains(&port));
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        }
    }

    #[test]
    fn a_port_on_which_something_listens_is_passed_over() {
        let port = free_port().unwrap();
        // The next ones, where they can be taken.
        let taken: Vec<_> =
            (port + 1..port + 20).filter_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()).collect();
        let next = free_port().unwrap();
        assert!(taken.iter().all(|taken| taken.local_addr().unwrap().port() != next));
    }
}
