//! The suite that every adapter passes: one handler, the same behaviour and the same bytes.
//!
//! Each case is a public function of a [`Subject`]; [`conformance!`](crate::conformance!) makes a `#[test]` of each. An
//! adapter provides a function that serves a listener, and its capabilities:
//!
//! ```no_run
//! use adapter_testing::conformance::{Capabilities, Stop, Subject};
//! use realtime_core::Realtime;
//!
//! fn serve(realtime: Realtime, listener: std::net::TcpListener, stop: Stop) {
//!     // Runs the framework on this thread until `stop.await` is ready.
//! }
//!
//! fn subject() -> Subject {
//!     Subject::tcp(Capabilities::default(), serve)
//! }
//!
//! adapter_testing::conformance!(subject());
//! ```
//!
//! With the feature `deflate`, the suite has cases that compress.
//!
//! Time is manual ([`Server::advance`]), so that no case waits for a heartbeat or a timeout. A case waits for ten
//! seconds at most.

pub mod cases;

mod api;
mod api_feeds;
mod api_http;
mod client;
mod exchange;
#[cfg(feature = "http2")]
mod http2;
mod lab;
mod memory;
mod packets;
mod server;
mod stop;
mod tcp;
mod transcripts;

pub use client::{RawClient, Request};
pub use exchange::{Events, Exchange, HttpRequest};
pub use lab::{Command, Gate, Lab, Reply, Seen, Sight};
pub use server::Server;
pub use stop::Stop;
pub use tcp::ServeFn;

/// The server under test.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    capabilities: Capabilities,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Memory,
    Tcp(ServeFn),
}

impl Subject {
    /// Creates a subject from an adapter that serves a listening socket.
    pub fn tcp(capabilities: Capabilities, serve: ServeFn) -> Self {
        Self { capabilities, kind: Kind::Tcp(serve) }
    }

    /// Creates a subject from the transport in memory.
    pub fn memory() -> Self {
        Self { capabilities: Capabilities { peer_address: true, http2: false }, kind: Kind::Memory }
    }

    /// Returns the subject's capabilities.
    pub fn capabilities(&self) -> Capabilities {
        self.capabilities
    }
}

/// Optional capabilities of an adapter; cases that need others are skipped.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Capabilities {
    /// The adapter knows the client's address.
    pub peer_address: bool,
    /// The adapter serves WebSockets over HTTP/2.
    pub http2: bool,
}

impl Capabilities {
    /// Declares that the adapter knows the client's address.
    #[must_use]
    pub fn peer_address(mut self) -> Self {
        self.peer_address = true;
        self
    }

    /// Declares that the adapter serves WebSockets over HTTP/2.
    #[must_use]
    pub fn http2(mut self) -> Self {
        self.http2 = true;
        self
    }
}

/// Makes a `#[test]` of each case for the [`Subject`] that the expression returns.
#[macro_export]
macro_rules! conformance {
    ($subject:expr) => {
        $crate::conformance_cases!($subject;
            handshake: [
                an_upgrade_is_accepted,
                an_unknown_id_is_404,
                a_path_of_its_own_is_served,
                a_request_without_upgrade_is_426,
                a_stripped_upgrade_header_is_426,
                http_1_0_is_400,
                another_version_is_426_and_told_13,
                a_bad_key_is_400,
                the_key_of_the_rfc_is_taken,
                a_head_that_can_be_read_in_two_ways_is_400,
                the_authority_of_the_target_is_the_host,
                nothing_behind_a_refused_upgrade_is_served,
                an_id_may_be_percent_encoded,
                an_upgrade_with_a_body_is_400,
                a_post_is_405,
                a_foreign_origin_is_403,
                the_origin_of_the_same_host_is_let_in,
                a_default_port_may_be_left_out_of_origin_and_host,
                a_listed_origin_is_let_in,
                input_comes_as_json_or_as_pairs,
                bad_input_is_400_and_names_the_field,
                a_panic_over_the_input_is_500,
                middleware_runs_in_order_before_the_upgrade,
                middleware_refuses_with_its_status_headers_and_body,
                middleware_adds_headers_to_the_upgrade,
                the_context_tells_of_the_request,
                an_offered_subprotocol_is_chosen_and_welcomed,
                messagepack_is_chosen_and_welcomed,
                the_welcome_tells_the_limit_of_a_message_and_the_schema,
                a_token_is_offered_as_a_subprotocol,
                a_token_is_never_told,
                the_first_known_subprotocol_is_chosen,
                a_foreign_subprotocol_is_ignored,
                an_unknown_realtime_subprotocol_is_400,
                a_plain_handler_speaks_no_subprotocol,
                over_the_limit_of_connections_is_503,
                over_the_limit_of_a_peer_is_429,
                a_private_address_has_no_limit_of_its_own,
                a_draining_server_refuses_with_503,
                a_stuck_middleware_is_timed_out,
                frames_sent_with_the_request_are_handled,
            ],
            credentials: [
                a_fresh_token_is_asked_for_and_extends_the_connection,
                a_connection_ends_with_its_credentials,
                short_credentials_are_asked_for_at_half_of_their_time,
                a_fresh_token_that_is_refused_closes,
                a_token_that_was_not_asked_for_is_refused,
                a_stream_ends_with_its_credentials,
                credentials_that_have_ended_are_401,
            ],
            revoke: [
                a_revoked_principal_is_closed_and_hears_nothing_more,
                nothing_that_waits_for_a_revoked_client_is_sent,
                a_principal_revoked_from_a_topic_stays_connected,
                subscriptions_of_a_principal_revoked_from_a_feed_end,
                a_handler_of_a_principal_revoked_from_a_feed_hears_nothing_more,
                a_stream_of_a_principal_revoked_from_a_feed_ends,
                streams_of_a_revoked_principal_end,
                calls_by_http_of_a_revoked_principal_are_refused,
                kept_outcomes_of_a_revoked_principal_are_forgotten,
                a_running_call_of_a_revoked_principal_ends,
                who_is_on_the_way_in_is_revoked_too,
            ],
            messages: [
                text_and_binary_come_back_as_they_came,
                every_length_of_a_frame_works,
                a_message_may_come_in_pieces_with_pings_between,
                a_message_of_the_limit_is_taken,
                the_json_protocol_wraps_values,
                the_messagepack_protocol_wraps_values,
                a_whole_float_in_a_message_is_an_integer,
                malformed_messagepack_is_answered_and_the_session_goes_on,
                a_malformed_message_is_answered_and_the_session_goes_on,
                an_array_is_no_frame,
                an_error_of_the_handler_is_told_and_the_session_goes_on,
                internal_causes_are_not_told,
                the_error_hook_decides_what_is_told,
                a_ping_of_the_protocol_is_answered,
                a_ping_frame_is_answered_with_its_payload,
                replies_keep_the_order_of_what_they_answer,
                messages_wait_for_on_open,
                more_messages_than_may_wait_are_read_later,
                messages_in_one_write_are_answered_to_one_who_reads,
                large_messages_in_one_write_are_answered_to_one_who_reads,
                messages_are_handled_one_after_the_other,
                send_then_publish_arrive_in_that_order,
                a_plain_handler_is_told_errors_by_the_close_code,
                a_plain_handler_of_one_kind_closes_on_the_other,
                a_function_receives_and_ends_the_session,
                a_function_sees_the_end_of_its_client,
                a_function_that_waits_for_the_end_is_not_polled_again,
                messages_may_be_received_on_another_thread,
                several_tasks_may_receive,
            ],
            closing: [
                the_close_code_reaches_the_handler,
                a_close_without_a_code_is_answered_without_one,
                messages_before_a_close_are_answered_first,
                the_server_closes_with_code_and_reason_after_its_data,
                on_close_runs_once_after_a_lost_connection,
                on_close_runs_once_when_a_client_leaves_during_on_open,
                on_close_runs_once_when_on_open_panics,
                on_close_runs_once_when_on_message_panics,
                a_panic_in_on_close_harms_nobody,
                a_panic_over_a_message_closes_its_connection,
                on_open_may_refuse,
                a_client_that_never_answers_a_close_is_cut,
                a_hook_that_hangs_is_dropped_after_the_end,
                a_drain_closes_all_and_waits,
                a_drain_cuts_those_who_do_not_leave,
                a_connection_is_found_by_its_id_and_closed,
                a_cut_connection_gets_no_close_frame,
            ],
            time: [
                a_call_sleeps_on_the_clock_of_the_server,
                what_takes_longer_than_its_timeout_is_dropped,
                an_interval_is_a_subscription,
            ],
            timing: [
                a_silent_client_is_pinged,
                a_client_that_answers_pings_stays,
                a_half_open_client_is_closed,
                a_client_that_talks_is_not_pinged,
            ],
            around: [
                a_middleware_sees_each_call_and_its_outcome,
                a_middleware_sees_calls_by_http_too,
                a_middleware_may_refuse_and_hand_things_to_what_is_called,
                a_middleware_is_around_nested_endpoints_too,
                a_middleware_lives_as_long_as_its_call,
            ],
            joining: [
                a_client_joins_a_topic_if_it_may,
                who_has_joined_hears_the_topic_and_may_speak,
                a_topic_is_a_stream_of_events_too,
                who_joins_is_present_until_its_last_subscription_ends,
                messages_wait_for_who_has_joined_and_grants_no_credit,
                a_topic_that_misses_things_out_says_so_to_who_has_joined,
                who_has_joined_and_does_not_keep_up_is_told,
                what_waits_for_who_has_joined_is_within_the_budget,
                who_is_revoked_from_a_topic_hears_it_no_more,
                a_feed_may_be_joined_with_presence,
            ],
            users: [
                a_user_with_two_pages_is_present_once,
                a_page_that_has_left_may_enter_again,
                only_users_are_present_by_principal,
                presence_of_users_is_bounded,
                all_connections_of_a_user_are_sent_to,
                a_user_has_one_bucket_for_all_its_connections_and_requests,
            ],
            presence: [
                who_enters_is_told_who_is_here_and_the_others_are_told,
                who_enters_again_changes_its_data,
                who_goes_in_whatever_way_has_left,
                who_observes_is_told_and_is_not_here,
                who_leaves_or_observes_no_longer_is_told_so_once,
                a_topic_is_no_place,
                presence_data_is_bounded,
                the_id_of_who_is_here_is_the_connections,
            ],
            limits: [
                a_connection_has_a_bucket_of_its_own,
                a_procedure_may_have_a_bucket_of_its_own_and_a_cost,
                an_address_has_one_bucket_for_all_its_connections,
                the_word_of_a_trusted_proxy_is_taken_for_the_address,
                only_the_forwarding_header_that_is_configured_is_read,
                addresses_of_one_network_are_one_client,
                too_many_messages_of_a_connection_are_refused,
                too_many_bytes_of_a_connection_are_refused,
                too_many_requests_of_an_address_are_429,
                every_field_that_does_not_pass_its_check_is_named,
            ],
            memory: [
                calls_and_subscriptions_are_refused_without_memory,
                requests_are_refused_without_memory,
            ],
            idempotency: [
                a_call_with_a_key_is_run_once,
                a_key_is_its_connections_where_nobody_is_known,
                a_guard_decides_on_each_caller,
                what_a_guard_counts_is_counted_for_each_caller,
                a_key_used_with_another_input_is_refused,
                input_that_is_wrong_uses_up_no_key,
                a_call_that_runs_on_counts_for_its_connection,
                each_caller_waits_as_long_as_it_wants,
                nothing_comes_for_an_id_that_has_ended,
            ],
            topics: [
                publish_goes_to_the_others,
                an_audience_is_everyone_or_leaves_some_out,
                an_unsubscribed_client_gets_nothing,
                membership_ends_with_the_connection,
                a_client_of_each_protocol_gets_its_own_form,
                the_registry_publishes_to_all,
                more_topics_than_allowed_are_refused,
                a_topic_name_of_a_client_is_checked,
                a_slow_consumer_is_closed_and_the_others_get_everything,
                a_full_outbox_gives_the_message_back,
                a_message_larger_than_an_outbox_is_refused_to_who_sends_it,
                ready_waits_for_room,
            ],
            calls: [
                a_call_is_answered_with_its_result,
                an_unknown_name_is_not_found,
                bad_input_is_refused_and_its_field_named,
                input_that_does_not_pass_its_check_is_refused,
                a_call_with_wrong_fields_is_answered,
                null_is_an_optional_field_that_is_left_out,
                a_whole_float_is_an_integer,
                a_float_that_is_no_integer_is_refused_and_its_field_named,
                an_error_of_a_procedure_is_told_whole,
                a_panic_is_an_internal_error_and_the_connection_lives,
                an_output_that_does_not_serialise_is_an_error,
                a_result_larger_than_an_outbox_is_an_error,
                results_wait_for_room_in_the_outbox,
                calls_answer_in_the_order_in_which_they_finish,
                calls_and_messages_do_not_wait_for_each_other,
                calls_wait_for_on_open,
                more_calls_than_may_wait_for_on_open_are_read_later,
                larger_calls_than_may_wait_for_on_open_are_read_later,
                on_open_may_refuse_and_nothing_is_called,
                a_cancelled_call_is_dropped_at_once,
                a_cancel_while_a_guard_decides_calls_nothing,
                calls_of_a_client_that_is_gone_are_dropped_at_once,
                a_busy_handler_does_not_keep_the_calls_of_a_client_that_is_gone,
                calls_are_dropped_when_the_server_closes,
                an_id_in_use_is_refused_without_ending_the_first,
                a_wrong_call_with_an_id_in_use_does_not_end_the_first,
                an_id_is_free_after_its_end,
                what_is_not_running_can_be_cancelled_in_vain,
                progress_comes_before_the_result_and_not_after,
                a_call_ends_at_its_callers_deadline,
                a_call_ends_at_its_procedures_deadline,
                a_deadline_counts_the_time_of_guards,
                each_call_has_a_deadline_of_its_own,
                too_many_calls_are_refused_at_once,
                a_guard_decides_by_the_request,
                a_merged_endpoint_keeps_its_guard_and_state_for_itself,
                middleware_of_a_nested_endpoint_is_kept,
                a_message_to_an_endpoint_without_handler_is_not_found,
                a_call_to_a_handler_without_endpoint_is_not_found,
                each_of_many_calls_and_subscriptions_has_one_end,
                a_client_that_calls_and_never_reads_is_closed,
                a_flood_of_calls_is_answered,
                calls_in_one_write_are_answered_to_one_who_reads,
                a_flood_of_calls_that_cannot_be_read_is_closed,
            ],
            answers: [
                the_client_answers_a_call_of_the_server,
                several_calls_of_the_server_wait_at_once,
                an_error_of_the_client_is_that_of_the_call,
                an_answer_of_another_type_is_an_error_of_the_call,
                a_client_that_does_not_answer_in_time_is_told_and_waited_for_no_more,
                a_client_that_is_gone_is_unavailable,
                the_client_is_told_of_a_call_that_is_dropped,
                a_cancelled_call_gives_up_what_it_asks,
                answers_that_nobody_waits_for_are_ignored,
                too_many_calls_of_the_server_are_refused_at_once,
                the_server_may_ask_before_it_lets_a_client_in,
                a_handlers_client_is_asked_too,
                a_plain_connection_cannot_be_asked,
            ],
            feeds: [
                a_feed_begins_with_its_position,
                an_entry_has_its_place,
                a_client_goes_on_where_it_was,
                what_the_log_has_dropped_is_a_counted_gap,
                entries_that_are_too_old_are_a_counted_gap,
                a_position_of_another_log_is_told,
                credit_holds_back_entries_that_are_kept,
                an_entry_is_dropped_for_one_who_does_not_keep_up,
                of_each_key_the_newest_entry_is_kept,
                one_who_comes_back_gets_what_the_policy_keeps,
                one_who_comes_back_has_time_to_catch_up,
                one_who_does_not_keep_up_is_ended_where_the_feed_says_so,
                shared_frames_come_under_the_name_of_the_feed,
                a_second_subscription_of_a_feed_has_frames_of_its_own,
                nothing_comes_after_an_unsubscribe_of_a_feed,
                a_state_comes_first_and_its_changes_behind_it,
                a_state_that_fails_ends_the_subscription,
                a_result_says_what_was_written,
                a_retried_call_says_what_was_written,
                a_call_by_http_says_what_was_written,
                a_stream_of_a_feed_begins_with_an_id,
                a_stream_of_a_feed_goes_on_behind_its_last_id,
                a_stream_of_frames_of_feeds_says_which_subscription_an_entry_is_for,
                a_handler_follows_a_feed,
                a_handler_goes_on_behind_a_position,
                a_handler_begins_with_a_state,
                a_plain_handler_follows_a_feed,
                a_client_that_reads_nothing_of_a_feed_is_not_closed,
                the_past_of_a_feed_is_read,
                too_many_feeds_are_refused,
                all_logs_together_are_bounded,
            ],
            subscriptions: [
                a_subscription_gives_its_items_and_ends,
                items_come_when_they_are_there,
                an_unsubscribed_stream_is_dropped_at_once,
                a_cancelled_subscription_ends_with_cancelled,
                streams_of_a_client_that_is_gone_are_dropped_at_once,
                an_unsubscribe_during_the_set_up_starts_nothing,
                a_failing_stream_ends_with_its_error,
                an_item_that_does_not_serialise_is_an_error,
                an_item_larger_than_an_outbox_is_an_error,
                a_subscription_goes_on_behind_a_position,
                too_many_subscriptions_are_refused_at_once,
                credit_bounds_what_is_sent,
                credit_does_not_overflow,
                the_streams_of_a_client_that_does_not_read_stop,
                a_stream_that_waits_for_its_client_is_dropped_at_once,
                an_endless_stream_does_not_hold_up_calls,
                dropped_items_are_told_in_their_place,
                a_gap_tells_the_offsets_that_are_missing,
                a_gap_of_the_application_stays_in_its_place,
                of_conflated_items_the_newest_of_each_is_left,
                a_subscription_may_end_where_its_client_does_not_keep_up,
                one_push_goes_to_all_who_listen,
                nothing_of_a_subscription_is_left_behind,
            ],
            events: [
                events_are_handled_one_after_the_other,
                more_events_than_may_wait_are_read_later,
                larger_events_than_may_wait_are_read_later,
                an_event_that_fails_is_told_and_the_next_is_handled,
                events_of_a_client_that_is_gone_are_dropped,
                an_event_goes_to_one_client,
                a_published_event_goes_to_the_others_of_a_topic,
                an_audience_of_an_event_leaves_out_the_sender_and_others,
                the_registry_publishes_events_to_all,
                a_client_cannot_say_that_it_is_another,
                messages_and_events_of_a_publisher_stay_in_order,
                a_topic_may_drop_what_a_member_does_not_take,
                a_topic_may_conflate_what_a_member_does_not_take,
            ],
            hostile: [
                a_frame_of_2_to_the_63_bytes_is_refused_at_its_header,
                a_length_in_a_longer_form_than_it_needs_is_refused,
                a_message_over_the_limit_is_refused,
                fragments_over_the_limit_are_refused,
                endless_empty_continuations_are_refused,
                unmasked_frames_are_refused,
                reserved_bits_and_opcodes_are_refused,
                control_frames_over_125_bytes_are_refused,
                fragmented_control_frames_are_refused,
                bad_utf8_is_refused_at_its_first_byte,
                bad_utf8_split_over_frames_is_refused,
                invalid_close_codes_are_refused,
                continuations_out_of_place_are_refused,
                deep_json_is_answered,
                deep_messagepack_is_answered,
                a_huge_name_is_answered_without_echo,
                a_flood_of_malformed_messages_is_closed,
                a_flood_of_malformed_messagepack_is_closed,
                a_flood_of_unreadable_calls_is_closed,
                a_flood_of_pings_is_survived,
                a_flood_of_pings_of_the_protocol_is_bounded,
                an_unreadable_head_is_answered_without_a_reset,
                a_client_that_never_reads_is_closed,
                the_place_of_a_client_that_never_reads_is_taken_until_its_socket_is_gone,
                garbage_after_a_close_is_ignored,
            ],
            http: [
                a_query_is_called_by_get,
                a_procedure_is_called_by_post,
                a_call_may_have_null_for_what_is_left_out_and_whole_floats,
                a_wrong_input_names_its_field,
                an_unknown_name_is_404,
                a_mutation_by_get_is_405_and_told_post,
                a_subscription_is_no_call,
                other_methods_are_405_and_told_which_are_not,
                a_body_that_is_no_call_is_400,
                a_body_of_another_type_is_415,
                a_body_in_a_coding_is_415,
                a_mark_of_byte_order_is_passed_over,
                a_call_whose_head_can_be_read_in_two_ways_is_400,
                cookies_of_several_headers_are_one,
                a_body_over_the_limit_is_413,
                a_body_that_never_ends_is_timed_out,
                each_code_has_its_status,
                a_panic_is_500_and_nothing_of_it_is_told,
                a_panic_of_a_middleware_is_500,
                no_answer_is_to_be_stored,
                a_refusal_arrives_though_nobody_wants_the_body,
                a_refusal_does_not_wait_for_an_endless_body,
                an_answer_before_the_end_of_a_body_closes_the_connection,
                a_refusal_comes_in_place_of_a_100,
                a_late_call_is_504_and_dropped,
                a_client_that_leaves_takes_its_call_with_it,
                middleware_and_guards_are_those_of_a_websocket,
                a_foreign_origin_is_403,
                a_draining_server_refuses_with_503,
                calls_and_streams_count_as_connections,
                calls_and_streams_count_for_their_peer,
                a_call_with_a_key_runs_once,
                the_key_of_another_is_another,
                a_key_of_a_caller_who_is_not_known_is_refused,
                a_retryable_failure_is_run_again,
                an_outcome_is_kept_for_its_window,
                a_posted_message_reaches_a_websocket_once,
            ],
            server_sent_events: [
                a_handlers_messages_and_events_are_a_stream,
                a_stream_is_asked_for_by_accept,
                text_of_several_lines_arrives_as_it_is,
                items_come_with_id_event_and_data_and_then_complete,
                an_error_is_an_event_and_then_the_end,
                what_fails_before_the_first_item_is_a_status,
                a_refusal_that_may_pass_says_when_to_come_back,
                a_middleware_may_say_when_to_come_back,
                an_event_named_error_or_complete_is_an_event,
                a_stream_may_be_asked_for_by_http_1_0,
                a_stream_is_resumed_behind_the_last_event,
                a_stream_begins_anew_where_the_last_event_cannot_be_read,
                one_who_comes_back_behind_the_end_is_sent_nothing,
                a_stream_that_is_over_for_good_ends_in_its_id,
                a_gap_is_an_event_in_its_place,
                a_quiet_stream_is_kept_alive_by_comments,
                a_stream_is_dropped_when_its_client_leaves,
                a_publication_reaches_streams_and_websockets,
                a_stream_that_is_not_read_is_closed,
                the_place_of_a_stream_that_is_not_read_is_taken_until_its_socket_is_gone,
                on_close_of_a_stream_runs_to_its_end,
                a_drain_ends_all_streams,
                calls_and_streams_work_over_http2,
            ],
            names: [
                a_name_may_stand_in_the_path,
                the_body_is_the_input_of_a_name_in_the_path,
                a_name_in_the_path_is_percent_decoded,
                a_name_in_the_path_is_refused_as_one_in_the_query_is,
                a_subscription_may_be_named_in_the_path,
                a_key_of_a_name_in_the_path_is_in_the_header,
                a_probe_of_a_name_in_the_path_says_whether_it_exists,
                nothing_else_is_behind_an_id,
            ],
            posted_events: [
                an_event_is_posted_without_a_connection,
                an_event_that_needs_a_connection_is_412,
                a_posted_event_is_refused_as_a_call_is,
                a_posted_event_that_fails_is_a_status,
                a_client_that_leaves_takes_its_event_with_it,
                an_id_of_events_alone_takes_them,
            ],
            probe: [
                who_would_be_let_in_is_told_so,
                a_probe_is_refused_as_an_upgrade_is,
                a_probe_opens_nothing_and_takes_no_place,
                a_probe_counts_as_a_request,
                a_probe_is_told_when_to_come_back,
                a_page_of_another_origin_reads_when_to_come_back,
                a_probe_calls_nothing_and_opens_no_stream,
            ],
            frames: [
                a_stream_of_frames_begins_with_the_welcome,
                a_handlers_frames_are_those_of_a_websocket,
                subscriptions_are_posted_and_end_with_the_last,
                a_posted_subscription_goes_on_behind_a_position,
                a_posted_subscription_fails_alone,
                more_subscriptions_than_allowed_fail_alone,
                credit_holds_in_a_stream_of_frames,
                a_feed_in_a_stream_of_frames_has_frames_of_its_own,
                a_refused_stream_of_frames_is_a_status,
                a_body_that_has_no_frames_is_400,
                an_unknown_format_of_frames_is_400,
                a_publication_reaches_streams_of_frames,
                a_client_of_frames_cannot_be_asked,
                a_quiet_stream_of_frames_is_kept_alive_by_comments,
                a_stream_of_frames_is_dropped_when_its_client_leaves,
                a_drain_ends_streams_of_frames,
                a_stream_of_frames_says_with_which_code_it_was_closed,
            ],
            cors: [
                other_origins_are_told_nothing_by_default,
                a_preflight_of_a_listed_origin_is_answered,
                a_preflight_of_another_origin_is_403,
                a_listed_origin_may_read_outputs_errors_and_streams,
                credentials_are_allowed_where_they_are_configured,
                what_the_application_says_of_caches_stays,
            ],
            transcript: [
                the_bytes_are_those_of_all_adapters,
            ],
            protocols: [
                a_websocket_over_http2_works,
            ],
        );
        $crate::conformance_of_deflate!($subject);
    };
}

#[cfg(feature = "deflate")]
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_of_deflate {
    ($subject:expr) => {
        $crate::conformance_cases!($subject;
            deflate: [
                compression_is_agreed_on_where_it_is_offered,
                an_offer_that_cannot_be_kept_is_passed_over,
                compression_is_off_unless_it_is_configured,
                who_offers_nothing_sees_no_difference,
                messages_are_compressed_both_ways,
                a_message_may_come_uncompressed,
                a_small_message_is_sent_as_it_is,
                what_does_not_get_smaller_is_sent_as_it_is,
                a_compressed_message_may_come_in_pieces_with_pings_between,
                a_publication_is_right_for_each_window_and_for_none,
                errors_are_compressed_and_pongs_are_not,
                a_compressed_message_of_the_limit_is_taken,
                a_compressed_bit_that_was_not_agreed_on_is_refused,
                a_compressed_bit_out_of_place_is_refused,
                a_bomb_is_refused,
                bad_deflate_data_is_refused,
                bad_utf8_in_a_compressed_message_is_refused,
            ],
        );
    };
}

#[cfg(not(feature = "deflate"))]
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_of_deflate {
    ($subject:expr) => {};
}

#[doc(hidden)]
#[macro_export]
macro_rules! conformance_cases {
    ($subject:expr; $($group:ident: [$($case:ident,)*],)*) => {
        $(
            mod $group {
                use super::*;
                $(
                    #[test]
                    fn $case() {
                        $crate::conformance::cases::$group::$case(&$subject);
                    }
                )*
            }
        )*
    };
}
