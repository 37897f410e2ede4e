//! Tests of features that only actix-web has: middleware, routes, workers.

use actix_web::{
    App, HttpMessage, HttpServer,
    dev::{ServerHandle, Service},
    error::ErrorPaymentRequired,
    web,
};
use adapter_actix::{HttpError, Vars};
use adapter_testing::conformance::{Capabilities, Command, Lab, Reply, Stop, Subject};
use realtime_core::{Config, Endpoint, Error, Procedure, Realtime, Topic};
use std::{net::TcpListener, time::Duration};

fn realtime() -> Realtime {
    Realtime::builder().manual_time().handler("lab", Lab::new().0).build()
}

fn stop_with(handle: ServerHandle, stop: Stop) {
    actix_web::rt::spawn(async move {
        stop.await;
        handle.stop(false).await;
    });
}

fn described(variable: Option<u32>, uri: &str) -> Reply {
    let (method, endpoint, header) = ("GET".into(), "lab".into(), None);
    Reply::Described { method, uri: uri.into(), endpoint, header, variable, peer: true }
}

#[test]
fn middleware_runs_first_and_its_variables_reach_the_handler() {
    #[actix_web::main]
    async fn serve(realtime: Realtime, listener: TcpListener, stop: Stop) {
        let app = move || {
            App::new().configure(adapter_actix::routes(&realtime)).wrap_fn(|request, service| {
                request.extensions_mut().insert({
                    let mut vars = Vars::new();
                    vars.insert(7_u32);
                    vars
                });
                service.call(request)
            })
        };
        let server = HttpServer::new(app).workers(1).disable_signals().listen(listener).expect("a listener").run();
        stop_with(server.handle(), stop);
        server.await.expect("actix serves");
    }
    let server = Subject::tcp(Capabilities::default(), serve).start(realtime());
    let mut client = server.connect("lab");
    client.value(&Command::Describe);
    client.expect_value(&described(Some(7), "/__realtime/lab"));
}

#[test]
fn middleware_may_refuse() {
    #[actix_web::main]
    async fn serve(realtime: Realtime, listener: TcpListener, stop: Stop) {
        let app = move || {
            App::new().configure(adapter_actix::routes(&realtime)).wrap_fn(|_, _| async {
                Err(ErrorPaymentRequired("no")) as Result<actix_web::dev::ServiceResponse, _>
            })
        };
        let server = HttpServer::new(app).workers(1).disable_signals().listen(listener).expect("a listener").run();
        stop_with(server.handle(), stop);
        server.await.expect("actix serves");
    }
    let server = Subject::tcp(Capabilities::default(), serve).start(realtime());
    server.request("lab").refused(402);
}

#[test]
fn a_call_by_name_works_behind_a_scope() {
    #[actix_web::main]
    async fn serve(_: Realtime, listener: TcpListener, stop: Stop) {
        let endpoint = Endpoint::new(()).procedure(SEVEN, |_, ()| async { Ok(7) });
        let inner = Realtime::builder().endpoint("api", endpoint).build();
        let app = move || App::new().service(web::scope("/app").configure(adapter_actix::routes(&inner)));
        let server = HttpServer::new(app).workers(1).disable_signals().listen(listener).expect("a listener").run();
        stop_with(server.handle(), stop);
        server.await.expect("actix serves");
    }
    const SEVEN: Procedure<(), u32> = Procedure::query("seven");
    let outer = Realtime::builder().manual_time().prefix("/app/__realtime").build();
    let server = Subject::tcp(Capabilities::default(), serve).start(outer);
    server.http("api").query("path=seven").gives(&7.into());
    server.http("api/seven").gives(&7.into());
    server.http("api/nothing").fails(404, "NOT_FOUND");
}

#[test]
fn a_handler_is_mounted_on_a_route_of_the_applications_own() {
    #[actix_web::main]
    async fn serve(realtime: Realtime, listener: TcpListener, stop: Stop) {
        let app = move || {
            let live = web::scope("/live").route("/{tenant}/{id}", adapter_actix::upgrade_websocket(&realtime));
            App::new().service(live)
        };
        let server = HttpServer::new(app).workers(1).disable_signals().listen(listener).expect("a listener").run();
        stop_with(server.handle(), stop);
        server.await.expect("actix serves");
    }
    let realtime = Realtime::builder().manual_time().prefix("/live/acme").handler("lab", Lab::new().0).build();
    let server = Subject::tcp(Capabilities::default(), serve).start(realtime);
    let mut client = server.connect("lab");
    client.value(&Command::Describe);
    client.expect_value(&described(None, "/live/acme/lab"));
}

/// actix-web keeps the socket of a client that does not read after its session has ended.
#[test]
fn places_of_clients_that_do_not_read_stay_taken() {
    const CLIENTS: usize = 4;
    #[actix_web::main]
    async fn serve(realtime: Realtime, listener: TcpListener, stop: Stop) {
        let app = move || App::new().configure(adapter_actix::routes(&realtime));
        let server = HttpServer::new(app).workers(1).disable_signals().tcp_nodelay(true);
        let server = server.client_disconnect_timeout(Duration::ZERO).listen(listener).expect("a listener").run();
        stop_with(server.handle(), stop);
        server.await.expect("actix serves");
    }
    let mut config = Config::default();
    config.connections = CLIENTS;
    let realtime = Realtime::builder().manual_time().config(config).handler("lab", Lab::new().0).build();
    let server = Subject::tcp(Capabilities::default(), serve).start(realtime);
    let mut stalled: Vec<_> = (0..CLIENTS).map(|_| server.connect("lab")).collect();
    for client in &mut stalled {
        client.value(&Command::Subscribe("t".into()));
        client.expect_value(&Reply::Answer(true));
    }
    let (realtime, text) = (server.realtime(), Reply::Text("x".repeat(64 * 1024)));
    while realtime.stats().slow_consumers < CLIENTS as u64 {
        realtime.to(&Topic::new("t")).send(&text).expect("it is published");
        // The worker has its turn.
        server.http("nobody").answered(404);
    }
    while realtime.connections() > 0 {
        server.advance(Duration::from_secs(1));
        server.http("nobody").answered(404);
    }
    let others: Vec<_> = (0..CLIENTS).map_while(|_| server.request("lab").try_connect()).collect();
    // The system's buffers may have taken the rest of some.
    assert!(others.len() < CLIENTS, "twice as many sockets as there may be connections");
    drop(stalled);
}

/// Members of a topic on several workers, each on its own thread.
#[test]
fn a_publication_crosses_workers() {
    #[actix_web::main]
    async fn serve(realtime: Realtime, listener: TcpListener, stop: Stop) {
        let app = move || App::new().configure(adapter_actix::routes(&realtime));
        let server = HttpServer::new(app).workers(2).disable_signals().tcp_nodelay(true);
        let server = server.client_disconnect_timeout(Duration::ZERO).listen(listener).expect("a listener").run();
        stop_with(server.handle(), stop);
        server.await.expect("actix serves");
    }
    let server = Subject::tcp(Capabilities::default(), serve).start(realtime());
    let mut clients: Vec<_> = (0..8).map(|_| server.connect("lab")).collect();
    for client in &mut clients {
        client.value(&Command::Subscribe("t".into()));
        client.expect_value(&Reply::Answer(true));
    }
    clients[0].value(&Command::PublishToAll { topic: "t".into(), text: "hello".into() });
    for client in &mut clients {
        client.expect_value(&Reply::Text("hello".into()));
    }
}

/// actix-http closes each connection on which an upgrade was offered. The response has to say so: a proxy would reuse
/// it.
#[test]
fn an_upgrade_that_is_offered_ends_the_connection_and_it_is_said() {
    let server = Subject::tcp(Capabilities::default(), serve).start(realtime());
    for upgrade in [None, Some("h2c"), Some("websocket, h2c")] {
        let request = server.http("nobody").header("connection", "upgrade");
        let mut response =
            upgrade.into_iter().fold(request, |request, name| request.header("upgrade", name)).answered(404);
        assert_eq!(response.header("connection").as_deref(), Some("close"), "{upgrade:?}");
    }
    let mut kept = server.http("nobody").answered(404);
    assert_eq!(kept.header("connection"), None);
}

/// actix-http opens a tunnel only for `Upgrade: websocket`; for a list it would send chunks after a 101.
#[test]
fn a_websocket_beside_another_upgrade_is_refused() {
    let server = Subject::tcp(Capabilities::default(), serve).start(realtime());
    let refused = server.request("lab").header("upgrade", "websocket, h2c").refused(426);
    assert_eq!(refused.header("upgrade").as_deref(), Some("websocket"));
    assert!(refused.headers("connection").iter().any(|value| value.contains("close")), "{refused:?}");
    server.request("lab").header("upgrade", "WebSocket").connect();
}

#[actix_web::main]
async fn serve(realtime: Realtime, listener: TcpListener, stop: Stop) {
    let app = move || App::new().configure(adapter_actix::routes(&realtime));
    let server = HttpServer::new(app).workers(1).disable_signals().listen(listener).expect("a listener").run();
    stop_with(server.handle(), stop);
    server.await.expect("actix serves");
}

/// Routes of the application fail as calls by HTTP do.
#[test]
fn an_error_of_a_route_is_answered_as_that_of_a_call() {
    async fn exhausted() -> Result<String, HttpError> {
        Err(Error::resource_exhausted("too many").with_retry_after(Duration::from_millis(1500)).into())
    }
    async fn foreign() -> Result<String, HttpError> {
        Ok("secret".parse::<u8>()?.to_string())
    }
    #[actix_web::main]
    async fn serve(realtime: Realtime, listener: TcpListener, stop: Stop) {
        let app = move || {
            App::new()
                .route("/__realtime/exhausted", web::get().to(exhausted))
                .route("/__realtime/foreign", web::get().to(foreign))
                .configure(adapter_actix::routes(&realtime))
        };
        let server = HttpServer::new(app).workers(1).disable_signals().listen(listener).expect("a listener").run();
        stop_with(server.handle(), stop);
        server.await.expect("actix serves");
    }
    const FAIL: Procedure<(), ()> = Procedure::query("fail");
    let api = Endpoint::new(()).procedure(FAIL, |_, ()| async {
        Err(Error::resource_exhausted("too many").with_retry_after(Duration::from_millis(1500)))
    });
    let realtime = Realtime::builder().manual_time().endpoint("api", api).build();
    let server = Subject::tcp(Capabilities::default(), serve).start(realtime);
    let answers = [server.http("exhausted"), server.http("api").query("path=fail")].map(|request| {
        let mut answer = request.answered(429);
        let headers = ["content-type", "cache-control", "retry-after"].map(|name| answer.header(name));
        (headers, answer.json())
    });
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0].0[2].as_deref(), Some("2"));
    let body = server.http("foreign").fails(500, "INTERNAL").json();
    assert_eq!(body["error"]["message"], "internal error");
}
