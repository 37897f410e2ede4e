//! Conversions between a script's values and the client's.

use realtime_client::{ClientError, OfflineQueue, Update};
use realtime_core::{Code, Error, Position, Procedure};
use serde_json::{Value, json};
use std::{collections::VecDeque, time::Duration};

pub(crate) fn offline_queue(queue: &Value) -> OfflineQueue {
    let size = |name: &str| queue[name].as_u64().unwrap_or_default() as usize;
    match queue["whenFull"].as_str().unwrap() {
        "off" => OfflineQueue::off(),
        "drop-oldest" => OfflineQueue::drop_oldest(size("frames"), size("bytes")),
        _ => OfflineQueue::reject_newest(size("frames"), size("bytes")),
    }
}

pub(crate) fn next_token(tokens: &mut VecDeque<Value>) -> realtime_core::Result<String> {
    let token = if tokens.len() > 1 { tokens.pop_front() } else { tokens.front().cloned() };
    let token = token.and_then(|token| token.as_str().map(str::to_owned));
    token.ok_or_else(|| Error::unavailable("there is no token"))
}

pub(crate) async fn give_answer(answer: Value) -> realtime_core::Result<Value> {
    if answer == "never" {
        std::future::pending::<()>().await;
    }
    match answer.get("error") {
        Some(error) => {
            let [code, message] = ["code", "message"].map(|field| error[field].as_str().unwrap().to_owned());
            Err(Error::new(Code::from(code), message))
        }
        None => Ok(answer["result"].clone()),
    }
}

pub(crate) fn update_value(update: Option<Result<Update<Value>, ClientError>>) -> Value {
    match update {
        Some(Ok(Update::Item { value, position, .. })) => json!({ "item": value, "position": position }),
        Some(Ok(Update::Begun { position, resumed })) => {
            let mut told = json!({ "position": position });
            if let Some(resumed) = resumed {
                told["resumed"] = json!(resumed);
            }
            json!({ "begun": told })
        }
        Some(Ok(Update::Gap(gap))) => {
            let mut told = json!({ "count": gap.count, "cause": gap.cause });
            if let Some((from, to)) = gap.from.zip(gap.to) {
                // In the form in which the server sends them.
                let offset = |offset| json!(Position::new("e", offset))["offset"].clone();
                (told["from"], told["to"]) = (offset(from), offset(to));
            }
            json!({ "gap": told })
        }
        Some(Err(error)) => json!({ "error": error_value(&error) }),
        None => json!({ "complete": true }),
    }
}

pub(crate) fn error_value(error: &ClientError) -> Value {
    let from = match (error.is_remote(), error.is_closed()) {
        (true, _) => "server",
        (_, true) => "closed",
        _ => "client",
    };
    let after = error.as_error().retry_after().map(|after| after.as_millis() as u64);
    json!({
        "code": error.code().as_str(),
        "message": error.message(),
        "details": error.as_error().details(),
        "retryable": error.is_retryable(),
        "retryAfterMs": after,
        "from": from,
    })
}

pub(crate) fn position(value: &Value) -> Position {
    serde_json::from_value(value.clone()).unwrap()
}

pub(crate) fn procedure(name: &str) -> Procedure<Value, Value> {
    Procedure::new(leak(name))
}

/// Returns a name with the lifetime of a constant.
pub(crate) fn leak(name: &str) -> &'static str {
    Box::leak(name.to_owned().into_boxed_str())
}

pub(crate) fn millis(value: &Value) -> Option<Duration> {
    value.as_u64().map(Duration::from_millis)
}
