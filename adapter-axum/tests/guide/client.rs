use crate::api::{ADD, ADDED, CONFIRM};
use realtime_client::{Client, Result};

async fn add_five() -> Result<i64> {
    let client = Client::builder("ws://localhost:3000/__realtime/api")
        .on(ADDED, |amount| async move { println!("somebody added {amount}") })
        .on_call(CONFIRM, |question| async move { Ok(question == "Add 5?") })
        .connect();
    client.call(ADD, 5).await
}
