use std::{pin::pin, time::Duration};
use tokio::time::timeout;

/// Waits for `future` for at most `limit`, and returns `None` if it took longer. A pause of the process, such as a
/// laptop's sleep, counts for 250 ms at most.
pub(crate) async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut left = limit;
    while !left.is_zero() {
        // A moment counts as one, however late its end is noticed.
        let moment = left.min(MOMENT);
        if let Ok(output) = timeout(moment, &mut future).await {
            return Some(output);
        }
        left -= moment;
    }
    None
}

const MOMENT: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::{Instant, advance};

    #[tokio::test(start_paused = true)]
    async fn the_limit_is_kept() {
        let begin = Instant::now();
        assert_eq!(within(Duration::from_millis(1100), std::future::pending::<()>()).await, None);
        assert_eq!(begin.elapsed(), Duration::from_millis(1100));
        assert_eq!(within(Duration::from_secs(1), async { 1 }).await, Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_does_not_count() {
        let begin = Instant::now();
        let paused = async {
            advance(Duration::from_secs(3600)).await;
            std::future::pending::<()>().await;
        };
        assert_eq!(within(Duration::from_secs(10), paused).await, None);
        assert!(begin.elapsed() >= Duration::from_secs(3609), "{:?}", begin.elapsed());
    }
}
