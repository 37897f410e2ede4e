//! A function that handles a connection may fail, and says so.

use realtime_core::{FnConnection, handler_fn};

fn main() {
    let _ = handler_fn(|connection: FnConnection<String, String>| async move {
        while let Some(text) = connection.recv().await {
            let _ = connection.send(text);
        }
    });
}
