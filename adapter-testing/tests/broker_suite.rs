//! The suite of brokers on the one in memory.

use adapter_testing::{block_on, broker_suite};
use realtime_core::MemoryBroker;

#[test]
fn the_broker_in_memory_passes_the_suite() {
    let first = MemoryBroker::new();
    block_on(broker_suite(async || first.join()));
}
