use realtime_core::{Call, Code, Endpoint, Error, Procedure, Realtime, Result};
use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

pub const DELETE: Procedure<String, ()> = Procedure::new("files.delete").with_timeout(Duration::from_secs(60));

/// Asks the person at the page. The server calls it, and the page answers.
pub const CONFIRM: Procedure<String, bool> = Procedure::new("confirm").with_timeout(Duration::from_secs(30));

type Files = Mutex<Vec<String>>;

pub fn realtime(files: Vec<String>) -> Realtime {
    let api = Endpoint::new(Mutex::new(files)).procedure(DELETE, delete);
    Realtime::builder().endpoint("api", api).build()
}

async fn delete(call: Call<Files>, name: String) -> Result {
    let question = format!("Delete {name} for good?");
    if !call.connection()?.call(CONFIRM, question).await? {
        return Err(Error::new(Code::ABORTED, "it was kept"));
    }
    call.state().lock().unwrap_or_else(PoisonError::into_inner).retain(|file| *file != name);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use adapter_testing::{TestServer, block_on};

    #[test]
    fn nothing_is_deleted_without_a_yes() {
        block_on(async {
            let server = TestServer::new(realtime(vec!["plan.txt".into()]));
            let mut ann = server.open("api").await.unwrap();
            for (yes, ended) in [(false, "ABORTED"), (true, "")] {
                let deleting = ann.begin(DELETE, "plan.txt".into()).await;
                let (question, answer) = ann.expect_call(CONFIRM).await;
                assert_eq!(question, "Delete plan.txt for good?");
                answer.answer(yes).await;
                let code =
                    deleting.result().await.map_or_else(|ended| ended.code().to_owned(), |()| String::new());
                assert_eq!(code, ended);
            }
        });
    }

    #[test]
    fn by_http_nobody_can_be_asked() {
        block_on(async {
            let server = TestServer::new(realtime(Vec::new()));
            let refused = server.http("api").mutate(DELETE, "plan.txt".to_owned()).await.unwrap_err();
            assert_eq!(refused.code(), "FAILED_PRECONDITION");
        });
    }
}
