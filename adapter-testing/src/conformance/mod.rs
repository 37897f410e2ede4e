//! The suite that every adapter passes: one handler, the same behaviour and the same bytes.
//!
//! Each case is a public function of a [`Subject`]; [`conformance!`](crate::conformance!) makes a
//! `#[test]` of each. An adapter says how it serves a listener, and what it can do:
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
//! Time is turned by hand ([`Server::advance`]), so that no case waits for a heartbeat or a
//! timeout. What a case waits for it waits for ten seconds at most.

pub mod cases;

mod api_http;
mod client;
mod exchange;
#[cfg(feature = "http2")]
mod http2;
mod lab;
mod memory;
mod server;
mod stop;
mod tcp;
mod transcripts;

pub use client::{Client, Request};
pub use exchange::{Events, Exchange, HttpRequest};
pub use lab::{Command, Gate, Lab, Reply, Seen, Sight};
pub use server::Server;
pub use stop::Stop;
pub use tcp::Serve;

/// What the suite is run on.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    capabilities: Capabilities,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Memory,
    Tcp(Serve),
}

impl Subject {
    /// An adapter that serves a listening socket.
    pub fn tcp(capabilities: Capabilities, serve: Serve) -> Self {
        Self { capabilities, kind: Kind::Tcp(serve) }
    }

    /// The transport in memory.
    pub fn memory() -> Self {
        Self { capabilities: Capabilities { peer_address: true, http2: false }, kind: Kind::Memory }
    }

    /// What it can do.
    pub fn capabilities(&self) -> Capabilities {
        self.capabilities
    }
}

/// What an adapter can do beside what all must; cases that need more are left out.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Capabilities {
    /// It knows the client's address.
    pub peer_address: bool,
    /// It serves WebSockets over HTTP/2.
    pub http2: bool,
}

impl Capabilities {
    /// It knows the client's address.
    #[must_use]
    pub fn peer_address(mut self) -> Self {
        self.peer_address = true;
        self
    }

    /// It serves WebSockets over HTTP/2.
    #[must_use]
    pub fn http2(mut self) -> Self {
        self.http2 = true;
        self
    }
}

/// Makes a `#[test]` of each case, run on the [`Subject`] that the expression gives.
#[macro_export]
macro_rules! conformance {
    ($subject:expr) => {
        $crate::conformance_cases!($subject;
            handshake: [
                an_upgrade_is_accepted,
                an_unknown_id_is_404,
                a_request_without_upgrade_is_426,
                a_stripped_upgrade_header_is_426,
                http_1_0_is_400,
                another_version_is_426_and_told_13,
                a_bad_key_is_400,
                a_post_is_405,
                a_foreign_origin_is_403,
                the_origin_of_the_same_host_is_let_in,
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
                the_first_known_subprotocol_is_chosen,
                a_foreign_subprotocol_is_ignored,
                an_unknown_realtime_subprotocol_is_400,
                a_plain_handler_speaks_no_subprotocol,
                over_the_limit_of_connections_is_503,
                over_the_limit_of_a_peer_is_429,
                a_draining_server_refuses_with_503,
                a_stuck_middleware_is_timed_out,
                frames_sent_with_the_request_are_handled,
            ],
            messages: [
                text_and_binary_come_back_as_they_came,
                every_length_of_a_frame_works,
                a_message_may_come_in_pieces_with_pings_between,
                a_message_of_the_limit_is_taken,
                the_json_protocol_wraps_values,
                the_messagepack_protocol_wraps_values,
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
            timing: [
                a_silent_client_is_pinged,
                a_client_that_answers_pings_stays,
                a_half_open_client_is_closed,
                a_client_that_talks_is_not_pinged,
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
            hostile: [
                a_frame_of_2_to_the_63_bytes_is_refused_at_its_header,
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
                a_flood_of_pings_is_survived,
                a_flood_of_pings_of_the_protocol_is_bounded,
                a_client_that_never_reads_is_closed,
                garbage_after_a_close_is_ignored,
            ],
            http: [
                a_query_is_called_by_get,
                a_procedure_is_called_by_post,
                a_wrong_input_names_its_field,
                an_unknown_name_is_404,
                a_mutation_by_get_is_405_and_told_post,
                a_subscription_is_no_call,
                other_methods_are_405_and_told_which_are_not,
                a_body_that_is_no_call_is_400,
                a_body_of_another_type_is_415,
                a_body_over_the_limit_is_413,
                a_body_that_never_ends_is_timed_out,
                each_code_has_its_status,
                a_panic_is_500_and_nothing_of_it_is_told,
                a_late_call_is_504_and_dropped,
                a_client_that_leaves_takes_its_call_with_it,
                middleware_and_guards_are_those_of_a_websocket,
                a_foreign_origin_is_403,
                a_draining_server_refuses_with_503,
                calls_and_streams_count_as_connections,
                calls_and_streams_count_for_their_peer,
                a_call_with_a_key_runs_once,
                the_key_of_another_is_another,
                a_retryable_failure_is_run_again,
                an_outcome_is_kept_for_its_window,
                a_posted_message_reaches_a_websocket_once,
            ],
            events: [
                a_handlers_messages_and_events_are_a_stream,
                a_stream_is_asked_for_by_accept,
                text_of_several_lines_arrives_as_it_is,
                items_come_with_id_event_and_data_and_then_complete,
                an_error_is_an_event_and_then_the_end,
                what_fails_before_the_first_item_is_a_status,
                a_stream_is_resumed_behind_the_last_event,
                a_gap_is_an_event_in_its_place,
                a_quiet_stream_is_kept_alive_by_comments,
                a_stream_is_dropped_when_its_client_leaves,
                a_publication_reaches_streams_and_websockets,
                a_stream_that_is_not_read_is_closed,
                a_drain_ends_all_streams,
                calls_and_streams_work_over_http2,
            ],
            cors: [
                other_origins_are_told_nothing_by_default,
                a_preflight_of_a_listed_origin_is_answered,
                a_preflight_of_another_origin_is_403,
                a_listed_origin_may_read_outputs_errors_and_streams,
                credentials_are_allowed_where_they_are_configured,
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
