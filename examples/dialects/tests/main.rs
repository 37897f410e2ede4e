//! The main as a process.

const MAIN: &str = env!("CARGO_BIN_EXE_dialects");

#[test]
fn a_port_that_is_taken_is_said_in_one_sentence() {
    example_address::says_that_the_port_is_taken(MAIN);
}

#[test]
fn the_address_is_printed_when_it_can_be_connected_to() {
    example_address::says_where_it_is(MAIN, "The server is at ws://");
}
