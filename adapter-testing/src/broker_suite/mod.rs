//! The suite that every broker passes.

mod claims;
mod logs;
mod node;
mod retries;
mod topics;

pub use node::BrokerNode;

use realtime_core::Broker;

/// Runs the suite of brokers: what [`Broker`] and its types promise, as far as the broker's
/// [`abilities`](Broker::abilities) go. `join` adds a node to one cluster. The names in it are new in each run.
///
/// # Panics
///
/// If a promise is broken; the backtrace names the case.
///
/// ```
/// use realtime_core::MemoryBroker;
///
/// let first = MemoryBroker::new();
/// adapter_testing::block_on(adapter_testing::broker_suite(async || first.join()));
/// ```
pub async fn broker_suite<B: Broker>(join: impl AsyncFn() -> B) {
    let (first, second) = (BrokerNode::new(join().await), BrokerNode::new(join().await));
    topics::publications_arrive_in_order_and_unchanged(&first, &second).await;
    topics::a_node_is_brought_its_own_publications(&first).await;
    topics::what_is_not_followed_any_more_does_not_come(&first, &second).await;
    topics::any_name_and_any_size_arrive(&first, &second).await;
    topics::shards_are_stable_and_below_their_number(&first);
    let abilities = first.broker.abilities();
    if abilities.logs {
        topics::a_topic_and_a_feed_of_one_name_are_two(&first, &second).await;
        logs::positions_follow_each_other_and_their_proofs_chain(&first, &second).await;
        logs::a_log_is_read_from_each_offset(&first).await;
        logs::a_page_keeps_to_its_limit(&first).await;
        logs::a_log_that_was_never_appended_to_is_empty(&first).await;
        logs::tops_are_those_of_the_logs_asked_for(&first).await;
        logs::appends_of_two_nodes_have_one_order(&first, &second).await;
        logs::entries_over_the_retention_are_dropped(&first).await;
        retries::a_retry_finds_what_the_first_attempt_appended(&first, &second).await;
        retries::a_retry_of_what_was_not_appended_appends_it(&first, &second).await;
        retries::a_retry_on_a_log_that_is_not_there_appends(&first).await;
        retries::a_retry_is_unknown_where_the_log_was_trimmed(&first).await;
    }
    if abilities.claims {
        claims::a_claim_is_of_the_first(&first, &second).await;
        claims::a_claim_is_settled_by_its_value(&first, &second).await;
    }
}
