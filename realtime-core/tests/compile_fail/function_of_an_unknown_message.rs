//! The messages of a function's client cannot be guessed.

use realtime_core::handler_fn;

fn main() {
    let _ = handler_fn(|connection| async move {
        while let Some(text) = connection.recv().await {
            connection.send(text)?;
        }
        Ok(())
    });
}
