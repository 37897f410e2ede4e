//! Principals whose connections are on several nodes: what is sent to them, where they are present, and what is revoked.

use adapter_testing::{FaultyBroker, TestClient, TestServer, block_on};
use futures_util::FutureExt;
use realtime_core::{
    Accepted, AnyConnection, Connection, Context, Endpoint, Event, Feed, Handler, Log, Next, Presence, Principal,
    Realtime, Reject, Result, ShardState, Topic,
    broker::{Broker, Publication},
};
use serde_json::{Value, json};
use std::time::Duration;

const MAIL: Event<String> = Event::new("mail");
const TEAM: Presence<Value> = Presence::fixed("team").by_principal();
const ROOM: Topic<String> = Topic::fixed("room");
const NEWS: Feed<String> = Topic::fixed("news").log(Log::last(10));
const SECOND: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_millis(50);

struct Talk;

impl Handler for Talk {
    type Input = ();
    type ClientMessage = ();
    type ServerMessage = String;

    async fn on_message(&self, _: &Connection<Self>, (): ()) -> Result {
        Ok(())
    }
}

struct Node {
    server: TestServer,
    broker: FaultyBroker,
}

/// The user whom most tests are about.
fn ann() -> Principal {
    Principal("ann".into())
}

async fn login(mut context: Context, next: Next) -> Result<Accepted, Reject> {
    let user = context.query().unwrap_or_default().to_owned();
    if !user.is_empty() {
        context.set(Principal(user));
    }
    next.run(context).await
}

impl Node {
    fn new(number: u64, broker: FaultyBroker) -> Self {
        let api = || Endpoint::new(()).on_open(|_| async { Ok(()) });
        let realtime = Realtime::builder().middleware(login).node(number);
        let realtime = realtime.endpoint("api", api()).endpoint("talk", api()).handler("talk", Talk);
        Self { server: TestServer::new(realtime.broker(broker.clone()).build()), broker }
    }

    async fn connect(&self, id: &str, user: &str) -> (TestClient, AnyConnection) {
        let client = self.server.request(id).query(user).open().await.unwrap();
        (client, self.server.realtime().filter(|_| true).into_iter().max_by_key(AnyConnection::id).unwrap())
    }

    fn realtime(&self) -> &Realtime {
        self.server.realtime()
    }

    fn is_up(&self) -> bool {
        self.realtime().readiness().shards.iter().all(|shard| shard.state == ShardState::Up)
    }

    fn present(&self) -> Vec<Value> {
        self.realtime().present(&TEAM).into_iter().map(|present| present.data).collect()
    }
}

/// Two nodes that know of each other.
async fn two() -> [Node; 2] {
    let broker = FaultyBroker::new(0);
    let nodes = [Node::new(1, broker.clone()), Node::new(2, broker.join())];
    advance(&[&nodes[0], &nodes[1]], 2 * SECOND).await;
    nodes
}

async fn advance(nodes: &[&Node], duration: Duration) {
    for _ in 0..duration.as_millis() / STEP.as_millis() {
        for node in nodes {
            node.broker.advance(STEP);
            node.server.advance(STEP).await;
        }
        for node in nodes {
            node.server.settle().await;
        }
    }
}

fn revoke_users(node: &Node, count: usize) {
    for user in 0..count {
        node.realtime().revoke(&Principal(format!("user-{user}")));
    }
}

#[test]
fn what_is_sent_to_a_user_reaches_its_connections_on_all_nodes() {
    block_on(async {
        let [one, two] = two().await;
        let (mut here, _) = one.connect("api", "ann").await;
        let (mut there, _) = two.connect("api", "ann").await;
        let (mut other, left_out) = two.connect("api", "ann").await;
        let (mut bob, _) = two.connect("api", "bob").await;
        advance(&[&one, &two], SECOND).await;
        let ann = ann();
        // Those of this node are counted.
        assert_eq!(one.realtime().to_principal(&ann).emit(MAIL, &"hello".into()).unwrap(), 1);
        let except = [left_out.id()];
        assert_eq!(one.realtime().to_principal(&ann).except(&except).emit(MAIL, &"again".into()).unwrap(), 1);
        advance(&[&one, &two], SECOND).await;
        for (client, expected) in [(&mut here, 2), (&mut there, 2), (&mut other, 1), (&mut bob, 0)] {
            let mut got = Vec::new();
            while let Some(mail) = client.try_event(MAIL).await {
                got.push(mail);
            }
            assert_eq!(got, ["hello", "again"][..expected]);
        }
    });
}

#[test]
fn a_message_to_a_user_goes_to_its_handler_on_all_nodes() {
    block_on(async {
        let [one, two] = two().await;
        let mut talk = two.server.request("talk").query("ann").connect::<Talk>().await.unwrap();
        let mut api = two.server.request("api").query("ann").connect::<Talk>().await.unwrap();
        advance(&[&one, &two], SECOND).await;
        assert_eq!(one.realtime().to_principal(&ann()).send::<Talk>(&"typed".into()).unwrap(), 0);
        advance(&[&one, &two], SECOND).await;
        assert_eq!(talk.try_recv().await, Ok(Some("typed".into())));
        assert_eq!(api.try_recv().await, Ok(None));
    });
}

/// A message to a user costs other nodes nothing.
#[test]
fn a_node_is_brought_what_is_for_its_own_principals() {
    block_on(async {
        let [one, two] = two().await;
        let (ann, _) = two.connect("api", "ann").await;
        let (second, _) = two.connect("api", "ann").await;
        advance(&[&one, &two], SECOND).await;
        let is_brought = |node: &Node| {
            let mut arrivals = Vec::new();
            // Before the node's own task does, which has not run since.
            let _ = node.broker.receive(&mut arrivals).now_or_never();
            !arrivals.is_empty()
        };
        let publish = async || {
            let json = "1".into();
            let letter =
                Publication::new(7, "\u{1}to:ann".into(), json, None, Vec::new()).with_event("mail".into());
            one.broker.publish(&[letter]).await.unwrap();
        };
        publish().await;
        assert_eq!((is_brought(&one), is_brought(&two)), (false, true));
        drop(ann);
        advance(&[&one, &two], 6 * SECOND).await;
        publish().await;
        assert!(is_brought(&two));
        drop(second);
        advance(&[&one, &two], 6 * SECOND).await;
        publish().await;
        assert!(!is_brought(&two));
    });
}

#[test]
fn a_user_with_pages_on_two_nodes_is_present_once() {
    block_on(async {
        let [one, two] = two().await;
        let (mut eve, observer) = one.connect("api", "eve").await;
        observer.observe(&TEAM).unwrap();
        let mut told = async || {
            let mut told = Vec::new();
            while let Some(notice) = eve.try_event(realtime_core::PRESENCE).await {
                let data = |list: Vec<realtime_core::Present<Value>>| -> Vec<Value> {
                    list.into_iter().map(|present| present.data).collect()
                };
                told.push((data(notice.joined), data(notice.changed), notice.left));
            }
            told
        };
        told().await;
        let (page, first) = one.connect("api", "ann").await;
        let (other_page, second) = two.connect("api", "ann").await;
        first.enter(&TEAM, &json!("Ann")).unwrap();
        advance(&[&one, &two], SECOND).await;
        second.enter(&TEAM, &json!("Ann")).unwrap();
        advance(&[&one, &two], SECOND).await;
        assert_eq!((one.present(), two.present()), (vec![json!("Ann")], vec![json!("Ann")]));
        assert_eq!(two.realtime().present_here(&TEAM)[0].connection, second.id());
        assert_eq!(told().await, [(vec![json!("Ann")], vec![], vec![])]);
        // The data that was set last is shown, wherever it was.
        second.enter(&TEAM, &json!("Anna")).unwrap();
        advance(&[&one, &two], SECOND).await;
        first.enter(&TEAM, &json!("Ann")).unwrap();
        advance(&[&one, &two], SECOND).await;
        assert_eq!((one.present(), two.present()), (vec![json!("Ann")], vec![json!("Ann")]));
        assert_eq!(told().await, [(vec![], vec![json!("Anna")], vec![]), (vec![], vec![json!("Ann")], vec![])]);
        // The page with whose id it is shown goes, and then the other node.
        drop(page);
        advance(&[&one, &two], SECOND).await;
        assert_eq!((one.present().len(), two.present().len()), (1, 1));
        told().await;
        drop((other_page, second, two));
        advance(&[&one], 6 * SECOND).await;
        assert_eq!(told().await, [(vec![], vec![], vec![first.id()])]);
        assert!(one.present().is_empty());
    });
}

/// The name of a user is held in the list, here and in the copies on other nodes.
#[test]
fn the_names_of_users_are_counted() {
    block_on(async {
        let [one, two] = two().await;
        let name = "a".repeat(1000);
        let (_page, handle) = two.connect("api", &name).await;
        handle.enter(&TEAM, &json!("")).unwrap();
        advance(&[&one, &two], SECOND).await;
        // An entry takes 64 bytes, a text 32, and the name of the place 4.
        assert_eq!(one.realtime().stats().memory.presence, 64 + 32 + 4 + 1000);
    });
}

#[test]
fn what_is_revoked_is_revoked_on_all_nodes() {
    block_on(async {
        let [one, two] = two().await;
        let (_eve, eve) = two.connect("api", "eve").await;
        let mut page = two.server.request("talk").query("ann").connect::<Talk>().await.unwrap();
        let handle = two.realtime().connections_of(&ann()).remove(0);
        handle.subscribe(&ROOM).unwrap();
        let news = NEWS;
        let append = async |entry: &str| {
            let entry = entry.to_owned();
            let mut append = Box::pin(one.realtime().append(&news, &entry));
            while (&mut append).now_or_never().is_none() {
                advance(&[&one, &two], STEP).await;
            }
        };
        let talk = handle.downcast::<Talk>().unwrap();
        let mut follow = Box::pin(talk.follow(&news, None));
        while (&mut follow).now_or_never().is_none() {
            advance(&[&one, &two], STEP).await;
        }
        append("seen").await;
        advance(&[&one, &two], SECOND).await;
        assert_eq!(page.try_recv().await.unwrap(), Some("seen".into()));

        one.realtime().revoke_from(&ann(), &ROOM);
        advance(&[&one, &two], SECOND).await;
        assert!(!handle.is_closed() && !handle.is_subscribed(&ROOM));
        one.realtime().revoke_from(&ann(), &NEWS);
        advance(&[&one, &two], SECOND).await;
        append("unseen").await;
        advance(&[&one, &two], SECOND).await;
        assert_eq!(page.try_recv().await.unwrap(), None);

        assert_eq!(one.realtime().revoke(&ann()), 0);
        let mut done = Box::pin(one.realtime().revoked_everywhere());
        assert!((&mut done).now_or_never().is_none());
        advance(&[&one, &two], STEP).await;
        done.await.unwrap();
        assert!(handle.is_closed() && !eve.is_closed());
        // It may come back once it is let in, and is not ended again.
        let (_page, again) = two.connect("api", "ann").await;
        advance(&[&one, &two], 20 * SECOND).await;
        assert!(!again.is_closed());
        one.realtime().revoked_everywhere().await.unwrap();
    });
}

#[test]
fn a_node_that_was_cut_off_is_told_what_was_revoked() {
    block_on(async {
        let [one, two] = two().await;
        let (_page, handle) = two.connect("api", "ann").await;
        two.broker.cut();
        one.realtime().revoke(&ann());
        let mut late = Box::pin(one.realtime().revoked_everywhere());
        assert!((&mut late).now_or_never().is_none());
        // Longer than other nodes hold on to it.
        advance(&[&one, &two], 20 * SECOND).await;
        assert!(!handle.is_closed());
        two.broker.mend();
        advance(&[&one, &two], 4 * SECOND).await;
        assert!(handle.is_closed());
        one.realtime().revoked_everywhere().await.unwrap();

        // The broker does not work for the node that revokes.
        let (_page, handle) = two.connect("api", "ann").await;
        one.broker.cut();
        one.realtime().revoke(&ann());
        let mut unconfirmed = Box::pin(one.realtime().revoked_everywhere());
        assert!((&mut unconfirmed).now_or_never().is_none());
        advance(&[&one, &two], 11 * SECOND).await;
        assert_eq!(unconfirmed.await.unwrap_err().code().as_str(), "UNAVAILABLE");
        assert!(!handle.is_closed());
        one.broker.mend();
        advance(&[&one, &two], 4 * SECOND).await;
        assert!(handle.is_closed());
    });
}

#[test]
fn a_node_that_does_not_confirm_is_named() {
    block_on(async {
        let [one, two] = two().await;
        // It is heard, and hears nothing.
        two.broker.deafen();
        one.realtime().revoke(&ann());
        let mut unconfirmed = Box::pin(one.realtime().revoked_everywhere());
        assert!((&mut unconfirmed).now_or_never().is_none());
        advance(&[&one, &two], 11 * SECOND).await;
        let error = unconfirmed.await.unwrap_err().to_string();
        assert!(error.contains("1 nodes have not confirmed") && error.contains("0000000000000002"), "{error}");
    });
}

/// A revocation that is dropped before a node that is heard has confirmed it is never done there.
#[test]
fn revocations_that_were_dropped_unconfirmed_are_not_everywhere() {
    block_on(async {
        let [one, two] = two().await;
        let (_page, handle) = two.connect("api", "ann").await;
        advance(&[&one, &two], SECOND).await;
        two.broker.deafen();
        one.realtime().revoke(&ann());
        // Over 1 MiB.
        revoke_users(&one, 15_000);
        advance(&[&one, &two], 2 * SECOND).await;
        two.broker.mend();
        advance(&[&one, &two], 5 * SECOND).await;
        assert!(!handle.is_closed());
        let error = one.realtime().revoked_everywhere().await.unwrap_err();
        assert_eq!(error.code().as_str(), "UNAVAILABLE");
        assert!(error.message().contains("revocations of the last minutes: too much waited"), "{error:?}");
        // For as long as a node that is parted is told.
        advance(&[&one, &two], 590 * SECOND).await;
        one.realtime().revoked_everywhere().await.unwrap_err();
        advance(&[&one, &two], 10 * SECOND).await;
        one.realtime().revoked_everywhere().await.unwrap();
    });
}

/// A node that has just started, or is back, has not heard the others yet.
#[test]
fn revoked_everywhere_waits_until_all_nodes_were_heard() {
    block_on(async {
        for offset in 0..20 {
            let broker = FaultyBroker::new(0);
            let one = Node::new(1, broker.clone());
            let (mut page, mut handle) = one.connect("api", "ann").await;
            advance(&[&one], 2 * SECOND + STEP * offset).await;
            let two = Node::new(2, broker.join());
            two.connect("api", "eve").await;
            for _ in 0..2 {
                while !two.is_up() {
                    advance(&[&one, &two], STEP).await;
                }
                two.realtime().revoke(&ann());
                let mut done = Box::pin(two.realtime().revoked_everywhere());
                while (&mut done).now_or_never().transpose().unwrap().is_none() {
                    advance(&[&one, &two], STEP).await;
                }
                assert!(handle.is_closed(), "{offset}");
                (page, handle) = one.connect("api", "ann").await;
                two.broker.cut();
                advance(&[&one, &two], 10 * SECOND).await;
                two.broker.mend();
            }
            drop(page);
        }
    });
}

/// It may have let the user in again since.
#[test]
fn what_was_revoked_before_a_node_has_started_is_done_there() {
    block_on(async {
        let [one, two] = two().await;
        one.realtime().revoke(&ann());
        advance(&[&one, &two], 300 * SECOND).await;
        let three = Node::new(3, one.broker.join());
        let (_page, handle) = three.connect("api", "ann").await;
        let mut done = Box::pin(one.realtime().revoked_everywhere());
        advance(&[&one, &two, &three], 5 * SECOND).await;
        assert!(!handle.is_closed());
        assert!(matches!((&mut done).now_or_never(), Some(Ok(()))));
        one.realtime().revoke(&ann());
        advance(&[&one, &two, &three], SECOND).await;
        assert!(handle.is_closed());
    });
}

/// In messages that follow each other, as fast as they are confirmed; what is lost is told again.
#[test]
fn more_revocations_than_one_message_holds_are_done_everywhere() {
    block_on(async {
        let [one, two] = two().await;
        let mut handles = Vec::new();
        for user in [0, 5000, 9999] {
            handles.push(two.connect("api", &format!("user-{user}")).await);
        }
        advance(&[&one, &two], SECOND).await;
        let are_closed = |handles: &[(TestClient, AnyConnection)]| -> Vec<bool> {
            handles.iter().map(|(_, handle)| handle.is_closed()).collect()
        };
        two.broker.deafen();
        revoke_users(&one, 10_000);
        advance(&[&one, &two], 3 * SECOND).await;
        assert_eq!(are_closed(&handles), [false, false, false]);
        two.broker.mend();
        let mut done = Box::pin(one.realtime().revoked_everywhere());
        while (&mut done).now_or_never().transpose().unwrap().is_none() {
            advance(&[&one, &two], STEP).await;
        }
        assert_eq!(are_closed(&handles), [true, true, true]);
    });
}

#[test]
fn a_node_that_hears_nothing_keeps_no_revocation_from_the_others() {
    block_on(async {
        let [one, two] = two().await;
        let three = Node::new(3, one.broker.join());
        let (_page, handle) = three.connect("api", "user-9999").await;
        advance(&[&one, &two, &three], 3 * SECOND).await;
        two.broker.deafen();
        for (users, limit) in [(10_000, 8), (1, 1)] {
            let (_page, latest) = three.connect("api", "user-0").await;
            revoke_users(&one, users);
            advance(&[&one, &two, &three], limit * SECOND).await;
            assert!(latest.is_closed(), "{users}");
        }
        assert!(handle.is_closed());
        assert_eq!(one.realtime().stats().nodes, 2, "it is still heard");
    });
}

/// It is done here in any case.
#[test]
fn a_principal_that_is_too_long_for_other_nodes_is_named() {
    block_on(async {
        let [one, two] = two().await;
        let long = Principal("a".repeat(8 * 1024 + 1));
        let (_page, handle) = one.connect("api", &long.0).await;
        assert_eq!(one.realtime().revoke(&long), 1);
        assert!(handle.is_closed());
        let error = one.realtime().revoked_everywhere().await.unwrap_err();
        assert!(error.message().contains("a principal is too long"), "{error}");
        let (_page, handle) = one.connect("api", &long.0).await;
        let error = handle.enter(&TEAM, &json!(1)).unwrap_err();
        assert!(error.message().contains("a principal of 8193 bytes"), "{error}");
        // No message to others is refused for it, nor for a topic that cannot be.
        let (_page, other) = two.connect("api", "ann").await;
        advance(&[&one, &two], SECOND).await;
        one.realtime().revoke_from(&ann(), &Topic::<String>::new("x".repeat(300)));
        one.realtime().revoke(&ann());
        advance(&[&one, &two], SECOND).await;
        assert!(other.is_closed());
    });
}

/// Otherwise a loop over the users of a company would leave no room for publications.
#[test]
fn many_revocations_do_not_fill_the_queue() {
    block_on(async {
        let [one, two] = two().await;
        let (_page, handle) = two.connect("api", "user-499").await;
        advance(&[&one, &two], SECOND).await;
        revoke_users(&one, 500);
        advance(&[&one, &two], SECOND).await;
        assert!(handle.is_closed());
        one.broker.freeze();
        for _ in 0..8 {
            revoke_users(&one, 2500);
            advance(&[&one, &two], 5 * STEP).await;
        }
        let bytes = one.realtime().stats().memory.broker;
        assert!(bytes < 300_000, "{bytes} wait");
    });
}

/// Of revocations that nobody is told any more, a node that has come since has nothing to confirm.
#[test]
fn a_node_that_came_after_all_revocations_has_done_them() {
    block_on(async {
        let [one, two] = two().await;
        one.realtime().revoke(&ann());
        advance(&[&one, &two], 601 * SECOND).await;
        let three = Node::new(3, one.broker.join());
        let (_page, _) = three.connect("api", "eve").await;
        advance(&[&one, &two, &three], 10 * SECOND).await;
        assert_eq!(one.realtime().stats().nodes, 2);
        assert!(matches!(one.realtime().revoked_everywhere().now_or_never(), Some(Ok(()))));
    });
}

#[test]
fn a_node_alone_has_revoked_everywhere() {
    block_on(async {
        let server = TestServer::new(Realtime::builder().handler("talk", Talk).build());
        server.realtime().revoke(&ann());
        server.realtime().revoked_everywhere().await.unwrap();
        assert_eq!(server.realtime().to_principal(&ann()).send::<Talk>(&"?".into()).unwrap(), 0);
    });
}
