//! The mains as processes.

use std::{
    io::{BufRead, BufReader},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
};

const MAINS: [&str; 5] = [
    env!("CARGO_BIN_EXE_chat"),
    env!("CARGO_BIN_EXE_chat-actix"),
    env!("CARGO_BIN_EXE_chat-async-std"),
    env!("CARGO_BIN_EXE_chat-hyper"),
    env!("CARGO_BIN_EXE_chat-smol"),
];

#[test]
fn a_port_that_is_taken_is_said_in_one_sentence() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("it is bound");
    for main in MAINS {
        let ended = Command::new(main).env("PORT", address.port().to_string()).output().expect("it runs");
        let said = String::from_utf8(ended.stderr).expect("it is text");
        assert!(said.starts_with(&format!("Cannot listen on {address}: ")), "{main}: {said}");
        assert_eq!((said.lines().count(), ended.stdout.len(), ended.status.code()), (1, 0, Some(1)), "{main}");
    }
}

#[test]
fn the_address_is_printed_when_it_can_be_connected_to() {
    for main in MAINS {
        let mut running = Command::new(main).env("PORT", "0").stdout(Stdio::piped()).spawn().expect("it runs");
        let mut said = String::new();
        let stdout = running.stdout.take().expect("it is a pipe");
        BufReader::new(stdout).read_line(&mut said).expect("it says where it is");
        let address = said.trim().strip_prefix("The chat is at http://");
        let connected = address.map(TcpStream::connect);
        running.kill().and_then(|()| running.wait()).expect("it ran");
        assert!(matches!(connected, Some(Ok(_))), "{main}: {said}");
    }
}
