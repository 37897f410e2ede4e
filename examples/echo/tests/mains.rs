//! The mains as processes.

const MAINS: [&str; 5] = [
    env!("CARGO_BIN_EXE_echo-actix"),
    env!("CARGO_BIN_EXE_echo-async-std"),
    env!("CARGO_BIN_EXE_echo-axum"),
    env!("CARGO_BIN_EXE_echo-hyper"),
    env!("CARGO_BIN_EXE_echo-smol"),
];

#[test]
fn a_port_that_is_taken_is_said_in_one_sentence() {
    MAINS.iter().for_each(|main| example_address::says_that_the_port_is_taken(main));
}

#[test]
fn the_address_is_printed_when_it_can_be_connected_to() {
    MAINS.iter().for_each(|main| example_address::says_where_it_is(main, "The echo is at ws://"));
}
