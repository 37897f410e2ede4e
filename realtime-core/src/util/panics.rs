use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{self, Poll},
};

/// Polls application code; a panic in it is an `Err` and affects nothing else.
pub(crate) fn poll_caught(
    future: &mut Pin<Box<dyn Future<Output = ()> + Send>>,
    cx: &mut task::Context<'_>,
) -> Poll<Result<(), Panicked>> {
    match catch(|| Pin::new(future).poll(cx)) {
        Ok(polled) => polled.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    }
}

/// Calls application code; a panic in it is an `Err`.
#[inline]
pub(crate) fn catch<T>(call: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| Panicked::new(&*panic))
}

/// Drops an application future, which may panic too.
pub(crate) fn drop_caught(future: Pin<Box<dyn Future<Output = ()> + Send>>) {
    if let Err(panic) = catch(|| drop(future)) {
        tracing::error!(panic = panic.0, "a handler panicked while it was dropped");
    }
}

/// The message of a panic.
#[derive(Debug)]
pub(crate) struct Panicked(pub(crate) String);

impl Panicked {
    #[cold]
    fn new(panic: &(dyn Any + Send)) -> Self {
        let text =
            panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        let text = text.unwrap_or("no message");
        // Tokio's text names a way out that nobody has who does not run on it.
        let hint = if text.contains(NO_TOKIO) { NO_TOKIO_HINT } else { "" };
        Self(format!("{text}{hint}"))
    }
}

const NO_TOKIO: &str = "there is no reactor running";
const NO_TOKIO_HINT: &str = ": this code runs outside of tokio, where `tokio::time` and sockets of tokio do not work; \
                             `sleep`, `interval` and `timeout` of `Call`, `Connection` and `Realtime` work everywhere";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_without_tokio_says_what_to_use() {
        let told = |text: &'static str| catch(|| std::panic::resume_unwind(Box::new(text))).unwrap_err().0;
        assert!(
            told("there is no reactor running, must be called from a runtime").contains("`sleep`, `interval`")
        );
        assert_eq!(told("no way"), "no way");
    }
}
