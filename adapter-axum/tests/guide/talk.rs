use realtime_core::{Connection, Handler, Realtime, Result, Topic};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Join {
    name: String, // from the URL: ?name=Ann
}

#[derive(Serialize, Deserialize)]
struct Said {
    name: String,
    text: String,
}

const TALK: Topic<Said> = Topic::fixed("talk");

struct Talk;

impl Handler for Talk {
    type Input = Join;
    type ClientMessage = String;
    type ServerMessage = Said;

    async fn on_open(&self, connection: &Connection<Self>) -> Result {
        connection.subscribe(&TALK)
    }

    async fn on_message(&self, connection: &Connection<Self>, text: String) -> Result {
        let name = connection.input().name.clone();
        connection.to(&TALK).send(&Said { name, text })
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let realtime = Realtime::builder().handler("talk", Talk).build();
    let app = axum::Router::new().merge(adapter_axum::routes(&realtime)); // /__realtime/talk
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    adapter_axum::serve(listener, app, &realtime).await
}

#[test]
fn everybody_hears_it() {
    adapter_testing::block_on(async {
        let server = adapter_testing::TestServer::new(Realtime::builder().handler("talk", Talk).build());
        let mut ann = server.connect::<Talk>("talk", Join { name: "Ann".into() }).await.unwrap();
        let mut bob = server.connect::<Talk>("talk", Join { name: "Bob".into() }).await.unwrap();
        ann.send("hello".into()).await;
        assert_eq!(bob.recv().await.unwrap().text, "hello");
        server.advance(std::time::Duration::from_secs(3600)).await; // an hour of heartbeats, at once
        assert_eq!(ann.recv().await.unwrap().text, "hello");
    });
}
