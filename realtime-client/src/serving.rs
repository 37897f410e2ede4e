use crate::handlers::{CallHandler, Handlers};
use realtime_protocol::{Code, Error, client::Payload};
use std::{collections::HashMap, time::Duration};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

/// The server's calls that run, on one connection. Dropped, it drops their futures.
#[derive(Debug, Default)]
pub(crate) struct Serving {
    tasks: JoinSet<Answer>,
    /// The server's id of each, which it may use again after the answer.
    ids: HashMap<Id, String>,
    running: HashMap<String, AbortHandle>,
}

type Answer = Result<Payload, Error>;

impl Serving {
    /// Runs the handler of a call.
    ///
    /// # Errors
    ///
    /// The answer, where it does not run.
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

    /// The server gives a call up: its future is dropped, and the answer says so.
    pub(crate) fn cancel(&self, id: &str) {
        if let Some(task) = self.running.get(id) {
            task.abort();
        }
    }

    /// The next call that is done, with its answer. Pending while none runs. Cancel safe.
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

/// The closure may panic as well as its future: both run in the task.
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
        tracing::error!(?error, "a call of the server's failed");
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

/// The server's calls that may run at once.
const CONCURRENT: usize = 64;
