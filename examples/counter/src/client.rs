//! The client in a terminal. A line is a command, or the answer to a question.

use crate::api::{CONFIRM, COUNT_CHANGED, Changed, GET_COUNT, RESET, UPDATE_COUNT};
use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use realtime_client::{CallOptions, Client, PendingCall, State};
use realtime_core::Error;
use tokio::sync::{mpsc, oneshot};

/// Connects to the counter at `url`, runs the commands in `lines`, and passes output to `say`, until a line is `quit`
/// or `lines` ends. Then it closes the client.
///
/// A line is received only when the one before is answered.
pub async fn run(url: &str, mut lines: mpsc::Receiver<String>, mut say: impl FnMut(String)) {
    let (tell, mut told) = mpsc::unbounded_channel();
    let client = connect(url, tell);
    let mut states = client.states();
    let mut calls = FuturesUnordered::new();
    let mut question: Option<oneshot::Sender<bool>> = None;
    // The first output is the count, so no line is received before the connection is open or has failed.
    let mut begun = false;
    let mut lost = false;
    loop {
        let takes_line = begun && (calls.is_empty() || question.is_some());
        tokio::select! {
            biased;
            Some(state) = states.next() => match state {
                State::Open { .. } => {
                    (begun, lost) = (true, false);
                    calls.push(answer(client.call(GET_COUNT, ())));
                }
                State::Reconnecting { cause, .. } => {
                    if !lost {
                        say(format!("({cause}; trying again)"));
                    }
                    (begun, lost) = (true, true);
                }
                State::Closed { why, .. } => {
                    say(format!("({why})"));
                    return;
                }
                _ => {}
            },
            Some(told) = told.recv() => match told {
                Told::Changed(Changed { by, count }) => say(format!("{by:+} by another: {count}")),
                Told::Asked(text, answer) => {
                    say(format!("{text} [y/n]"));
                    question = Some(answer);
                }
            },
            Some(answered) = calls.next() => {
                // The server asks during a call: the question ends with it.
                question = None;
                say(answered);
            }
            line = lines.recv(), if takes_line => {
                let Some(line) = line else { break };
                if let Some(question) = question.take() {
                    let yes = matches!(line.trim(), "y" | "yes");
                    // Fails if the server no longer waits for the answer; the call reports why.
                    let _ = question.send(yes);
                    continue;
                }
                match Command::parse(&line) {
                    Some(Command::Add(by)) => {
                        // With a key the call is sent again after a lost connection, and still counts once.
                        let once = CallOptions::new().idempotency_key(format!("{:032x}", fastrand::u128(..)));
                        calls.push(answer(client.call_with(UPDATE_COUNT, by, once)));
                    }
                    Some(Command::Reset) => calls.push(answer(client.call(RESET, ()))),
                    Some(Command::Quit) => break,
                    None => say("+, -, +5, -5, reset or quit".to_owned()),
                }
            }
        }
    }
    client.close().await;
}

/// A message that the server sends unasked.
enum Told {
    Changed(Changed),
    Asked(String, oneshot::Sender<bool>),
}

fn connect(url: &str, tell: mpsc::UnboundedSender<Told>) -> Client {
    let ask = tell.clone();
    // The token identifies this client over several connections, so that its idempotency keys stay valid.
    let token = format!("{:032x}", fastrand::u128(..));
    Client::builder(url)
        .token(move || std::future::ready(Ok(token.clone())))
        .on(COUNT_CHANGED, move |changed| {
            // Fails once `run` has ended.
            let _ = tell.send(Told::Changed(changed));
            std::future::ready(())
        })
        .on_call(CONFIRM, move |text| {
            let (answer, answered) = oneshot::channel();
            let _ = ask.send(Told::Asked(text, answer));
            async move { answered.await.map_err(|_| Error::unavailable("there is nobody to ask")) }
        })
        .connect()
}

fn answer(call: PendingCall<i64>) -> BoxFuture<'static, String> {
    Box::pin(async move {
        match call.await {
            Ok(count) => format!("the count is {count}"),
            Err(error) => format!("error: {}", error.message()),
        }
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    Add(i64),
    Reset,
    Quit,
}

impl Command {
    fn parse(line: &str) -> Option<Self> {
        match line.trim() {
            "+" => Some(Self::Add(1)),
            "-" => Some(Self::Add(-1)),
            "reset" => Some(Self::Reset),
            "quit" => Some(Self::Quit),
            number if number.starts_with(['+', '-']) => number.parse().ok().map(Self::Add),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_command() {
        for (line, command) in [
            ("+", Command::Add(1)),
            (" - ", Command::Add(-1)),
            ("+5", Command::Add(5)),
            ("-12", Command::Add(-12)),
            ("reset", Command::Reset),
            ("quit", Command::Quit),
        ] {
            assert_eq!(Command::parse(line), Some(command), "{line}");
        }
        for line in ["", "5", "++", "+x", "+99999999999999999999", "Reset now"] {
            assert_eq!(Command::parse(line), None, "{line}");
        }
    }
}
