use super::*;
use crate::hub::Done;
use realtime_protocol::{format::Encode, internal::Encoded};
use std::{
    net::IpAddr,
    pin::Pin,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    task::{Context, Poll, Waker},
    thread,
};

const WINDOW: u32 = 10;

fn outcomes(change: impl FnOnce(&mut Config)) -> Arc<Outcomes> {
    let mut config = Config::default();
    change(&mut config);
    Outcomes::new(&config, WINDOW, &Arc::new(Ledger::new(config.memory)))
}

/// A call of one principal; by address it is another client.
#[derive(Clone, Copy)]
struct Of {
    principal: &'static str,
    address: &'static str,
    name: &'static str,
    key: u32,
    input: &'static str,
}

const ANN: Of = Of { principal: "ann", address: "192.0.2.1", name: "pay", key: 1, input: "7" };

fn key(key: u32) -> Of {
    Of { key, ..ANN }
}

impl Of {
    fn begin(self, outcomes: &Arc<Outcomes>) -> Result<Begin> {
        outcomes.begin(&Keyed {
            scope: Scope::Principal { endpoint: "bank".into(), name: self.principal },
            peer: self.address.parse::<IpAddr>().ok().map(Peer::from),
            name: self.name,
            key: &self.key.to_string(),
            input: &Value::Json(self.input.into()),
        })
    }

    #[track_caller]
    fn run(self, outcomes: &Arc<Outcomes>) -> Ticket {
        match self.begin(outcomes).unwrap() {
            Begin::Run(ticket, _) => ticket,
            Begin::Wait(_) => panic!("it has been begun before"),
        }
    }

    #[track_caller]
    fn wait(self, outcomes: &Arc<Outcomes>) -> Waiter {
        match self.begin(outcomes).unwrap() {
            Begin::Wait(waiter) => waiter,
            Begin::Run(..) => panic!("it is to be run"),
        }
    }

    #[track_caller]
    fn told(self, outcomes: &Arc<Outcomes>) -> Option<String> {
        told(self.wait(outcomes))
    }

    fn refused(self, outcomes: &Arc<Outcomes>) -> String {
        self.begin(outcomes).map(drop).unwrap_err().to_string()
    }
}

fn text(text: &str) -> Outcome {
    done(Encoded::of(&vec![text.to_owned()]))
}

fn done(data: Result<Encoded>) -> Outcome {
    data.map(|data| Arc::new(Done { data, wrote: Vec::new() })).map_err(Arc::new)
}

fn number(number: u32) -> Outcome {
    done(Encoded::of(&number))
}

/// Returns the outcome as a client is told it, if there is one.
fn told(mut waiter: Waiter) -> Option<String> {
    match Pin::new(&mut waiter).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Pending => None,
        Poll::Ready(Err(error)) => Some(error.to_string()),
        Poll::Ready(Ok(value)) => {
            let mut json = Vec::new();
            value.data.encode_json(&mut json).unwrap();
            Some(String::from_utf8(json).unwrap())
        }
    }
}

fn calls(outcomes: &Outcomes) -> (usize, usize, usize) {
    let entries = outcomes.entries.lock();
    assert_eq!(entries.calls.len(), entries.all.calls);
    assert_eq!(entries.settled.len(), entries.all.settled.len());
    assert_eq!(entries.owners.values().map(|own| own.bytes).sum::<usize>(), entries.all.bytes);
    (entries.all.calls, entries.all.bytes, entries.owners.len())
}

#[test]
fn a_call_is_run_once_and_all_have_its_outcome() {
    let outcomes = outcomes(|_| {});
    let ticket = ANN.run(&outcomes);
    let waiters = [(); 3].map(|()| ANN.wait(&outcomes));
    ticket.finish(number(7), 1);
    assert_eq!(waiters.map(told), [(); 3].map(|()| Some("7".into())));
    assert_eq!(ANN.told(&outcomes), Some("7".into()));
}

#[test]
fn calls_with_other_keys_are_others() {
    let outcomes = outcomes(|_| {});
    let _ticket = ANN.run(&outcomes);
    for other in [Of { principal: "bob", ..ANN }, Of { name: "refund", ..ANN }, key(2)] {
        other.run(&outcomes).finish(number(1), 1);
    }
    // Her address does not matter.
    assert_eq!(Of { address: "192.0.2.9", ..ANN }.told(&outcomes), None);
}

#[test]
fn a_key_has_one_input() {
    let outcomes = outcomes(|_| {});
    let pay = Of { input: r#"{"to":"bob","amount":[1,2]}"#, ..ANN };
    let _ticket = pay.run(&outcomes);
    assert_eq!(Of { input: r#"{ "amount": [1, 2], "to": "bob" }"#, ..ANN }.told(&outcomes), None);
    for input in [r#"{"to":"bob","amount":[2,1]}"#, r#"{"to":"eve","amount":[1,2]}"#, r#"{"to":"bob"}"#, "no JSON"]
    {
        let refused = Of { input, ..ANN }.refused(&outcomes);
        assert_eq!(refused, "INVALID_ARGUMENT: the idempotency key was used with another input", "{input}");
    }
}

#[test]
fn an_outcome_is_kept_for_its_window() {
    let outcomes = outcomes(|_| {});
    let ticket = ANN.run(&outcomes);
    // A running call stays, and its window starts when it has ended.
    outcomes.expire(u32::MAX - 100);
    ticket.finish(number(7), u32::MAX - 5);
    for now in [u32::MAX - 3, 3] {
        outcomes.expire(now);
        assert_eq!(ANN.told(&outcomes), Some("7".into()), "{now}");
    }
    outcomes.expire(4);
    assert_eq!(calls(&outcomes), (0, 0, 0));
    ANN.run(&outcomes).finish(number(8), 5);
}

#[test]
fn a_retryable_error_is_told_and_not_kept() {
    let outcomes = outcomes(|_| {});
    let ticket = ANN.run(&outcomes);
    let waiter = ANN.wait(&outcomes);
    ticket.finish(Err(Arc::new(Error::unavailable("no database"))), 1);
    assert_eq!(told(waiter), Some("UNAVAILABLE: no database".into()));
    ANN.run(&outcomes).finish(Err(Arc::new(Error::not_found("no account"))), 1);
    assert_eq!(ANN.told(&outcomes), Some("NOT_FOUND: no account".into()));
}

#[test]
fn what_was_not_run_is_not_kept() {
    let outcomes = outcomes(|_| {});
    let ticket = ANN.run(&outcomes);
    let waiter = ANN.wait(&outcomes);
    ticket.refuse(Error::invalid_argument("no amount"));
    assert_eq!(told(waiter), Some("INVALID_ARGUMENT: no amount".into()));
    let ticket = ANN.run(&outcomes);
    let waiter = ANN.wait(&outcomes);
    drop(ticket);
    assert_eq!(told(waiter), Some("ABORTED: the call was given up".into()));
    assert_eq!(calls(&outcomes), (0, 0, 0));
}

#[test]
fn the_oldest_outcome_makes_room_and_what_runs_does_not() {
    let outcomes = outcomes(|config| config.idempotent_calls = 3);
    let running = key(1).run(&outcomes);
    let [second, third] = [2, 3].map(|number| key(number).run(&outcomes));
    assert!(key(4).refused(&outcomes).starts_with("RESOURCE_EXHAUSTED: too many calls of all clients"));
    third.finish(number(3), 1);
    second.finish(number(2), 1);
    let fourth = key(4).run(&outcomes);
    assert_eq!((key(1).told(&outcomes), key(2).told(&outcomes)), (None, Some("2".into())));
    let third = key(3).run(&outcomes);
    assert!(key(2).begin(&outcomes).is_err());
    for ticket in [running, third, fourth] {
        ticket.finish(number(0), 1);
    }
    assert_eq!(calls(&outcomes).0, 3);
}

#[test]
fn a_client_takes_the_place_of_its_own_calls() {
    let outcomes = outcomes(|config| config.idempotent_calls_per_peer = 2);
    let bob = Of { principal: "bob", address: "2001:db8::1", ..ANN };
    bob.run(&outcomes).finish(number(1), 1);
    // Whatever it says it is.
    for principal in ["ann", "eve", "mallory"] {
        Of { principal, ..ANN }.run(&outcomes).finish(number(2), 1);
    }
    assert_eq!(calls(&outcomes).0, 3);
    assert_eq!(bob.told(&outcomes), Some("1".into()));
    let mut tickets = [7, 8].map(|key| Of { key, address: "2001:db8::7", ..bob }.run(&outcomes)).into_iter();
    let one_more = Of { key: 9, address: "2001:db8::8", ..bob };
    assert!(one_more.refused(&outcomes).starts_with("RESOURCE_EXHAUSTED: too many calls of this client"));
    drop(tickets.next());
    one_more.run(&outcomes).finish(number(3), 1);
    // Without an address each principal is one.
    let nowhere = |principal| Of { principal, address: "", ..ANN };
    let running = ["a", "a", "b"].map(|principal| Of { key: 9, ..nowhere(principal) }.begin(&outcomes).is_ok());
    assert_eq!(running, [true; 3]);
}

#[test]
fn a_private_address_is_one_client_only_if_so_configured() {
    for (private_peers, expected) in
        [(PrivatePeers::Many, [true, true, false]), (PrivatePeers::One, [true, false, false])]
    {
        let outcomes = outcomes(|config| {
            config.idempotent_calls_per_peer = 1;
            config.private_peers = private_peers;
        });
        let running = [("ann", 1), ("bob", 1), ("bob", 2)]
            .map(|(principal, key)| Of { principal, key, address: "10.0.0.1", ..ANN }.begin(&outcomes));
        assert_eq!(running.each_ref().map(|begun| begun.is_ok()), expected, "{private_peers:?}");
    }
}

#[test]
fn outcomes_are_bounded_in_bytes() {
    // In a list this is 100 bytes of JSON, and 99 of MessagePack.
    let hundred = "x".repeat(96);
    let outcomes = outcomes(|config| {
        config.idempotency_bytes_per_peer = 400;
        config.idempotency_bytes = 700;
    });
    let bob = Of { principal: "bob", address: "192.0.2.2", ..ANN };
    bob.run(&outcomes).finish(text(&hundred), 1);
    for number in 1..=3 {
        key(number).run(&outcomes).finish(text(&hundred), 1);
    }
    assert_eq!(calls(&outcomes), (4, 597, 2));
    // The oldest of its own is forgotten, but not that it has run.
    let forgotten = Some("FAILED_PRECONDITION: the call has run, and its outcome is not kept any longer".into());
    assert_eq!(key(1).told(&outcomes), forgotten);
    assert!([key(2), key(3), bob].into_iter().all(|call| call.told(&outcomes).unwrap().starts_with("[\"xx")));
    // Of all, the oldest.
    Of { address: "192.0.2.3", key: 9, ..ANN }.run(&outcomes).finish(text(&hundred), 1);
    assert_eq!((calls(&outcomes), bob.told(&outcomes)), ((5, 597, 3), forgotten.clone()));
    // One that is too large still reaches the waiting callers.
    let ticket = key(4).run(&outcomes);
    let waiter = key(4).wait(&outcomes);
    ticket.finish(text(&"x".repeat(300)), 1);
    assert!(told(waiter).unwrap().starts_with("[\"xx"));
    assert_eq!((key(4).told(&outcomes), calls(&outcomes).1), (forgotten, 199));
    outcomes.expire(1 + WINDOW);
    assert_eq!(calls(&outcomes), (0, 0, 0));
}

#[test]
fn errors_count_with_their_details() {
    let outcomes = outcomes(|_| {});
    let error = Error::not_found("no account").with_details(serde_json::json!({ "x": "y".repeat(1000) }));
    ANN.run(&outcomes).finish(Err(Arc::new(error)), 1);
    assert!(calls(&outcomes).1 > 1000);
}

#[test]
fn of_threads_that_try_again_each_comes_to_an_outcome() {
    let outcomes = outcomes(|_| {});
    let runs = AtomicUsize::new(0);
    let attempt = |call: u32| match key(call).begin(&outcomes).unwrap() {
        // Every other run is given up.
        Begin::Run(ticket, _) if runs.fetch_add(1, SeqCst).is_multiple_of(2) => {
            drop(ticket);
            false
        }
        Begin::Run(ticket, _) => {
            ticket.finish(number(call), 1);
            true
        }
        Begin::Wait(waiter) => told(waiter) == Some(call.to_string()),
    };
    let work = || (0..300).for_each(|call| while !attempt(call) {});
    thread::scope(|scope| [(); 4].iter().for_each(|()| drop(scope.spawn(work))));
    assert_eq!(runs.load(SeqCst), 600);
    assert_eq!(calls(&outcomes).0, 300);
}
