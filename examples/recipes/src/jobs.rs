use realtime_core::{Call, Endpoint, Error, Procedure, Realtime, Result};
use std::{
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::Duration,
};

/// Imports rows, and returns their number. Reports its progress, from 0 to 1.
pub const IMPORT: Procedure<Vec<String>, usize> = Procedure::new("import").with_timeout(Duration::from_secs(600));

pub fn realtime() -> Realtime {
    let api = Endpoint::new(AtomicUsize::new(0)).procedure(IMPORT, import);
    Realtime::builder().endpoint("api", api).build()
}

async fn import(call: Call<AtomicUsize>, rows: Vec<String>) -> Result<usize> {
    for (done, row) in rows.iter().enumerate() {
        call.progress(&(done as f64 / rows.len() as f64))?;
        store(call.state(), row).await?;
    }
    Ok(rows.len())
}

/// Dropped at an `await` when the caller cancels or is gone: store whole rows, or in a transaction.
async fn store(stored: &AtomicUsize, row: &str) -> Result {
    tokio::task::yield_now().await;
    if row.is_empty() {
        return Err(Error::invalid_argument("a row is empty"));
    }
    stored.fetch_add(1, SeqCst);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use adapter_testing::{TestServer, block_on};

    #[test]
    fn a_job_tells_how_far_it_is() {
        block_on(async {
            let server = TestServer::new(realtime());
            let mut ann = server.open("api").await.unwrap();
            let mut job = ann.begin(IMPORT, vec!["a".into(), "b".into()]).await;
            assert_eq!(job.progress().await, Some(0.0));
            assert_eq!(job.progress().await, Some(0.5));
            assert_eq!(job.progress::<f64>().await, None);
            assert_eq!(job.result().await, Ok(2));
        });
    }

    #[test]
    fn a_job_ends_at_its_first_error() {
        block_on(async {
            let server = TestServer::new(realtime());
            let mut ann = server.open("api").await.unwrap();
            assert!(ann.call(IMPORT, vec!["a".into(), String::new()]).await.is_err());
        });
    }
}
