//! What the tests of all examples check of their mains.

use std::{
    io::{BufRead, BufReader},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
};

/// Starts a main on a port that is taken.
///
/// # Panics
///
/// If it does not exit with 1 and one sentence.
pub fn says_that_the_port_is_taken(main: &str) {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("it is bound");
    let ended = Command::new(main).env("PORT", address.port().to_string()).output().expect("it runs");
    let said = String::from_utf8(ended.stderr).expect("it is text");
    assert!(said.starts_with(&format!("Cannot listen on {address}: ")), "{main}: {said}");
    assert_eq!((said.lines().count(), ended.stdout.len(), ended.status.code()), (1, 0, Some(1)), "{main}");
}

/// Starts a main on a free port, and ends it.
///
/// # Panics
///
/// If its first line is not `before` and an address that can be connected to.
pub fn says_where_it_is(main: &str, before: &str) {
    let mut running = Command::new(main).env("PORT", "0").stdout(Stdio::piped()).spawn().expect("it runs");
    let mut said = String::new();
    let stdout = running.stdout.take().expect("it is a pipe");
    BufReader::new(stdout).read_line(&mut said).expect("it says where it is");
    let address = said.trim().strip_prefix(before).and_then(|rest| rest.split('/').next());
    let connected = address.map(TcpStream::connect);
    running.kill().and_then(|()| running.wait()).expect("it ran");
    assert!(matches!(connected, Some(Ok(_))), "{main}: {said}");
}
