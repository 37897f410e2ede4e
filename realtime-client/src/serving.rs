use crate::handlers::{CallHandler, Handlers};
use realtime_protocol::{Code, Error, client::Payload};
use std::{collections::HashMap, time::Duration};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

/// The running calls of the server on one connection. Dropping it drops their futures.
#[derive(Debug, Default)]
pub(crate) struct Serving {
    tasks: JoinSet<Answer>,
    /// The server's id of each call, which the server may use again after the answer.
    ids: HashMap<Id, String>,
    running: HashMap<String, AbortHandle>,
}

type Answer = Result<Payload, Error>;

impl Serving {
    /// Runs the handler of a call.
    ///
    /// # Errors
    ///
    /// The answer, if the handler does not run.
    pub(crate) fn start(
        &mut self,
        handlers: &Handlers,
        id: &str,
        path: &str,
        input: Payload,
        timeout: Option<Duration>,
    ) -> Result<(), Error> {
        if self.running.contains_key(id) {
            let error = Error::new(Code::DUPLICATE_ID, "a call with this id is running");
            return Err(error.with_details(serde_json::json!({ "id": id })));
        }
        if self.running.len() >= CONCURRENT {
            return Err(Error::resource_exhausted(format!("{CONCURRENT} calls are running")));
        }
        let task = self.tasks.spawn(run(handlers.call(path)?, input, timeout));
        self.ids.insert(task.id(), id.to_owned());
        self.running.insert(id.to_owned(), task);
        Ok(())
    }

    /// Cancels a call: its future is dropped, and the answer says so.
    pub(crate) fn cancel(&self, id: &str) {
        if let Some(task) = self.running.get(id) {
            task.abort();
        }
    }

    /// Returns the next finished call and its answer. Pending while no call runs. Cancel safe.
    pub(crate) async fn next(&mut self) -> (String, Answer) {
        loop {
            let Some(joined) = self.tasks.join_next_with_id().await else {
                return std::future::pending().await;
            };
            let (task, answer) = match joined {
                Ok((task, answer)) => (task, answer),
                Err(error) => (error.id(), Err(failure(&error))),
            };
            if let Some(id) = self.ids.remove(&task) {
                self.running.remove(&id);
                return (id, answer);
            }
        }
    }
}

/// Runs closure and future in a task, since both may panic.
async fn run(handler: CallHandler, input: Payload, timeout: Option<Duration>) -> Answer {
    let answer = async { handler(input).await };
    let answer = match timeout {
        Some(timeout) => {
            let late = |_| Err(Error::new(Code::DEADLINE_EXCEEDED, "the call took too long"));
            tokio::time::timeout(timeout, answer).await.unwrap_or_else(late)
        }
        None => answer.await,
    };
    if let Err(error) = &answer
        && error.source().is_some()
    {
        tracing::error!(?error, "a call from the server failed");
    }
    answer
}

fn failure(error: &JoinError) -> Error {
    if error.is_cancelled() {
        return Error::new(Code::CANCELLED, "the call was cancelled");
    }
    tracing::error!("the handler of a call panicked");
    Error::new(Code::INTERNAL, "internal error")
}

/// The number of the server's calls that run at once.
const CONCURRENT: usize = 64;
