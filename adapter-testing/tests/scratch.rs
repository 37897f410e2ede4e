use adapter_testing::{TestServer, block_on};
use realtime_core::*;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const ECHO: Procedure<String, String> = Procedure::query("echo");
const SLOW: Procedure<u32, String> = Procedure::new("slow").timeout(Duration::from_secs(2));
const COUNT: Subscription<u32, u32> = Subscription::new("count");
const FOREVER: Subscription<(), u32> = Subscription::new("forever");
const TYPING: Event<String> = Event::new("TYPING");
const CONFIRM: Procedure<String, bool> = Procedure::new("confirm");
const ASK: Procedure<(), bool> = Procedure::new("ask");

#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);
struct Guard1(Seen, &'static str);
impl Drop for Guard1 {
    fn drop(&mut self) {
        self.0.0.lock().unwrap().push(format!("dropped {}", self.1));
    }
}

fn api(seen: Seen) -> Endpoint<Seen> {
    Endpoint::new(seen)
        .call(ECHO, |_call, text: String| async move {
            if text == "panic" {
                panic!("x")
            }
            if text.is_empty() {
                return Err(Error::invalid_argument("empty"));
            }
            Ok(text)
        })
        .call(SLOW, |call: Call<Seen>, n: u32| async move {
            let _g = Guard1(call.state().clone(), "slow");
            call.progress(&n)?;
            std::future::pending::<()>().await;
            Ok(String::new())
        })
        .subscription(COUNT, |_call, n: u32| async move { Ok(futures_util::stream::iter(0..n)) })
        .subscription(FOREVER, |call: Call<Seen>, ()| async move {
            let g = Guard1(call.state().clone(), "forever");
            Ok(futures_util::stream::poll_fn(move |_| {
                let _ = &g;
                std::task::Poll::Pending::<Option<u32>>
            }))
        })
        .on(TYPING, |call: Call<Seen>, text: String| async move {
            call.state().0.lock().unwrap().push(text);
            Ok(())
        })
        .call(ASK, |call: Call<Seen>, ()| async move { call.connection()?.call(CONFIRM, "sure?".into()).await })
}

struct Nop;
impl Handler for Nop {
    type Input = ();
    type ClientMessage = String;
    type ServerMessage = String;
    async fn on_message(&self, c: &Connection<Self>, m: String) -> Result {
        c.send(m)?;
        Ok(())
    }
}

#[test]
fn scratch() {
    block_on(async {
        let seen = Seen::default();
        let realtime = Realtime::builder().endpoint("api", api(seen.clone())).handler("api", Nop).build();
        let server = TestServer::new(realtime);
        let mut c = server.connect::<Nop>("api", ()).await.unwrap();
        for text in [
            r#"{"type":"call","id":"1","path":"echo","input":"hi"}"#,
            r#"{"type":"call","id":"2","path":["slow"],"input":7}"#,
            r#"{"type":"call","id":"2","path":"echo","input":"dup"}"#,
            r#"{"type":"cancel","id":"2"}"#,
            r#"{"type":"call","id":"2","path":"echo","input":"panic"}"#,
            r#"{"type":"call","id":"2","path":"echo","input":""}"#,
            r#"{"type":"call","id":"2","path":"echo","input":7}"#,
            r#"{"type":"call","id":"2","path":"nope","input":7}"#,
            r#"{"type":"call","id":"2","path":"count","input":7}"#,
            r#"{"type":"subscribe","id":"s","path":"count","input":3}"#,
            r#"{"type":"subscribe","id":"s","path":"count","input":3,"credit":2}"#,
            r#"{"type":"credit","id":"s","more":2}"#,
            r#"{"type":"subscribe","id":"f","path":"forever"}"#,
            r#"{"type":"unsubscribe","id":"f"}"#,
            r#"{"type":"event","name":"TYPING","data":"a"}"#,
            r#"{"type":"event","name":"NOPE","data":"a"}"#,
            r#"{"type":"call","id":"9","path":"ask"}"#,
            r#"{"type":"result","id":"c1","data":true}"#,
            r#"{"type":"call","id":"3","path":"slow","input":7}"#,
        ] {
            println!("> {text}");
            c.send_text(text).await;
            server.settle().await;
            while let Some(f) = c.try_frame().await {
                println!("< {}", String::from_utf8_lossy(&f.payload));
            }
        }
        server.advance(Duration::from_secs(3)).await;
        while let Some(f) = c.try_frame().await {
            println!("< {}", String::from_utf8_lossy(&f.payload));
        }
        println!("{:?}", seen.0.lock().unwrap());
    });
}
