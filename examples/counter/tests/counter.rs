//! One server and its clients in one process, over TCP.

use counter::{api::ENDPOINT, client, server};
use realtime_core::{CloseCode, Realtime};
use std::future::pending;
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};

/// A terminal: lines in, output out.
struct Terminal {
    lines: Option<mpsc::Sender<String>>,
    said: mpsc::UnboundedReceiver<String>,
    running: JoinHandle<()>,
}

impl Terminal {
    async fn open(url: &str) -> Self {
        let (lines, typed) = mpsc::channel(1);
        let (say, said) = mpsc::unbounded_channel();
        let url = url.to_owned();
        let running =
            tokio::spawn(
                async move { client::run(&url, typed, |text| say.send(text).expect("a listener")).await },
            );
        let mut terminal = Self { lines: Some(lines), said, running };
        assert!(terminal.hears().await.starts_with("the count is "));
        terminal
    }

    async fn types(&self, line: &str) {
        let lines = self.lines.as_ref().expect("it is open");
        lines.send(line.to_owned()).await.expect("it takes lines");
    }

    async fn hears(&mut self) -> String {
        self.said.recv().await.expect("it goes on")
    }

    /// Ends the input; returns the remaining output.
    async fn close(mut self) -> Vec<String> {
        self.lines = None;
        self.running.await.expect("it ends well");
        let mut rest = Vec::new();
        while let Some(text) = self.said.recv().await {
            rest.push(text);
        }
        rest
    }
}

async fn serve() -> (Realtime, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("ws://{}/__realtime/{ENDPOINT}", listener.local_addr().expect("a bound port"));
    let realtime = server::realtime();
    tokio::spawn(server::serve(listener, &realtime).shutdown(pending()).into_future());
    (realtime, url)
}

#[tokio::test]
async fn a_change_is_told_to_all_others() {
    let (_, url) = serve().await;
    let (mut ann, mut bob) = (Terminal::open(&url).await, Terminal::open(&url).await);
    ann.types("+5").await;
    assert_eq!(ann.hears().await, "the count is 5");
    assert_eq!(bob.hears().await, "+5 by another: 5");
    bob.types("-").await;
    assert_eq!(bob.hears().await, "the count is 4");
    assert_eq!(ann.hears().await, "-1 by another: 4");
    assert_eq!(
        (ann.close().await, bob.close().await),
        (vec![], vec![]),
        "who changes it is told by the answer only"
    );
}

#[tokio::test]
async fn a_reset_is_confirmed_by_the_one_who_asked_for_it() {
    let (_, url) = serve().await;
    let (mut ann, mut bob) = (Terminal::open(&url).await, Terminal::open(&url).await);
    ann.types("+5").await;
    assert_eq!(bob.hears().await, "+5 by another: 5");
    for (answer, outcome) in [("no", "error: the reset was not confirmed"), ("y", "the count is 0")] {
        bob.types("reset").await;
        assert_eq!(bob.hears().await, "The count is 5. Reset it for all? [y/n]");
        bob.types(answer).await;
        assert_eq!(bob.hears().await, outcome);
    }
    assert_eq!([ann.hears().await, ann.hears().await], ["the count is 5", "-5 by another: 0"]);
    assert_eq!((ann.close().await, bob.close().await), (vec![], vec![]));
}

#[tokio::test]
async fn what_does_not_fit_is_an_error_and_changes_nothing() {
    let (_, url) = serve().await;
    let mut ann = Terminal::open(&url).await;
    ann.types(&format!("+{}", i64::MAX)).await;
    ann.hears().await;
    ann.types("+").await;
    assert_eq!(ann.hears().await, format!("error: the count is {}, and cannot go so far", i64::MAX));
    ann.types("what?").await;
    assert_eq!(ann.hears().await, "+, -, +5, -5, reset or quit");
}

#[tokio::test]
async fn a_client_comes_back_and_asks_for_the_count() {
    let (realtime, url) = serve().await;
    let mut ann = Terminal::open(&url).await;
    ann.types("+7").await;
    ann.hears().await;
    for connection in realtime.filter(|_| true) {
        connection.close(CloseCode::RESTART, "a restart");
    }
    assert_eq!(ann.hears().await, "(the server closed with 1012: a restart; trying again)");
    assert_eq!(ann.hears().await, "the count is 7");
    ann.types("-2").await;
    assert_eq!(ann.hears().await, "the count is 5");
}

#[tokio::test]
async fn a_question_ends_with_its_connection() {
    let (realtime, url) = serve().await;
    let mut ann = Terminal::open(&url).await;
    ann.types("reset").await;
    assert_eq!(ann.hears().await, "The count is 0. Reset it for all? [y/n]");
    for connection in realtime.filter(|_| true) {
        connection.close(CloseCode::RESTART, "");
    }
    let mut heard = [ann.hears().await, ann.hears().await, ann.hears().await];
    heard.sort();
    assert_eq!(
        heard,
        [
            "(the server closed with 1012; trying again)",
            "error: the connection was lost before there was an answer",
            "the count is 0",
        ]
    );
    ann.types("+").await;
    assert_eq!(ann.hears().await, "the count is 1", "the line is a command, and no answer");
}
