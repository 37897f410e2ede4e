//! The scripts that all clients pass. `README.md` describes the steps.

mod play;
#[allow(dead_code, reason = "it has more than these scripts need")]
#[path = "../client/support.rs"]
mod support;
mod values;

use play::Play;
use serde_json::Value;
use std::{fs, path::Path};

#[tokio::test(start_paused = true)]
async fn calls() {
    run_file("calls").await;
}

#[tokio::test(start_paused = true)]
async fn connecting() {
    run_file("connecting").await;
}

#[tokio::test(start_paused = true)]
async fn feeds() {
    run_file("feeds").await;
}

#[tokio::test(start_paused = true)]
async fn frames() {
    run_file("frames").await;
}

#[tokio::test(start_paused = true)]
async fn living() {
    run_file("living").await;
}

#[tokio::test(start_paused = true)]
async fn queue() {
    run_file("queue").await;
}

#[tokio::test(start_paused = true)]
async fn subscriptions() {
    run_file("subscriptions").await;
}

async fn run_file(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/vectors/{name}.json"));
    let scripts: Vec<Value> = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    for script in scripts {
        let mut play = Play::new(&script["options"]);
        for (number, step) in script["steps"].as_array().unwrap().iter().enumerate() {
            play.place = format!("{}, step {}: {step}", script["name"], number + 1);
            play.step(step.as_object().unwrap()).await;
        }
    }
}
